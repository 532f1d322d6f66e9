"""Images of a recording as a pinhole camera would have taken them: by the camera_info of their time, and rectified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from depth_estimation_ros.evaluation.matching import Received
from depth_estimation_ros.evaluation.truth import View, view_of
from depth_estimation_ros.geometry.rectify import Lens, Rectifier
from depth_estimation_ros.sources.bag_messages import rgb_of


class Views:
    """
    Decodes and rectifies images, and keeps what that takes: of a recording, nearly all have the same camera_info.

    Parameters
    ----------
    rectified : bool
        Whether the images are known to be rectified, although the lens distorts.
    """

    def __init__(self, rectified: bool):
        self._rectified = rectified
        self._rectifiers: dict[Lens, Rectifier] = {}
        self._views: dict[tuple, View | str] = {}

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

    def _rectify(self, rgb: np.ndarray, view: View | None) -> np.ndarray:
        if view is None or view.lens is None:
            return rgb
        if view.lens not in self._rectifiers:
            self._rectifiers[view.lens] = Rectifier(view.lens, view.camera)
        return self._rectifiers[view.lens](rgb)

    def _view(self, image: Received, infos: Sequence[tuple[int, Any]], width: int, height: int) -> View:
        _, info = min(
            infos, key=lambda item: ((item[1].width, item[1].height) != (width, height), abs(item[0] - image.received))
        )
        calibration = (info.k, info.d, info.r, info.p) if hasattr(info, "k") else (info.K, info.D, info.R, info.P)
        key = (width, height, info.width, info.height, info.distortion_model, *(tuple(part) for part in calibration))
        key += (info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height, info.binning_x, info.binning_y)
        if key not in self._views:
            try:
                self._views[key] = view_of(info, width, height, self._rectified)
            except ValueError as error:
                self._views[key] = str(error)
        if isinstance(self._views[key], str):
            raise ValueError(self._views[key])
        return self._views[key]
