"""Camera and subscriber of the node's benchmark, in one node."""

from __future__ import annotations

import itertools

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import camera_to_info, rgb_to_image
from depth_estimation_ros.pipeline.frame import OUTPUT_TYPES
from depth_estimation_ros.processes.client import Client

OUTPUTS = ("depth/image", "depth/points", "depth/scan")
_IMAGES = 4  # number of distinct images, used in turn


class BenchCamera(Client):
    """
    Camera that publishes random images at a rate, and subscriber to the outputs of the depth node.

    Parameters
    ----------
    camera : PinholeCamera
        Intrinsics of the images.
    rate : float
        Images per second.

    Attributes
    ----------
    frames : int
        Number of depth images received.
    """

    def __init__(self, camera: PinholeCamera, rate: float):
        super().__init__("bench_node")
        self.frames = 0
        random = np.random.default_rng(0)
        shape = (camera.height, camera.width, 3)
        images = [rgb_to_image(random.integers(0, 256, shape, np.uint8)) for _ in range(_IMAGES)]
        self._images_in_turn, self._info = itertools.cycle(images), camera_to_info(camera)
        self._images = self.create_publisher(Image, "image", 5)
        self._infos = self.create_publisher(CameraInfo, "camera_info", 5)
        self.create_timer(1.0 / rate, self._publish)

    def subscribe(self) -> None:
        """Subscribe to depth image, cloud and scan, serialized."""
        for topic in OUTPUTS:
            callback = self._count if topic == "depth/image" else (lambda _: None)
            self.create_subscription(OUTPUT_TYPES[topic], topic, callback, 5, raw=True)

    def _count(self, _: bytes) -> None:
        self.frames += 1

    def _publish(self) -> None:
        image = next(self._images_in_turn)
        image.header.frame_id = self._info.header.frame_id = "camera_optical_frame"
        image.header.stamp = self._info.header.stamp = self.get_clock().now().to_msg()
        self._infos.publish(self._info)
        self._images.publish(image)
