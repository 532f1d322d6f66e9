"""What the nodes that publish images have in common: parameters, publishers, pace, and a clean end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
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
from depth_estimation_ros.parameters import KINDS


def declare(node: Node, name: str, default, description: str, span=None, choices=()):
    """
    Declare a parameter that is read once, at the start, and return its value.

    Parameters
    ----------
    node : rclpy.node.Node
        Owner.
    name, default, description
        As ROS shows them.
    span : tuple, optional
        Smallest and largest value of a number.
    choices : tuple of str
        Values a string may have.

    Raises
    ------
    ValueError
        If the value given is of another type, out of range, or none of the choices.
    """
    text = f"{description} One of {', '.join(choices)}." if choices else description
    # YAML reads the webcam in source:=0 as a number; where text is wanted, any value is text.
    textual = isinstance(default, str)
    descriptor = ParameterDescriptor(description=text, read_only=True, dynamic_typing=textual)
    if span and isinstance(default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(span[0]), to_value=float(span[1]))]
    elif span:
        descriptor.integer_range = [IntegerRange(from_value=span[0], to_value=span[1], step=1)]
    try:
        value = node.declare_parameter(name, default, descriptor).value
    except Exception as error:  # rclpy has one exception a reason, all with a plain sentence
        limits = f", from {span[0]} to {span[1]}" if span else ""
        raise ValueError(f"parameter {name} must be {KINDS[type(default)]}{limits} ({error})") from None
    value = str(value) if textual else value
    if choices and value not in choices:
        raise ValueError(f"parameter {name} must be one of {', '.join(choices)}, got '{value}'")
    return value


FRAME_ID = "camera_optical_frame"
"""Frame of the images where neither the user nor the recording names one."""


class ImageStream:
    """
    Publishers of ``image``, ``camera_info``, ``ground_truth/depth`` and its ``camera_info`` of one camera.

    Declares the parameters ``frame_id``, ``image_encoding`` and ``reliability`` on the node.

    Parameters
    ----------
    node : rclpy.node.Node
        Owner.
    frame_id : str
        Default of that parameter; empty: the frame is that of the recording, else `FRAME_ID`.
    """

    def __init__(self, node: Node, frame_id: str = FRAME_ID):
        self.node = node
        description = "Frame of the images (REP 103, optical)."
        if not frame_id:
            description += f" Empty is that of the recording, else {FRAME_ID}."
        self.frame_id = declare(node, "frame_id", frame_id, description)
        self.encoding = declare(
            node, "image_encoding", "rgb8", "Encoding of the images.", choices=("rgb8", "bgr8", "mono8")
        )
        reliability = declare(
            node,
            "reliability",
            "reliable",
            "Quality of service; reliable serves both kinds of subscriber.",
            choices=("reliable", "best_effort"),
        )
        policies = {"reliable": ReliabilityPolicy.RELIABLE, "best_effort": ReliabilityPolicy.BEST_EFFORT}
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=policies[reliability])
        self._image = node.create_publisher(Image, "image", qos)
        self._info = node.create_publisher(CameraInfo, "camera_info", qos)
        self._depth = node.create_publisher(Image, "ground_truth/depth", qos)
        self._depth_info = node.create_publisher(CameraInfo, "ground_truth/camera_info", qos)
        self.published = 0

    @property
    def subscribers(self) -> int:
        """How many take the images."""
        return self._image.get_subscription_count()

    @property
    def wants_depth(self) -> bool:
        """Whether somebody takes the true depth."""
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
        Publish one moment; all messages carry the same stamp.

        Parameters
        ----------
        rgb : numpy.ndarray
            uint8 [height, width, 3].
        camera : PinholeCamera, recorded camera_info, or None
            Of the image. One without intrinsics is announced as the message's definition asks, by K of zeros.
        depth : numpy.ndarray or None
            float32 [h, w], metres.
        stamp : Time, optional
            Now without.
        depth_camera : PinholeCamera, optional
            Of the depth; the image's without.
        frame_id : str
            Of the recording, where the parameter is empty.
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
        """Wait until reliable subscribers have everything."""
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
    Waits for moments on the clock, and answers the node's services meanwhile.

    Parameters
    ----------
    node : rclpy.node.Node
        Whose services these are.
    stopping : threading.Event
        Ends all waiting.
    """

    def __init__(self, node: Node, stopping: threading.Event):
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._stopping = stopping

    def wait_until(self, moment: float) -> bool:
        """Wait until ``time.monotonic()`` is ``moment``; False if the end was asked for."""
        while not self._stopping.is_set():
            left = moment - time.monotonic()
            self._executor.spin_once(timeout_sec=max(0.0, min(left, 0.1)))
            if left <= 0:
                break
        return not self._stopping.is_set()

    def ticks(self, rate: float) -> Iterable[None]:
        """Yield ``rate`` times a second until the end; a late tick delays the next, none are made up for."""
        moment = time.monotonic()
        while self.wait_until(moment):
            yield
            moment = max(moment + 1.0 / rate, time.monotonic())


def run(name: str, make_node: Callable[[], Node], args: list[str] | None, example: str) -> int:
    """
    Make a node and let its ``work(metronome)`` publish until it has no more, or SIGINT or SIGTERM.

    Parameters
    ----------
    name, args, example
        As of `run_program`.
    make_node : callable
        Makes the node.

    Returns
    -------
    int
        Exit code: 0, or 1 after a mistake of the user's, which is named in one line on stderr.
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
