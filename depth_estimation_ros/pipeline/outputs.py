"""Outputs of one image: each message is made from results that the outputs share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2
from std_msgs.msg import Header

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.conversions import compressed_to_rgb, image_to_rgb, rgb_to_image
from depth_estimation_ros.estimator import DepthEstimator, DepthMap
from depth_estimation_ros.geometry.network_view import NetworkView
from depth_estimation_ros.geometry.pose import camera_pose
from depth_estimation_ros.imaging.preview import render_preview
from depth_estimation_ros.pipeline.anchoring import Anchoring
from depth_estimation_ros.pipeline.frame import (
    DEPTH,
    DEPTH_INFO,
    POINTS,
    PREVIEW,
    SCALE,
    SCAN,
    FrameError,
    Surroundings,
)
from depth_estimation_ros.pipeline.messages import OutputMessages
from depth_estimation_ros.pipeline.navigation import Navigation
from depth_estimation_ros.pipeline.stopwatch import Stopwatch
from depth_estimation_ros.pipeline.view_selector import ViewSelector
from depth_estimation_ros.settings import Settings


class _Failing:
    """Context manager that turns errors of the user and the engine into a FrameError with a given reason."""

    def __init__(self, reason: str):
        self._reason = reason

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _kind, error: BaseException | None, _trace) -> None:
        """Raise FrameError for a ValueError or BackendError."""
        if isinstance(error, (ValueError, BackendError)):
            raise FrameError(self._reason, str(error)) from error


@dataclass(frozen=True)
class Tools:
    """Objects that process the frames of one camera, one frame at a time."""

    estimator: DepthEstimator
    messages: OutputMessages
    views: ViewSelector
    anchoring: Anchoring
    navigation: Navigation


class FrameOutputs:
    """
    Results of one image; results that several outputs share are computed once.

    Parameters
    ----------
    tools : Tools
        Tools of the camera. Not the pipeline itself, because the reference cycle would keep the model alive.
    image, surroundings, settings, stage
        As for `Pipeline.outputs`.
    """

    def __init__(
        self,
        tools: Tools,
        image: Image | CompressedImage,
        surroundings: Surroundings,
        settings: Settings,
        stage: Stopwatch,
    ):
        self._tools, self._image = tools, image
        self._surroundings, self._settings, self._stage = surroundings, settings, stage
        self.header = image.header

    def estimate(self) -> None:
        """Run the network and correct the scale of its depth."""
        stage, settings, estimator = self._stage, self._settings, self._tools.estimator
        with stage("decode"), _Failing("image not readable"):
            compressed = isinstance(self._image, CompressedImage)
            self.rgb = compressed_to_rgb(self._image) if compressed else image_to_rgb(self._image)
        with stage("preprocess"):
            self._view = self._make_view()
            with _Failing("camera_info of another size"):
                self._seen = self._view.prepare(self.rgb)
        with stage("inference"), _Failing("engine failed"):
            outputs = estimator.backend.infer(self._seen[None])
        with stage("postprocess"):
            estimated = self._mounted(estimator.postprocess(outputs, self._seen, self._view.seen))
        with stage("anchor"), _Failing("depth not metric"):
            self._metric = self._tools.anchoring(
                estimated,
                self.header,
                settings.anchor,
                reference=lambda: self._surroundings.reference(self.header.stamp),
                pose_of=self._from_frame,
                pose=lambda: self.pose,
            )
        with stage("postprocess"):
            self.depth_map = self._metric.limited(settings.output.min_depth, settings.output.max_depth)

    def output(self, topic: str):
        """Return the message of a topic; raises FrameError if it cannot be made."""
        make = {
            DEPTH: self._depth_image,
            DEPTH_INFO: self._depth_info,
            POINTS: self._points,
            SCAN: self._scan,
            SCALE: lambda: self._tools.anchoring.message(self.header),
            PREVIEW: self._preview,
        }
        return make[topic]()

    @cached_property
    def pose(self) -> np.ndarray:
        """Camera pose in the base frame, float [4, 4]; raises ValueError if it is unknown."""
        mounting = self._settings.mounting
        if mounting.height > 0.0:
            return camera_pose(mounting.height, mounting.pitch, mounting.roll)
        try:
            return self._surroundings.pose(mounting.base_frame, self.header.frame_id, self.header.stamp)
        except ValueError as error:
            raise ValueError(f"{error}; or set camera_height and camera_pitch") from None

    def _from_frame(self, frame_id: str) -> np.ndarray:
        """Return the transform from a TF frame to the image's, float [4, 4]; raise ValueError if it is unknown."""
        mounting = self._settings.mounting
        if mounting.height > 0.0 and frame_id == mounting.base_frame:
            return np.linalg.inv(self.pose)
        return self._surroundings.pose(self.header.frame_id, frame_id, self.header.stamp)

    @cached_property
    def rectified(self) -> np.ndarray:
        """Image, rectified if the lens has distortion, uint8 [height, width, 3]."""
        return self._view.rectified(self.rgb)

    def enlarged(self) -> DepthMap:
        """Return the depth at the size of `rectified`, with its deviation if the settings use it."""
        depth_map, view = self.depth_map, self._view
        deviation = depth_map.deviation if self._settings.filter.max_relative_deviation else None
        if view.is_whole:
            return replace(depth_map, deviation=deviation).resized(view.whole.width, view.whole.height)
        deviation = deviation if deviation is None else view.enlarged(deviation)
        return DepthMap(view.enlarged(depth_map.depth), view.whole, deviation)

    def _make_view(self) -> NetworkView:
        size, surroundings = self.rgb.shape[1::-1], self._surroundings

        def pose() -> np.ndarray:
            with _Failing("no transform"):
                return self.pose

        with _Failing("camera_info not usable"):
            return self._tools.views.of(
                size,
                camera_info=lambda: surroundings.camera_info(size),
                rectified=surroundings.rectified,
                pose=pose,
                settings=self._settings.camera,
            )

    def _mounted(self, seen: DepthMap) -> DepthMap:
        """Return the network's depth in the orientation of the camera image."""
        depth, camera = self._view.restore(seen.depth)
        deviation = None if seen.deviation is None else self._view.restore(seen.deviation)[0]
        return DepthMap(depth, camera, deviation, seen.kind)

    @cached_property
    def _whole(self) -> DepthMap:
        with self._stage("postprocess"):
            return self.enlarged()

    def _depth_at(self, resolution: str) -> DepthMap:
        return self._whole if resolution == "camera" else self.depth_map

    def _picture_at(self, resolution: str) -> np.ndarray:
        # The network's input image has enough resolution to colour a cloud at the network's resolution.
        return self.rectified if resolution == "camera" else self._view.as_mounted(self._seen)

    def _depth_image(self) -> Image:
        s, messages = self._settings.output, self._tools.messages
        if s.depth_resolution == "camera" and self._view.is_whole:
            # Resample directly into the message.
            size = (self._view.whole.width, self._view.whole.height)
            with self._stage("message"):
                message, whole = messages.depth_image(self.depth_map, *size, self.header, s.depth_encoding)
            if not self._settings.filter.max_relative_deviation:
                self._whole = whole
            return message
        depth_map = self._depth_at(s.depth_resolution)
        with self._stage("message"):
            height, width = depth_map.depth.shape
            return messages.depth_image(depth_map, width, height, self.header, s.depth_encoding)[0]

    def _depth_info(self) -> CameraInfo:
        camera = self._view.whole if self._settings.output.depth_resolution == "camera" else self.depth_map.known_camera
        with self._stage("message"):
            return self._tools.messages.camera_info(camera, self.header)

    def _points(self) -> PointCloud2:
        s, navigation = self._settings, self._tools.navigation
        resolution = s.output.cloud_resolution
        depth_map, picture = self._depth_at(resolution), self._picture_at(resolution)
        with self._stage("cloud"):
            with _Failing("no transform"):
                pose = self.pose if s.cloud.needs_pose else None
            with _Failing("cloud not possible"):
                depth_map = navigation.cloud_depth(depth_map, pose, s.cloud, s.filter)
                return self._tools.messages.cloud(depth_map, picture, self.header, s.cloud.voxel_size)

    def _scan(self) -> LaserScan:
        s = self._settings
        with self._stage("scan"):
            with _Failing("no transform"):
                pose = self.pose
            with _Failing("scan not possible"):
                scanner, ranges = self._tools.navigation.scan(self._metric, pose, s.scan, s.filter)
            header = Header(stamp=self.header.stamp, frame_id=s.mounting.base_frame)
            return self._tools.messages.scan(scanner, ranges, header)

    def _preview(self) -> Image:
        s = self._settings.output
        depth_map, picture = self._depth_at(s.depth_resolution), self._picture_at(s.depth_resolution)
        with self._stage("preview"):
            rendered = render_preview(
                picture, depth_map.depth, colour_map=s.colour_map, near=s.min_depth, far=s.max_depth
            )
        with self._stage("message"):
            return rgb_to_image(rendered, self.header)
