"""Images of a recording as a pinhole camera would have taken them: by the camera_info of their time, and rectified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from depth_estimation_ros.bags.messages import rgb_of
from depth_estimation_ros.bags.pairing import Received
from depth_estimation_ros.geometry.rectify import rectified
from depth_estimation_ros.ground_truth.views import View, Views


class Pictures:
    """
    Decodes and rectifies the images of a recording.

    Parameters
    ----------
    rectified : bool
        Whether the images are known to be rectified, although the lens distorts.
    """

    def __init__(self, rectified: bool):
        self._views = Views(rectified)

    def picture(self, image: Received, infos: Sequence[tuple[int, Any]]) -> tuple[np.ndarray, View | None]:
        """
        Decode an image.

        Parameters
        ----------
        image : Received
            The image.
        infos : sequence of (int, message)
            The camera_info around it, with the times of receipt; none if nothing is known of the camera.

        Returns
        -------
        rgb : numpy.ndarray
            uint8 [h, w, 3], rectified where the lens distorts.
        view : View or None
            By the camera_info that is nearest in time, one of the image's size rather than another.

        Raises
        ------
        ValueError
            If it cannot be decoded, or the camera_info does not fit.
        """
        if image.message is None:
            raise ValueError("the image's message cannot be decoded")
        rgb = rgb_of(image.message)
        view = self._view(image, infos, rgb.shape[1], rgb.shape[0]) if infos else None
        return self._rectify(rgb, view), view

    def seen(self, image: Received, view: View) -> np.ndarray:
        """Decode an image again whose view is known."""
        return self._rectify(rgb_of(image.message), view)

    @staticmethod
    def _rectify(rgb: np.ndarray, view: View | None) -> np.ndarray:
        return rgb if view is None or view.lens is None else rectified(rgb, view.lens)

    def _view(self, image: Received, infos: Sequence[tuple[int, Any]], width: int, height: int) -> View:
        _, info = min(
            infos, key=lambda item: ((item[1].width, item[1].height) != (width, height), abs(item[0] - image.received))
        )
        return self._views.of(info, width, height)
