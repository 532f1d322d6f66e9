"""Subscriptions of the active node (images, camera_info, anchor, TF) and detection of their problems."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_estimation_ros.ground_truth.calibration import is_rectified
from depth_estimation_ros.pipeline.anchoring import REFERENCE_TYPES, Reference
from depth_estimation_ros.pipeline.frame import POINTS, SCAN, Frame, FrameError, Surroundings
from depth_estimation_ros.runtime.by_stamp import CameraInfos, References, nanoseconds
from depth_estimation_ros.runtime.frame_loop import Arrived
from depth_estimation_ros.runtime.image_topic import image_topic
from depth_estimation_ros.runtime.input_watch import REPEAT_SECONDS, InputWatch
from depth_estimation_ros.runtime.statistics import Statistics
from depth_estimation_ros.runtime.tf_listener import TfListener
from depth_estimation_ros.settings import Settings
from depth_estimation_ros.settings.camera import FROM_POSE
from depth_estimation_ros.support.sentences import quoted

CAMERA_INFO_PATIENCE = 0.1
"""Seconds that a frame waits for its camera_info: at the start of a stream, and when the image size changes."""

OUT_OF_ORDER = 1.0
"""
Limit in seconds that tells a late image from a jump back in time.

An image that is older than the one before it by less is late and skipped. By more, time has jumped back, as when a bag
is played in a loop.
"""

LARGEST_AGE = 10.0
"""Seconds between an image's stamp and the node's time above which the two come from different clocks."""


class Inputs:
    """
    Subscriptions of an active node.

    Parameters
    ----------
    node : Node
        Node that owns the subscriptions.
    settings : callable
        Function that returns the current settings.
    statistics : Statistics
        Counter of received images, including those that are skipped here.
    wanted : callable
        Function that returns the output topics for which an image is needed.
    take : callable
        Function called with each frame, in the thread of the node's executor.
    """

    def __init__(
        self,
        node: Node,
        settings: Callable[[], Settings],
        statistics: Statistics,
        wanted: Callable[[], frozenset[str]],
        take: Callable[[Arrived], None],
    ):
        self._node, self._settings, self._statistics = node, settings, statistics
        self._wanted, self._take = wanted, take
        self._infos, self._references, self._transforms = CameraInfos(), References(), TfListener(node)
        self._asked_for_latched = False
        self._newest = 0
        self._age = 0.0
        now = settings()
        self._rectified = is_rectified(node.resolve_topic_name("image"))
        images = image_topic(node, now.camera.image_transport)
        with ExitStack() as undo:
            undo.callback(self._transforms.close)
            self._undo = undo
            self._info_watch = self._subscribe(
                CameraInfo,
                "camera_info",
                callback=self._on_camera_info,
                depth=2 * now.topics.queue_depth,
                advice="is camera_info remapped to the camera's topic? Without one, set horizontal_fov",
            )
            self._subscribe_latched()
            self._reference_watch: InputWatch | None = None
            if reference_type := REFERENCE_TYPES.get(now.anchor.reference):
                self._reference_watch = self._subscribe(
                    reference_type,
                    f"anchor/{now.anchor.reference}",
                    callback=self._on_reference,
                    depth=10,
                    advice=f"is anchor/{now.anchor.reference} remapped to the sensor's topic?",
                )
            self._image_watch = self._subscribe(
                images.kind,
                images.name,
                callback=self._on_image,
                depth=now.topics.queue_depth,
                advice="is the camera running, and image remapped to its topic?",
                remedies=images.remedies,
            )
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Destroy the subscriptions."""
        self._undo.close()

    def complaints(self) -> list[str]:
        """Return the problems of the inputs, one sentence each, and log them at a limited rate."""
        self._subscribe_latched()
        settings = self._settings()
        watches = [self._image_watch]
        watches += [self._info_watch] if settings.camera.horizontal_fov == 0.0 else []
        watches += [self._reference_watch] if self._reference_watch else []
        found = [sentence for watch in watches if (sentence := watch.check(settings.topics.input_timeout))]
        if sentence := self._wrong_time():
            self._node.get_logger().warning(sentence, throttle_duration_sec=REPEAT_SECONDS)
            found.append(sentence)
        return found

    def _wrong_time(self) -> str:
        """Return one sentence if the images' stamps and the node's time come from different clocks, otherwise ""."""
        if self._newest and not self._node.get_clock().now().nanoseconds:  # only simulated time is ever 0
            cause = "/clock sends no time" if self._node.count_publishers("/clock") else "nobody publishes /clock"
            return f"the node's time stands still: {cause}; play the bag with --clock, or set use_sim_time to false"
        if abs(self._age) <= LARGEST_AGE:
            return ""
        return (
            f"images are stamped {abs(self._age):.0f} s {'before' if self._age > 0 else 'after'} the node's time: "
            "set use_sim_time and play the bag with --clock, or synchronise the clocks"
        )

    def _listen_for(self, wanted: frozenset[str]) -> None:
        """Subscribe to TF if one of the wanted outputs needs it."""
        s = self._settings()
        posed = SCAN in wanted or (POINTS in wanted and s.cloud.needs_pose)
        posed = posed or s.anchor.reference == "floor" or s.camera.image_rotation == FROM_POSE
        if (posed and s.mounting.height == 0.0) or s.anchor.reference in REFERENCE_TYPES:
            self._transforms.listen()

    def _surroundings(self, image: Image | CompressedImage) -> Surroundings:
        """Return the surroundings of an image; their functions are called in the session's thread."""

        def camera_info(size: tuple[int, int]) -> CameraInfo:
            if (msg := self._infos.of(image.header.stamp, size, CAMERA_INFO_PATIENCE)) is None:
                raise FrameError("no camera_info", "no camera_info came yet; publish it or set horizontal_fov")
            return msg

        return Surroundings(
            camera_info,
            self._transforms.pose,
            lambda stamp: self._references.near(self._moment(stamp), self._settings().anchor.max_age),
            self._rectified,
        )

    def _subscribe(
        self, kind: type, topic: str, callback: Callable, depth: int, advice: str, remedies: dict | None = None
    ) -> InputWatch:
        qos = qos_profile(self._settings().topics.image_reliability, depth)
        subscription = self._node.create_subscription(kind, topic, callback, qos)
        self._undo.callback(self._node.destroy_subscription, subscription)
        return InputWatch(
            self._node, subscription, type_name=f"sensor_msgs/msg/{kind.__name__}", advice=advice, remedies=remedies
        )

    def _subscribe_latched(self) -> None:
        """
        Subscribe with transient-local durability if a publisher of camera_info offers it.

        This receives a camera_info that was published earlier. Other publishers would log a QoS warning for it.
        """
        latched = DurabilityPolicy.TRANSIENT_LOCAL
        topic = self._node.resolve_topic_name("camera_info")
        publishers = self._node.get_publishers_info_by_topic(topic)
        if self._asked_for_latched or all(p.qos_profile.durability != latched for p in publishers):
            return
        self._asked_for_latched = True
        qos = qos_profile("reliable", 1)
        qos.durability = latched
        subscription = self._node.create_subscription(CameraInfo, "camera_info", self._on_camera_info, qos)
        self._undo.callback(self._node.destroy_subscription, subscription)

    def _on_camera_info(self, msg: CameraInfo) -> None:
        self._info_watch.heard()
        self._infos.add(msg)
        if any(msg.d) and self._settings().camera.distortion == "auto":
            what = f"have the distortion of camera_info ({quoted(msg.distortion_model)}) and are rectified"
            if self._rectified:
                what = "are taken as rectified, by the name of their topic"
            self._node.get_logger().info(f"images {what}; the parameter distortion can say otherwise", once=True)

    def _on_reference(self, msg: Reference) -> None:
        if self._reference_watch is not None:
            self._reference_watch.heard()
        self._references.add(self._moment(msg.header.stamp), msg)

    def _on_image(self, msg: Image | CompressedImage) -> None:
        self._image_watch.heard()
        if not self._in_order(nanoseconds(msg.header.stamp)):
            self._statistics.received()
            self._statistics.superseded()
        elif wanted := self._wanted():
            self._statistics.received()
            self._listen_for(wanted)
            self._take((Frame(msg, wanted), self._surroundings(msg)))
        else:
            self._statistics.idle()

    def _moment(self, stamp: Time) -> int:
        """Return a stamp in nanoseconds, or the present time for a stamp of 0."""
        return nanoseconds(stamp) or self._node.get_clock().now().nanoseconds

    def _in_order(self, moment: int) -> bool:
        """Return whether an image is in time order; drop buffered data if time has jumped back."""
        logger = self._node.get_logger()
        if moment == 0:
            logger.warning("images have no stamps: transforms and references are taken as of now", once=True)
            return True
        if now := self._node.get_clock().now().nanoseconds:
            self._age = 1e-9 * (now - moment)
        back, self._newest = 1e-9 * (self._newest - moment), max(moment, self._newest)
        if back <= 0.0:
            return True
        if back < OUT_OF_ORDER:
            logger.warning("an image is older than the one before it: such images are skipped", once=True)
            return False
        logger.info(f"time has jumped back by {back:.1f} s: buffered transforms and anchor messages are dropped")
        self._newest = moment
        self._infos.clear()
        self._references.clear()
        self._transforms.clear()
        return True


def qos_profile(reliability: str, depth: int) -> QoSProfile:
    """Return a QoS profile that keeps the last `depth` messages; `reliability` is "best_effort" or "reliable"."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy[reliability.upper()])
