"""Node ``synthetic_camera``: a camera that walks through a rendered room and knows the true depth."""

from __future__ import annotations

import math
import sys
import time

import cv2
from rclpy.node import Node

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.image_stream import ImageStream, Metronome, declare, run
from depth_estimation_ros.synthetic import Room

NYU_HORIZONTAL_FOV = 2 * math.atan(320 / 518.86)  # the Kinect of NYU Depth v2, at 640 pixels


class SyntheticCamera(Node):
    """
    Publishes what a camera sees on its walk through a room, with its intrinsics and exact depth.

    Publishers
    ----------
    image : sensor_msgs/Image
    camera_info : sensor_msgs/CameraInfo
    ground_truth/depth : sensor_msgs/Image
        32FC1, metres along the optical axis (REP 118); made only while somebody subscribes.

    Parameters are declared, with ranges and descriptions, in ``__init__`` and by :class:`ImageStream`.
    """

    def __init__(self):
        super().__init__("synthetic_camera")
        width = declare(self, "width", 640, "Image width in pixels.", (16, 4096))
        height = declare(self, "height", 480, "Image height in pixels.", (16, 4096))
        fov = declare(self, "horizontal_fov", NYU_HORIZONTAL_FOV, "Horizontal field of view in radians.", (0.2, 2.6))
        self._rate = declare(self, "rate", 30.0, "Images a second.", (0.1, 240.0))
        self._speed = declare(
            self, "speed", 1.0, "Speed of the walk; 1 goes round in 40 s, 0 stands still.", (0.0, 10.0)
        )
        seed = declare(self, "seed", 0, "Chooses the room.", (0, 2**31 - 1))
        self._stream = ImageStream(self)
        self._camera = PinholeCamera.from_fov(width, height, fov)
        self._room = Room(seed)
        self.get_logger().info(f"publishing room {seed} at {width}x{height}, {self._rate:g} images a second")

    def work(self, metronome: Metronome) -> None:
        """Publish until the end is asked for."""
        cv2.setNumThreads(1)  # one core draws 30 images a second; the others are for who looks at them
        start = time.monotonic()
        for _ in metronome.ticks(self._rate):
            # The stamp is the moment of the picture; rendering it takes the place of exposure and transfer.
            stamp = self.get_clock().now().to_msg()
            pose = self._room.trajectory(self._speed * (time.monotonic() - start))
            rgb, depth = self._room.render(self._camera, pose)
            self._stream.publish(rgb, self._camera, depth, stamp)


def main(args=None) -> int:
    """Run the node."""
    return run("synthetic_camera", SyntheticCamera, args)


if __name__ == "__main__":
    sys.exit(main())
