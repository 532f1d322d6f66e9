"""Recorder of camera and node: records their messages, and measures rates, latency and accuracy."""

from __future__ import annotations

import queue
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2

from depth_estimation_ros.conversions import camera_from_info, image_to_depth
from depth_estimation_ros.demo.scan_accuracy import RoomScan, pose_of
from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.evaluation.metrics import DepthMetrics
from depth_estimation_ros.processes.client import Client
from depth_estimation_ros.support.serialized import header_stamp

CAMERA_TOPICS = {
    "image": Image,
    "camera_info": CameraInfo,
    "ground_truth/pose": PoseStamped,
    "ground_truth/points": PointCloud2,
}
# Measured but not recorded: it would double the size of the bag, which has the ground truth points.
MEASURED_TOPICS = {"ground_truth/depth": Image}
NODE_TOPICS = {
    "depth/image": Image,
    "depth/camera_info": CameraInfo,
    "depth/points": PointCloud2,
    "depth/preview": Image,
}
SCAN_TOPICS = {"depth/scan": LaserScan}  # if the node knows how its camera is mounted
# Topics of the picture's frame; ground truth is added if there is any.
PICTURED = ("image", "depth/image", "depth/points")
# Topics of the comparison of the scan with the room.
SCANNED = ("depth/scan", "ground_truth/pose", "camera_info")
STAMPED = (*PICTURED, *SCANNED, "ground_truth/depth")
# Every fourth pixel of every fourth row is enough for a mean, at a sixteenth of the cost.
STRIDE = 4
# Maximum number of compared scans: ray casting of one scan takes 0.05 s.
MOST_SCANS = 32


@dataclass
class TopicStatistics:
    """Message count of a topic, and times of its first and last message (seconds)."""

    type: str
    count: int = 0
    first: float = 0.0
    last: float = 0.0

    @property
    def rate_hz(self) -> float:
        """Mean rate between the first and the last message, Hz."""
        return (self.count - 1) / (self.last - self.first) if self.count > 1 else 0.0


@dataclass
class Frame:
    """Serialised messages with the same stamp, by topic."""

    messages: dict[str, bytes] = field(default_factory=dict)
    measured: bool = False

    def has(self, *topics: str) -> bool:
        """Return whether all these topics have been received."""
        return all(topic in self.messages for topic in topics)

    def room_scan(self) -> RoomScan:
        """Return the scan with the camera's pose and intrinsics."""
        return RoomScan(
            deserialize_message(self.messages["depth/scan"], LaserScan),
            pose_of(deserialize_message(self.messages["ground_truth/pose"], PoseStamped)),
            camera_from_info(deserialize_message(self.messages["camera_info"], CameraInfo)),
        )


class Recorder(Client):
    """
    Node that subscribes to camera and node and records their messages to a bag, which can be replayed and evaluated.

    Callbacks only take the time and queue the serialised message; a thread writes and measures.

    Parameters
    ----------
    bag : pathlib.Path
        Folder of the mcap bag; must not exist.
    scan : bool
        Also subscribe to the scan. A node that does not know the camera's pose publishes none.

    Attributes
    ----------
    topics : dict of str to TopicStatistics
        Statistics of the received topics.
    pictured : Frame or None
        Frame for the picture.
    scans : list of RoomScan
        Scans with a known camera pose in the room, at most `MOST_SCANS`, evenly spread over time.
    """

    def __init__(self, bag: Path, scan: bool = False):
        super().__init__("demo_recorder")
        self.topics: dict[str, TopicStatistics] = {}
        self.latencies: list[float] = []
        self.metrics = DepthMetrics()
        self.has_truth = False
        self.pictured: Frame | None = None
        self.scans: list[RoomScan] = []
        self._scanned, self._every = 0, 1
        self.picture_until = float("inf")
        self._frames: OrderedDict[int, Frame] = OrderedDict()
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        typestore = get_typestore(Stores.ROS2_JAZZY)
        self._writer = Writer(bag, version=8, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        recorded = {**CAMERA_TOPICS, **NODE_TOPICS, **(SCAN_TOPICS if scan else {})}
        self._connections = {
            topic: self._writer.add_connection(self.resolve_topic_name(topic), _type_name(kind), typestore=typestore)
            for topic, kind in recorded.items()
        }
        # A best-effort subscription matches both reliable and best-effort publishers.
        qos = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._kinds = {**recorded, **MEASURED_TOPICS}
        for topic, kind in self._kinds.items():
            self.topics[topic] = TopicStatistics(_type_name(kind))
            self.create_subscription(kind, topic, self._callback(topic), qos, raw=True)
        self._thread = threading.Thread(target=self._work, name="recorder")
        self._thread.start()

    def close(self) -> None:
        """Write the queued messages and close the bag."""
        self._queue.put(None)
        self._thread.join()
        self._writer.close()

    def _callback(self, topic: str):
        return lambda raw: self._queue.put((topic, time.time_ns(), raw))

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            self._take(*item)

    def _take(self, topic: str, received: int, raw: bytes) -> None:
        statistics = self.topics[topic]
        statistics.count += 1
        statistics.last = received * 1e-9
        statistics.first = statistics.first or statistics.last
        if topic in self._connections:
            self._writer.write(self._connections[topic], received, raw)
        if topic in STAMPED:
            stamp = header_stamp(raw)
            if topic == "depth/image":
                self.latencies.append((received - stamp) * 1e-6)
            self._match(topic, stamp, raw)

    def _match(self, topic: str, stamp: int, raw: bytes) -> None:
        self.has_truth |= topic == "ground_truth/depth"
        frame = self._frames.setdefault(stamp, Frame())
        frame.messages[topic] = raw
        while len(self._frames) > 60:
            self._frames.popitem(last=False)
        if not frame.measured and frame.has("depth/image", "ground_truth/depth"):
            frame.measured = True
            self._measure(frame)
        if topic in SCANNED and frame.has(*SCANNED):
            self._keep(frame)
        wanted: tuple[str, ...] = (*PICTURED, "ground_truth/depth") if self.has_truth else PICTURED
        wanted += ("depth/scan",) if "depth/scan" in self._kinds else ()
        if frame.has(*wanted) and (self.pictured is None or time.monotonic() < self.picture_until):
            self.pictured = frame

    def _keep(self, frame: Frame) -> None:
        if self._scanned % self._every == 0:
            self.scans.append(frame.room_scan())
        self._scanned += 1
        if len(self.scans) > MOST_SCANS:
            del self.scans[1::2]
            self._every *= 2

    def _measure(self, frame: Frame) -> None:
        truth = image_to_depth(deserialize_message(frame.messages["ground_truth/depth"], Image))
        depth = image_to_depth(deserialize_message(frame.messages["depth/image"], Image))
        depth = DepthMap(depth).resized(truth.shape[1], truth.shape[0]).depth
        depth, truth = depth[::STRIDE, ::STRIDE], truth[::STRIDE, ::STRIDE]
        estimated = np.isfinite(depth)
        if (estimated & (truth > 0)).any():
            self.metrics.add(depth, truth, estimated)


def _type_name(kind: type) -> str:
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
