"""Node ``view_depth``: shows camera, depth, cloud and scan live in a browser, and records what it shows."""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports, during which a user may press Ctrl-C
    from depth_estimation_ros import entry

    entry.view_depth()

import ipaddress
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import TransformStamped, Vector3Stamped
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image, LaserScan, PointCloud2, Range
from std_msgs.msg import Float32MultiArray

from depth_estimation_ros.conversions import (
    compressed_to_rgb,
    image_to_depth,
    image_to_rgb,
    message_to_cloud,
    message_to_points,
)
from depth_estimation_ros.geometry.laser_scan import scan_points
from depth_estimation_ros.geometry.pose import camera_pose, pose_from_transform
from depth_estimation_ros.nodes.program import run_program
from depth_estimation_ros.nodes.start_errors import START_ERRORS, sentence
from depth_estimation_ros.parameters.declaration import ParameterGroup, constant
from depth_estimation_ros.parameters.declare import declare
from depth_estimation_ros.parameters.text import path_fault, shown
from depth_estimation_ros.pipeline.frame import DEPTH as DEPTH_TOPIC
from depth_estimation_ros.pipeline.frame import POINTS, SCAN
from depth_estimation_ros.pipeline.frame import SCALE as SCALE_TOPIC
from depth_estimation_ros.runtime.image_topic import image_topic
from depth_estimation_ros.runtime.stream import LATENCY as LATENCY_TOPIC
from depth_estimation_ros.settings import MountingSettings, Settings
from depth_estimation_ros.support.serialized import header_stamp
from depth_estimation_ros.viewer.frames import Frames
from depth_estimation_ros.viewer.layout import live_layout
from depth_estimation_ros.viewer.scene import DEPTH, IMAGE, LATENCY, SCALE, TRUTH, Scene
from depth_estimation_ros.viewer.server import Server

IMAGE_TOPIC, TRUTH_TOPIC = "image", "ground_truth/depth"
ANCHORS = {"anchor/points": PointCloud2, "anchor/scan": LaserScan, "anchor/range": Range}
_CURVES = ("latency", "inference")
_SCAN_COLOUR, _ANCHOR_COLOUR = (255, 140, 0), (255, 0, 200)
_NEWEST = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_PATIENCE = 5.0  # seconds for the server to take a frame, after which it is started again


def _address_fault(address: str) -> str:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return f"must be an IP address, such as 0.0.0.0, got {shown(address)}"
    return ""


@dataclass(frozen=True)
class ViewParameters(ParameterGroup):
    """Parameters of the node ``view_depth``. Those that the depth node has, too, must have the same values."""

    address: str = constant(
        "127.0.0.1",
        "IP address to listen on. 127.0.0.1 shows the view on this computer only. 0.0.0.0 shows it in the whole "
        "network, where everybody can look.",
        text=_address_fault,
    )
    port: int = constant(9090, "Port of the web page. The data takes the next port.", limits=(1024, 65534))
    rate: float = constant(10.0, "Maximum number of frames shown per second.", limits=(0.1, 10.0))
    save: str = constant("", "File for a recording of the view (.rrd). Empty records nothing.", text=path_fault)
    max_depth: float = constant(10.0, "Far end of the colour scale in metres.", limits=(0.1, 1000.0))
    image_transport: str = constant(
        "raw",
        "Image transport: raw subscribes to image, compressed subscribes to image/compressed (JPEG or PNG).",
        choices=("raw", "compressed"),
    )
    mounting: MountingSettings = field(default=MountingSettings())


class ViewDepth(Node):
    """
    Node that shows what camera and depth node publish, in a browser.

    It subscribes, and thereby lets the depth node compute, only while a browser is connected or a recording is written.

    Subscriptions, best effort, of which the newest message is shown
        ``image`` or ``image/compressed``, ``depth/image``, ``depth/points``, ``depth/scan``, ``depth/scale``,
        ``depth/latency``: as the depth node has them.

        ``ground_truth/depth`` (sensor_msgs/Image): true depth, if the source has it.

        ``anchor/points``, ``anchor/scan``, ``anchor/range``: the measured distances of the anchor.

        ``/tf``, ``/tf_static`` (tf2_msgs/TFMessage), if tf2_msgs is installed.

    The ROS parameters are those of `ViewParameters`.
    """

    def __init__(self) -> None:
        super().__init__("view_depth")
        # The launch file gives all parameters of the depth node.
        self._chosen = p = declare(self, ViewParameters, read_only=True, others=Settings.declarations())
        mounting = p.mounting
        known = mounting.height > 0.0
        self._pose = camera_pose(mounting.height, mounting.pitch, mounting.roll) if known else None
        self._scene = Scene(p.max_depth)
        self._frames = Frames(IMAGE_TOPIC, DEPTH_TOPIC)
        self._transforms: dict[str, TransformStamped] = {}
        self._has: set[str] = set()
        self._camera_frame, self._stamp = "", 0
        self._arranged: tuple[frozenset[str], str, bool] | None = None
        self._received: list[Subscription] = []
        if p.save:
            try:
                self._scene.save(Path(p.save).expanduser())
            except OSError as error:
                raise ValueError(f"parameter save: {sentence(error)}") from None
            self.get_logger().info(f"recording the view to {p.save}")
        self._server = Server(p.address, p.port)
        self._scene.connect(self._server.url)
        self.get_logger().info(f"open {self._server.page}")
        self._ending = threading.Event()
        self._worker = threading.Thread(target=self._work, name="view", daemon=True)
        self._worker.start()
        # A steady clock, because a browser may come while simulated time stands still.
        self.create_timer(0.5, self._look_after, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy_node(self) -> None:
        """Complete the recording and end the server."""
        self._ending.set()
        self._worker.join(2.0 * _PATIENCE)
        self._scene.close(patience=1.0)
        self._server.close()
        super().destroy_node()

    def _look_after(self) -> None:
        """Subscribe while somebody looks or a recording is written."""
        wanted = bool(self._chosen.save) or self._server.browsers() > 0
        if wanted and not self._received:
            self._subscribe()
        elif not wanted and self._received:
            self.get_logger().info("nobody looks: unsubscribed until a browser comes")
            while self._received:
                self.destroy_subscription(self._received.pop())

    def _subscribe(self) -> None:
        image = image_topic(self, self._chosen.image_transport)
        frame_topics = [
            (image.name, image.kind, IMAGE_TOPIC),
            *((name, kind, name) for name, kind in _FRAME_TOPICS.items()),
        ]
        for name, kind, topic in frame_topics:
            self._add(name, kind, lambda raw, topic=topic: self._frames.put(topic, header_stamp(raw), raw))
        for name, kind in _LATEST_TOPICS.items():
            self._add(name, kind, lambda raw, name=name: self._frames.put_latest(name, raw))
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:  # ROS from PyPI does not have it
            return
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._add("/tf", TFMessage, self._on_transforms, QoSProfile(depth=100), raw=False)
        self._add("/tf_static", TFMessage, self._on_transforms, latched, raw=False)

    def _add(self, name: str, kind: type, callback: Callable, qos: QoSProfile = _NEWEST, raw: bool = True) -> None:
        self._received.append(self.create_subscription(kind, name, callback, qos, raw=raw))

    def _on_transforms(self, message: Any) -> None:
        for transform in message.transforms:
            self._transforms[transform.child_frame_id] = transform

    def _work(self) -> None:
        due = time.monotonic()
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1.0 / self._chosen.rate, time.monotonic())
            if self._server.ended:
                self._start_again("has ended")
            frames, latest = self._frames.take()
            if not frames and (not latest or not self._stamp):
                continue  # what has no stamp is shown at that of the frame
            try:
                for stamp, messages in frames:
                    self._scene.at(stamp)
                    for topic, raw in messages.items():
                        self._show(topic, raw)
                    self._stamp = stamp
                self._scene.at(self._stamp)
                for topic, raw in latest.items():
                    self._show(topic, raw)
                if frames:
                    self._show_transforms()
                    self._arrange()
                # Nothing new is sent before this is: memory stays bounded, and the newest frame is next.
                if not self._scene.flush(_PATIENCE) and not self._server.ended:
                    self._start_again("takes no more data, perhaps because a browser is suspended")
            except Exception as error:
                self.get_logger().error(f"the view lacks a frame: {sentence(error)}", throttle_duration_sec=5.0)

    def _start_again(self, why: str) -> None:
        self.get_logger().warning(f"the viewer's server {why}: starting it again; reload the page in the browser")
        try:
            self._server.start()
            self._scene.connect(self._server.url)
        except ValueError as error:
            self.get_logger().error(str(error))
            self._ending.wait(_PATIENCE)

    def _show(self, topic: str, raw: bytes) -> None:
        """Log a message; one that cannot be read is named and left out."""
        try:
            _SHOWN[topic](self, raw)
        except ValueError as error:
            self.get_logger().warning(f"{topic}: {sentence(error)}", throttle_duration_sec=5.0)

    def _show_image(self, raw: bytes) -> None:
        kind, convert = (
            (Image, image_to_rgb) if self._chosen.image_transport == "raw" else (CompressedImage, compressed_to_rgb)
        )
        message = deserialize_message(raw, kind)
        self._camera_frame = message.header.frame_id
        self._scene.image(IMAGE, convert(message))

    def _show_depth(self, raw: bytes) -> None:
        self._scene.depth(DEPTH, image_to_depth(deserialize_message(raw, Image)))

    def _show_truth(self, raw: bytes) -> None:
        self._has.add(TRUTH)
        self._scene.depth(TRUTH, image_to_depth(deserialize_message(raw, Image)))

    def _show_cloud(self, raw: bytes) -> None:
        message = deserialize_message(raw, PointCloud2)
        self._scene.points("cloud", *_with_frame(message_to_cloud(message), message))

    def _show_scan(self, raw: bytes) -> None:
        message = deserialize_message(raw, LaserScan)
        self._scene.points("scan", _scan_points(message), message.header.frame_id, _SCAN_COLOUR, 0.04)

    def _show_scale(self, raw: bytes) -> None:
        self._has.add(SCALE)
        vector = deserialize_message(raw, Vector3Stamped).vector
        self._scene.curves(SCALE, {"scale": vector.x, "confidence": vector.z})

    def _show_latency(self, raw: bytes) -> None:
        message = deserialize_message(raw, Float32MultiArray)
        names = message.layout.dim[0].label.split(",") if message.layout.dim else []
        if len(names) != len(message.data):
            raise ValueError("its layout does not name its values, as depth_estimation_node does")
        milliseconds = dict(zip(names, map(float, message.data), strict=True))
        self._scene.curves(LATENCY, {name: milliseconds[name] for name in _CURVES if name in milliseconds})

    def _show_anchor_points(self, raw: bytes) -> None:
        message = deserialize_message(raw, PointCloud2)
        self._scene.points("anchor", message_to_points(message), message.header.frame_id, _ANCHOR_COLOUR, 0.05)

    def _show_anchor_scan(self, raw: bytes) -> None:
        message = deserialize_message(raw, LaserScan)
        self._scene.points("anchor", _scan_points(message), message.header.frame_id, _ANCHOR_COLOUR, 0.05)

    def _show_anchor_range(self, raw: bytes) -> None:
        message = deserialize_message(raw, Range)
        # Along x of its frame. One that is infinite or outside the limits is no measurement (REP 117).
        point = scan_points(np.array([message.range]), 0.0, 0.0, message.min_range, message.max_range)
        self._scene.points("anchor", point.astype(np.float32), message.header.frame_id, _ANCHOR_COLOUR, 0.05)

    def _show_transforms(self) -> None:
        if self._pose is not None and self._camera_frame:
            self._scene.transform(self._chosen.mounting.base_frame, self._camera_frame, self._pose)
        while self._transforms:
            child, stamped = self._transforms.popitem()
            if self._pose is not None and child == self._camera_frame:
                continue  # the parameters are used in its place, as in the depth node
            t, r = stamped.transform.translation, stamped.transform.rotation
            try:
                pose = pose_from_transform((t.x, t.y, t.z), (r.x, r.y, r.z, r.w))
            except ValueError:  # such as a rotation of zeros
                continue
            self._scene.transform(stamped.header.frame_id, child, pose)
            self._has.add("tf")

    def _arrange(self) -> None:
        """Arrange the views when there is something new to show."""
        upright = self._pose is not None or "tf" in self._has
        frame = self._chosen.mounting.base_frame if upright else self._camera_frame
        wanted = frozenset(self._has), frame, upright
        if frame and wanted != self._arranged:
            self._arranged = wanted
            self._scene.show(live_layout(*wanted))


_FRAME_TOPICS = {DEPTH_TOPIC: Image, POINTS: PointCloud2, SCAN: LaserScan, TRUTH_TOPIC: Image}
_LATEST_TOPICS = {SCALE_TOPIC: Vector3Stamped, LATENCY_TOPIC: Float32MultiArray, **ANCHORS}
_SHOWN: dict[str, Callable[[ViewDepth, bytes], None]] = {
    IMAGE_TOPIC: ViewDepth._show_image,
    DEPTH_TOPIC: ViewDepth._show_depth,
    TRUTH_TOPIC: ViewDepth._show_truth,
    POINTS: ViewDepth._show_cloud,
    SCAN: ViewDepth._show_scan,
    SCALE_TOPIC: ViewDepth._show_scale,
    LATENCY_TOPIC: ViewDepth._show_latency,
    "anchor/points": ViewDepth._show_anchor_points,
    "anchor/scan": ViewDepth._show_anchor_scan,
    "anchor/range": ViewDepth._show_anchor_range,
}


def _with_frame(cloud: tuple[np.ndarray, np.ndarray], message: PointCloud2) -> tuple[np.ndarray, str, np.ndarray]:
    xyz, rgb = cloud
    return xyz, message.header.frame_id, rgb


def _scan_points(message: LaserScan) -> np.ndarray:
    """Return the points of a scan, float32 [n, 3] metres."""
    m = message
    points = scan_points(m.ranges, m.angle_min, m.angle_increment, m.range_min, m.range_max)
    return points.astype(np.float32)


def main(args: list[str] | None = None) -> int:
    """
    Run the node until SIGINT, SIGTERM or SIGHUP.

    Returns
    -------
    int
        Exit code: 0, or 1 after a user error, which is printed in one line on stderr.
    """
    given = sys.argv[1:] if args is None else args
    try:
        return run_program("view_depth", _run, _as_parameter(given), "save:=view.rrd", "[--save FILE] ")
    except ValueError as error:
        print(f"view_depth: {error}", file=sys.stderr)
        return 1


def _as_parameter(args: list[str]) -> list[str]:
    """Return the arguments with ``--save FILE`` as the parameter of this name."""
    if "--save" not in args:
        return args
    at = args.index("--save")
    if at + 1 >= len(args) or args[at + 1].startswith("--"):
        raise ValueError("--save needs the name of a file, such as view.rrd")
    return [*args[:at], *args[at + 2 :], "--ros-args", "-p", f"save:={json.dumps(args[at + 1])}"]


def _run(stopping: threading.Event) -> int:
    node = None
    try:
        node = ViewDepth()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stopping.is_set():
            executor.spin_once(timeout_sec=0.1)
        return 0
    except START_ERRORS as error:
        rclpy.logging.get_logger("view_depth").fatal(sentence(error))
        return 1
    finally:
        if node is not None:
            node.destroy_node()
