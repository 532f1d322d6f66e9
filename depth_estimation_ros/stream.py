"""The running stream: from the subscriptions through the mailbox to the publishers, with every frame accounted for."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_estimation_ros.input_watch import InputWatch
from depth_estimation_ros.mailbox import Mailbox
from depth_estimation_ros.pace import Pace
from depth_estimation_ros.pipeline import OUTPUT_TYPES, PREVIEW, Frame, FrameError, fits
from depth_estimation_ros.session import Session, finished
from depth_estimation_ros.statistics import Stopwatch

if TYPE_CHECKING:
    from depth_estimation_ros.node import DepthEstimationNode

WARNING_SECONDS = 10.0
"""Frames that fail for one reason are warned of at most so often."""

CAMERA_INFO_PATIENCE = 0.1
"""Seconds that a frame waits for its camera_info: at the start of a stream, and when the image size changes."""


class CameraInfos:
    """The latest camera_info messages; any thread may call any method."""

    def __init__(self):
        self._latest: deque[CameraInfo] = deque(maxlen=64)
        self._changed = threading.Condition()

    def add(self, msg: CameraInfo) -> None:
        """Keep a message."""
        with self._changed:
            self._latest.append(msg)
            self._changed.notify_all()

    def of(self, stamp: Time, size: tuple[int, int], patience: float) -> CameraInfo | None:
        """
        Return the message of an image's stamp, or else the newest; None if none came.

        Where it does not fit the image's (width, height), one that does is waited for, at most `patience` seconds.
        """

        def find() -> CameraInfo | None:
            newest_first = list(reversed(self._latest))
            same = (msg for msg in newest_first if msg.header.stamp == stamp)
            return next(same, *newest_first[:1] or [None])

        with self._changed:
            self._changed.wait_for(lambda: (msg := find()) and fits(msg, size), patience)
            return find()


class Stream:
    """
    What exists only while the node is active: subscriptions, publishers, and the loop between them.

    Callbacks of the subscriptions leave the newest frame in a mailbox and never wait; the loop runs in the
    session's thread and takes it from there.

    Parameters
    ----------
    node : DepthEstimationNode
        Whose settings, statistics and topics they are.
    session : Session
        The loaded model.
    """

    def __init__(self, node: DepthEstimationNode, session: Session):
        self._node, self._session = node, session
        self._mailbox: Mailbox[Frame] = Mailbox()
        self._infos = CameraInfos()
        self._frames, self._previews = Pace(), Pace()
        self._warned: dict[str, float] = {}
        with ExitStack() as undo:
            self._publishers = {}
            # The newest result is the one that matters, but a recorder wants to miss none of them.
            qos = _qos(node.settings.output_reliability, depth=5)
            for topic, message_type in OUTPUT_TYPES.items():
                self._publishers[topic] = node.create_publisher(message_type, topic, qos)
                undo.callback(node.destroy_publisher, self._publishers[topic])
            self._loop = session.submit(self._run)
            undo.callback(self._mailbox.close)
            self._topics_off = undo.enter_context(ExitStack())
            qos = _qos(node.settings.image_reliability, depth=2 * node.settings.queue_depth)
            infos = node.create_subscription(CameraInfo, "camera_info", self._on_camera_info, qos)
            self._topics_off.callback(node.destroy_subscription, infos)
            qos = _qos(node.settings.image_reliability, depth=node.settings.queue_depth)
            kind, topic = Image, "image"
            if node.settings.image_transport == "compressed":
                # As image_transport does: behind the name that image is remapped to.
                kind, topic = CompressedImage, node.resolve_topic_name("image") + "/compressed"
            images = node.create_subscription(kind, topic, self._on_image, qos)
            self._topics_off.callback(node.destroy_subscription, images)
            self._undo = undo.pop_all()
        self._image_watch = InputWatch(
            node,
            images,
            f"sensor_msgs/msg/{kind.__name__}",
            "is the camera running, image remapped to its topic, and image_transport what it publishes?",
        )
        self._info_watch = InputWatch(
            node,
            infos,
            "sensor_msgs/msg/CameraInfo",
            "is camera_info remapped to the camera's topic? Without one, set horizontal_fov",
        )

    def close(self, patience: float | None = None) -> bool:
        """
        Stop: no frame is taken any more, the one in work is finished, the topics disappear.

        Parameters
        ----------
        patience : float, optional
            Wait at most so many seconds for the frame in work.

        Returns
        -------
        bool
            Whether it was finished. If not, it counts as failed.
        """
        self._topics_off.close()
        if self._mailbox.close() is not None:
            self._node.statistics.superseded()
        ended = finished(self._loop, patience)
        if not ended:
            self._node.statistics.failed("engine busy at shutdown")
        self._undo.close()
        return ended

    def complaints(self) -> list[str]:
        """Say what is wrong with the inputs, one sentence each, and log it at a sensible pace."""
        settings = self._node.settings
        watches = [self._image_watch] + [self._info_watch] * (settings.horizontal_fov == 0.0)
        return [sentence for watch in watches if (sentence := watch.check(settings.input_timeout))]

    def _on_camera_info(self, msg: CameraInfo) -> None:
        self._info_watch.heard()
        self._infos.add(msg)
        if any(msg.d):
            self._node.get_logger().warning(
                "camera_info has distortion coefficients, but images are taken as rectified: "
                "feed the rectified image for straight walls",
                once=True,
            )

    def _on_image(self, msg: Image | CompressedImage) -> None:
        self._image_watch.heard()
        settings, statistics, now = self._node.settings, self._node.statistics, time.monotonic()
        wanted = {topic for topic, p in self._publishers.items() if p.get_subscription_count()}
        if not self._previews.due(now, settings.preview_rate):
            wanted.discard(PREVIEW)
        if not wanted:
            statistics.idle()
            return
        statistics.received()
        if not self._frames.take(now, settings.max_rate) or self._mailbox.put(Frame(msg, frozenset(wanted))):
            statistics.superseded()

    def _run(self) -> None:
        for frame in self._mailbox:
            self._process(frame)

    def _process(self, frame: Frame) -> None:
        """Publish what is wanted of a frame, and count what became of it."""
        settings, stage = self._node.settings, Stopwatch()
        if PREVIEW in frame.wanted:
            self._previews.take(time.monotonic(), settings.preview_rate)
        camera_info = partial(self._camera_info_of, frame)
        try:
            for topic, message in self._session.pipeline.outputs(frame, camera_info, settings, stage):
                with stage("publish"):
                    self._publishers[topic].publish(message)
        except FrameError as error:
            self._fail(error.reason, str(error))
        except Exception:  # a fault of this program; the next frame may do better
            self._fail("internal error", traceback.format_exc())
        else:
            stamp = frame.image.header.stamp
            age = self._node.get_clock().now().nanoseconds - (stamp.sec * 1_000_000_000 + stamp.nanosec)
            self._node.statistics.published({**stage.elapsed, "latency": 1e-6 * age})

    def _camera_info_of(self, frame: Frame, size: tuple[int, int]) -> CameraInfo:
        if (msg := self._infos.of(frame.image.header.stamp, size, CAMERA_INFO_PATIENCE)) is None:
            raise FrameError("no camera_info", "no camera_info came yet; publish it or set horizontal_fov")
        return msg

    def _fail(self, reason: str, sentence: str) -> None:
        count = self._node.statistics.failed(reason)
        now = time.monotonic()
        if now - self._warned.get(reason, -WARNING_SECONDS) >= WARNING_SECONDS:
            self._warned[reason] = now
            self._node.get_logger().warning(f"frame not published: {sentence} (number {count} of this kind)")


def _qos(reliability: str, depth: int) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy[reliability.upper()])
