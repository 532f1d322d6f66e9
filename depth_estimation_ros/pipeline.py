"""One frame's way: an image message goes in, the messages that somebody wants come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import (
    camera_from_info,
    compressed_to_rgb,
    image_to_rgb,
    rgb_to_image,
)
from depth_estimation_ros.estimator import DepthEstimator, DepthMap
from depth_estimation_ros.messages import OutputMessages
from depth_estimation_ros.parameters import Settings
from depth_estimation_ros.preview import render_preview
from depth_estimation_ros.statistics import Stopwatch

DEPTH, DEPTH_INFO, POINTS, PREVIEW = OUTPUTS = (
    "depth/image",
    "depth/camera_info",
    "depth/points",
    "depth/preview",
)
OUTPUT_TYPES = dict(zip(OUTPUTS, (Image, CameraInfo, PointCloud2, Image), strict=True))


@dataclass(frozen=True)
class Frame:
    """An image, and the outputs that are wanted of it."""

    image: Image | CompressedImage
    wanted: frozenset[str] = frozenset(OUTPUTS)


class FrameError(Exception):
    """A frame that cannot be processed: `reason` is its kind, the text is one sentence for the user."""

    def __init__(self, reason: str, sentence: str):
        super().__init__(sentence)
        self.reason = reason


class _Failing:
    """Name the kind of what goes wrong inside a ``with`` block."""

    def __init__(self, reason: str):
        self._reason = reason

    def __enter__(self) -> None:
        """Do nothing yet."""

    def __exit__(self, _kind, error: BaseException | None, _trace) -> None:
        """Turn the user's and the engine's errors into a FrameError."""
        if isinstance(error, (ValueError, BackendError)):
            raise FrameError(self._reason, str(error)) from error


def fits(info: CameraInfo, size: tuple[int, int]) -> bool:
    """Whether a camera_info has usable intrinsics of an image's (width, height)."""
    try:
        camera = camera_from_info(info)
    except ValueError:
        return False
    return (camera.width, camera.height) == size


class Pipeline:
    """
    Makes output messages of image messages.

    Parameters
    ----------
    estimator : DepthEstimator
        A loaded model.
    """

    def __init__(self, estimator: DepthEstimator):
        self._estimator = estimator
        self._messages = OutputMessages()

    def outputs(
        self,
        frame: Frame,
        camera_info: Callable[[tuple[int, int]], CameraInfo],
        settings: Settings,
        stage: Stopwatch,
    ) -> Iterator[tuple[str, Image | CameraInfo | PointCloud2]]:
        """
        Process a frame and yield each wanted message, with its topic, as soon as it is there.

        Messages live in memory that the next frame uses again: publish them before.

        Parameters
        ----------
        frame : Frame
            The image and what is wanted of it.
        camera_info : callable
            Gives the camera_info of the image of a (width, height); raises FrameError if there is none. It is called
            after the network has run, so that a camera_info that is published right behind its image is in time.
        settings : Settings
            Encodings, sizes, limits.
        stage : Stopwatch
            Takes the time of each stage.

        Raises
        ------
        FrameError
            If the image or the camera cannot be used, or the engine fails.
        """
        header, estimator = frame.image.header, self._estimator
        with stage("decode"), _Failing("image not readable"):
            compressed = isinstance(frame.image, CompressedImage)
            rgb = compressed_to_rgb(frame.image) if compressed else image_to_rgb(frame.image)
        with stage("preprocess"):
            batch = estimator.preprocess(rgb)
        with stage("inference"), _Failing("engine failed"):
            outputs = estimator.backend.infer(batch)
        with stage("postprocess"):
            camera = self._camera(rgb, camera_info, settings)
            with _Failing("camera_info of another size"):
                whole = estimator.postprocess(outputs, rgb, camera, settings.min_depth, settings.max_depth)
        sizes = {"camera": rgb.shape[1::-1], "network": whole.depth.shape[::-1]}
        views = {"network": whole}

        def view_at(resolution: str) -> DepthMap:
            if resolution not in views:
                with stage("postprocess"):
                    views[resolution] = whole.resized(*sizes[resolution])
            return views[resolution]

        if DEPTH in frame.wanted:
            size = sizes[settings.depth_resolution]
            with stage("message"):
                message, view = self._messages.depth_image(whole, *size, header, settings.depth_encoding)
            views[settings.depth_resolution] = view
            yield DEPTH, message
        if DEPTH_INFO in frame.wanted:
            view = view_at(settings.depth_resolution)
            with stage("message"):
                message = self._messages.camera_info(view.camera, header)
            yield DEPTH_INFO, message
        if POINTS in frame.wanted:
            view = view_at(settings.cloud_resolution)
            with stage("cloud"):
                # The network's input is colour enough for a cloud of its output's size.
                message = self._messages.cloud(view, rgb if view is not whole else batch[0], header)
            yield POINTS, message
        if PREVIEW in frame.wanted:
            view = view_at(settings.depth_resolution)
            with stage("preview"):
                picture = render_preview(rgb, view.depth, settings.colour_map, settings.min_depth, settings.max_depth)
            with stage("message"):
                message = rgb_to_image(picture, header)
            yield PREVIEW, message

    def _camera(
        self, rgb: np.ndarray, camera_info: Callable[[tuple[int, int]], CameraInfo], settings: Settings
    ) -> PinholeCamera:
        """Return the camera of an image: from the parameter if it is set, else from camera_info."""
        if settings.horizontal_fov > 0.0:
            return PinholeCamera.from_fov(rgb.shape[1], rgb.shape[0], settings.horizontal_fov)
        with _Failing("camera_info not usable"):
            return camera_from_info(camera_info(rgb.shape[1::-1]))
