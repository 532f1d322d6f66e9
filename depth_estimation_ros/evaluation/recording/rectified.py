"""Decoding and rectification of the images of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from depth_estimation_ros.bags.messages import rgb_of
from depth_estimation_ros.bags.pairing import Received
from depth_estimation_ros.geometry.rectify import rectified
from depth_estimation_ros.ground_truth.calibration import Calibration, Calibrations


def message_of(image: Received) -> Any:
    """Return the message of an image; raises ValueError if it could not be decoded."""
    if image.message is None:
        raise ValueError("the image's message cannot be decoded")
    return image.message


class ImageDecoder:
    """
    Decoder that also rectifies the images of a recording.

    Parameters
    ----------
    rectified : bool
        Whether the images are already rectified although their camera_info has distortion.
    """

    def __init__(self, rectified: bool):
        self._calibrations = Calibrations(rectified)

    def decode(self, image: Received, infos: Sequence[tuple[int, Any]]) -> tuple[np.ndarray, Calibration | None]:
        """
        Decode and rectify an image.

        Parameters
        ----------
        image : Received
            Message of the image.
        infos : sequence of (int, message)
            Messages of camera_info around the image, with their times of receipt; empty if there are none.

        Returns
        -------
        rgb : numpy.ndarray
            uint8 [h, w, 3], rectified if the lens has distortion.
        calibration : Calibration or None
            Calibration from the camera_info nearest in time; one with the size of the image is preferred.

        Raises
        ------
        ValueError
            If the image cannot be decoded, or the camera_info does not fit.
        """
        rgb = rgb_of(message_of(image))
        calibration = self._calibration(image, infos, rgb.shape[1], rgb.shape[0]) if infos else None
        return self._rectify(rgb, calibration), calibration

    def decode_as(self, image: Received, calibration: Calibration) -> np.ndarray:
        """Decode and rectify an image whose calibration is known."""
        return self._rectify(rgb_of(image.message), calibration)

    @staticmethod
    def _rectify(rgb: np.ndarray, calibration: Calibration | None) -> np.ndarray:
        return rgb if calibration is None or calibration.lens is None else rectified(rgb, calibration.lens)

    def _calibration(self, image: Received, infos: Sequence[tuple[int, Any]], width: int, height: int) -> Calibration:
        _, info = min(
            infos, key=lambda item: ((item[1].width, item[1].height) != (width, height), abs(item[0] - image.received))
        )
        return self._calibrations.of(info, width, height)
