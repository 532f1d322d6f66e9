"""Selection of the network's view of an image, from camera_info, the camera's mounting and the settings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import CameraInfo

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import camera_from_info, lens_from_info
from depth_estimation_ros.geometry.lens import Lens
from depth_estimation_ros.geometry.network_view import NetworkView
from depth_estimation_ros.geometry.rotation import degrees_to_upright
from depth_estimation_ros.model import ModelInfo
from depth_estimation_ros.pipeline.navigation import Latest
from depth_estimation_ros.settings import CameraSettings
from depth_estimation_ros.settings.camera import FROM_POSE
from depth_estimation_ros.support.sentences import quoted


class ViewSelector:
    """
    Factory of each frame's `NetworkView`; the last view is reused while it fits.

    Parameters
    ----------
    model : ModelInfo
        Metadata of the model, with the input size and the training camera.
    """

    def __init__(self, model: ModelInfo):
        self._model = model
        self._view: Latest[NetworkView] = Latest()

    def of(
        self,
        size: tuple[int, int],
        camera_info: Callable[[], CameraInfo],
        rectified: bool,
        pose: Callable[[], np.ndarray],
        settings: CameraSettings,
    ) -> NetworkView:
        """
        Return the network's view of an image.

        Parameters
        ----------
        size : tuple of int
            (width, height) of the image.
        camera_info : callable
            Function that returns the camera_info message; not called if ``horizontal_fov`` is set.
        rectified : bool
            Whether the topic's name says that images are rectified.
        pose : callable
            Function that returns the camera's pose in the base frame, float [4, 4]; called if ``image_rotation`` is -1.
        settings : CameraSettings
            Distortion, rotation and focal normalisation.

        Raises
        ------
        ValueError
            If the camera's calibration cannot be used, or is for another image size.
        """
        if settings.horizontal_fov > 0.0:
            source: PinholeCamera | Lens = PinholeCamera.from_fov(*size, settings.horizontal_fov)
        else:
            source = _calibrated(camera_info(), settings.distortion, rectified)
        turn = settings.image_rotation
        if turn == FROM_POSE:
            turn = degrees_to_upright(pose())
        crop = settings.focal_normalisation == "crop"
        model = self._model

        def make() -> NetworkView:
            across, down = model.focal_lengths if crop else (None, None)
            return NetworkView(source, model.input_width, model.input_height, across, turn, focal_length_y=down)

        return self._view((source, turn, crop), make)


def _calibrated(info: CameraInfo, distortion: str, rectified: bool) -> PinholeCamera | Lens:
    rectified = distortion == "rectified" or (distortion == "auto" and rectified)
    if rectified or not any(info.d):
        return camera_from_info(info, rectified)
    if distortion == "refuse":
        raise ValueError(
            f"camera_info has distortion ({quoted(info.distortion_model)}), which the parameter distortion refuses: "
            "feed rectified images, or set it to rectify"
        )
    return lens_from_info(info)
