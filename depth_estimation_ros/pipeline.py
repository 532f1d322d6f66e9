"""One frame's way: an image message goes in, the messages that somebody wants come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import (
    camera_from_info,
    camera_to_info,
    cloud_to_message,
    depth_to_image,
    image_to_rgb,
    rgb_to_image,
)
from depth_estimation_ros.estimator import DepthEstimator, DepthMap
from depth_estimation_ros.geometry import point_cloud
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

    image: Image
    wanted: frozenset[str] = frozenset(OUTPUTS)


class FrameError(Exception):
    """A frame that cannot be processed: `reason` is its kind, the text is one sentence for the user."""

    def __init__(self, reason: str, sentence: str):
        super().__init__(sentence)
        self.reason = reason


@contextmanager
def _failing(reason: str) -> Iterator[None]:
    """Name the kind of what goes wrong inside."""
    try:
        yield
    except (ValueError, BackendError) as error:
        raise FrameError(reason, str(error)) from error


def fits(info: CameraInfo, image: Image) -> bool:
    """Whether a camera_info has usable intrinsics of the image's size."""
    try:
        camera = camera_from_info(info)
    except ValueError:
        return False
    return (camera.width, camera.height) == (image.width, image.height)


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
        self._points = np.empty((0, 0, 4), np.float32)

    def outputs(
        self, frame: Frame, camera_info: Callable[[], CameraInfo], settings: Settings, stage: Stopwatch
    ) -> Iterator[tuple[str, Image | CameraInfo | PointCloud2]]:
        """
        Process a frame and yield each wanted message, with its topic, as soon as it is there.

        Parameters
        ----------
        frame : Frame
            The image and what is wanted of it.
        camera_info : callable
            Gives the camera_info of the image; raises FrameError if there is none. It is called after the
            network has run, so that a camera_info that is published right behind its image is in time.
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
        with stage("decode"), _failing("image not readable"):
            rgb = image_to_rgb(frame.image)
        with stage("preprocess"):
            batch = estimator.preprocess(rgb)
        with stage("inference"), _failing("engine failed"):
            output = estimator.backend.infer(batch)
        with stage("postprocess"):
            camera = self._camera(rgb, camera_info, settings)
            with _failing("camera_info of another size"):
                whole = estimator.postprocess(output, rgb, camera)

        @cache
        def depth_at(resolution: str) -> DepthMap:
            height, width = rgb.shape[:2] if resolution == "camera" else whole.depth.shape
            with stage("postprocess"):
                return whole.resized(width, height).limited(settings.min_depth, settings.max_depth)

        if DEPTH in frame.wanted:
            view = depth_at(settings.depth_resolution)
            with stage("message"):
                message = depth_to_image(view.depth, header, settings.depth_encoding)
            yield DEPTH, message
        if DEPTH_INFO in frame.wanted:
            view = depth_at(settings.depth_resolution)
            with stage("message"):
                message = camera_to_info(view.camera, header)
            yield DEPTH_INFO, message
        if POINTS in frame.wanted:
            view = depth_at(settings.cloud_resolution)
            with stage("cloud"):
                points = point_cloud(view.depth, view.camera, rgb, out=self._point_buffer(view.depth.shape))
            with stage("message"):
                message = cloud_to_message(points, header)
            yield POINTS, message
        if PREVIEW in frame.wanted:
            view = depth_at(settings.depth_resolution)
            with stage("preview"):
                picture = render_preview(rgb, view.depth, settings.colour_map, settings.min_depth, settings.max_depth)
            with stage("message"):
                message = rgb_to_image(picture, header)
            yield PREVIEW, message

    def _camera(self, rgb: np.ndarray, camera_info: Callable[[], CameraInfo], settings: Settings) -> PinholeCamera:
        """Return the camera of an image: from the parameter if it is set, else from camera_info."""
        if settings.horizontal_fov > 0.0:
            return PinholeCamera.from_fov(rgb.shape[1], rgb.shape[0], settings.horizontal_fov)
        with _failing("camera_info not usable"):
            return camera_from_info(camera_info())

    def _point_buffer(self, shape: tuple[int, int]) -> np.ndarray:
        """Return memory for a cloud, the same for every frame of a stream."""
        if self._points.shape[:2] != shape:
            self._points = np.empty((*shape, 4), np.float32)
        return self._points
