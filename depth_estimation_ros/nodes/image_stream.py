"""Shared parts of the nodes that publish images: parameters, publishers, timing and shutdown."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import camera_to_info, depth_to_image, recorded_info, rgb_to_image
from depth_estimation_ros.nodes.program import run_program
from depth_estimation_ros.nodes.start_errors import START_ERRORS, sentence
from depth_estimation_ros.parameters.declaration import ParameterGroup, constant
from depth_estimation_ros.parameters.text import frame_fault

FRAME_ID = "camera_optical_frame"
"""TF frame of the images if neither the user nor the recording names one."""


@dataclass(frozen=True)
class StreamParameters(ParameterGroup):
    """Parameters of an `ImageStream`."""

    frame_id: str = constant(FRAME_ID, "TF frame of the images (optical frame, REP 103).", parse=str, text=frame_fault)
    image_encoding: str = constant("rgb8", "Encoding of the images.", choices=("rgb8", "bgr8", "mono8"), parse=str)
    reliability: str = constant(
        "reliable",
        "QoS reliability of the publishers. reliable reaches both reliable and best-effort subscribers.",
        choices=("reliable", "best_effort"),
        parse=str,
    )


class ImageStream:
    """
    Publishers of one camera: ``image``, ``camera_info``, ``ground_truth/depth`` and ``ground_truth/camera_info``.

    Parameters
    ----------
    node : rclpy.node.Node
        Node that owns the publishers.
    parameters : StreamParameters
        TF frame, encoding and reliability. Without a TF frame, the recording's is used, otherwise `FRAME_ID`.
    """

    def __init__(self, node: Node, parameters: StreamParameters):
        self.node, self.frame_id, self.encoding = node, parameters.frame_id, parameters.image_encoding
        reliability = ReliabilityPolicy[parameters.reliability.upper()]
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=reliability)
        self._image = node.create_publisher(Image, "image", qos)
        self._info = node.create_publisher(CameraInfo, "camera_info", qos)
        self._depth = node.create_publisher(Image, "ground_truth/depth", qos)
        self._depth_info = node.create_publisher(CameraInfo, "ground_truth/camera_info", qos)
        self.published = 0

    @property
    def subscribers(self) -> int:
        """Number of subscribers of the images."""
        return self._image.get_subscription_count()

    @property
    def wants_depth(self) -> bool:
        """Whether the ground truth depth has subscribers."""
        return self._depth.get_subscription_count() > 0

    def publish(
        self,
        rgb: np.ndarray,
        camera: PinholeCamera | Any | None,
        depth: np.ndarray | None,
        stamp: Time | None = None,
        *,
        depth_camera: PinholeCamera | None = None,
        frame_id: str = "",
    ) -> None:
        """
        Publish an image, its depth and their camera_info messages, all with the same stamp.

        Parameters
        ----------
        rgb : numpy.ndarray
            Image, uint8 [height, width, 3].
        camera : PinholeCamera, recorded camera_info, or None
            Intrinsics of the image. None publishes a zero K, which means "uncalibrated" in sensor_msgs/CameraInfo.
        depth : numpy.ndarray or None
            Ground truth depth, float32 [h, w], metres.
        stamp : Time, optional
            Stamp of the messages. Default: the present time.
        depth_camera : PinholeCamera, optional
            Intrinsics of the depth. Default: `camera`.
        frame_id : str
            TF frame of the recording, used if the parameter ``frame_id`` is empty.
        """
        frame_id = self.frame_id or frame_id or FRAME_ID
        header = Header(stamp=stamp or self.node.get_clock().now().to_msg(), frame_id=frame_id)
        self._info.publish(_info(camera, rgb, header))
        if depth is not None and self.wants_depth:
            self._depth_info.publish(_info(depth_camera or camera, depth, header))
            self._depth.publish(depth_to_image(depth, header))
        self._image.publish(rgb_to_image(rgb, header, self.encoding))
        self.published += 1

    def drain(self, seconds: float = 2.0) -> None:
        """Wait until reliable subscribers have received all messages, at most `seconds`."""
        end = time.monotonic() + seconds
        for publisher in (self._info, self._depth_info, self._depth, self._image):
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, end - time.monotonic())))


def _info(camera: PinholeCamera | Any | None, image: np.ndarray, header: Header) -> CameraInfo:
    """Return the camera_info of an image."""
    height, width = image.shape[:2]
    if camera is None:
        return CameraInfo(header=header, width=width, height=height)
    if isinstance(camera, PinholeCamera):
        return camera_to_info(camera.resized(width, height), header)
    return recorded_info(camera, header)


class Metronome:
    """
    Timer that spins the node while it waits, so that the node's services answer.

    Parameters
    ----------
    node : rclpy.node.Node
        Node to spin.
    stopping : threading.Event
        Event that ends all waiting.
    """

    def __init__(self, node: Node, stopping: threading.Event):
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._stopping = stopping

    def wait_until(self, moment: float) -> bool:
        """Wait until ``time.monotonic()`` is ``moment``; return False if the program is to end."""
        while not self._stopping.is_set():
            left = moment - time.monotonic()
            self._executor.spin_once(timeout_sec=max(0.0, min(left, 0.1)))
            if left <= 0:
                break
        return not self._stopping.is_set()

    def ticks(self, rate: float) -> Iterable[None]:
        """Yield ``rate`` times per second until the program is to end; ticks that were missed are skipped."""
        moment = time.monotonic()
        while self.wait_until(moment):
            yield
            moment = max(moment + 1.0 / rate, time.monotonic())


class CameraNode(Node):
    """Node that publishes images in its own thread."""

    def work(self, metronome: Metronome) -> None:
        """Publish images until the source or the program ends."""
        raise NotImplementedError


def run(name: str, make_node: Callable[[], CameraNode], args: list[str] | None, example: str) -> int:
    """
    Create a node and run its method ``work(metronome)`` until it returns, or until SIGINT, SIGTERM or SIGHUP.

    Parameters
    ----------
    name, args, example
        As for `run_program`.
    make_node : callable
        Function that creates the node.

    Returns
    -------
    int
        Exit code: 0, or 1 after a user error, which is printed in one line on stderr.
    """

    def work(stopping: threading.Event) -> int:
        node = None
        try:
            node = make_node()
            node.work(Metronome(node, stopping))
            return 0
        except START_ERRORS as error:
            print(f"{name}: {sentence(error)}", file=sys.stderr)
            return 1
        finally:
            if node is not None:
                node.destroy_node()

    return run_program(name, work, args, example)
