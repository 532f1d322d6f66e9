"""Node that listens to a depth node for hours: counts, latencies and diagnostics."""

from __future__ import annotations

import time
from collections import Counter

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, LaserScan, PointCloud2

from depth_estimation_ros.processes.client import Client
from depth_estimation_ros.support.serialized import header_stamp

TOPICS = {"depth/image": Image, "depth/points": PointCloud2, "depth/scan": LaserScan}


class Listener(Client):
    """
    Subscriber to serialised depth, cloud and scan, which costs almost no CPU time.

    Attributes
    ----------
    counts : collections.Counter
        Number of messages by topic, since the start.
    latencies : list of float
        Latencies from an image's stamp to the receipt of its depth, milliseconds, since the last `take_latencies`.
    disorder : int
        Number of depth images whose stamp is not later than the previous one.
    """

    def __init__(self):
        super().__init__("soak_listener")
        self.counts: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.disorder = 0
        self._newest = 0
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        for topic, kind in TOPICS.items():
            self.create_subscription(kind, topic, self._callback(topic), qos, raw=True)

    def take_latencies(self) -> list[float]:
        """Return the latencies since the last call."""
        taken, self.latencies = self.latencies, []
        return taken

    def _callback(self, topic: str):
        def count(raw: bytes) -> None:
            self.counts[topic] += 1
            if topic == "depth/image":
                self._measure(raw)

        return count

    def _measure(self, raw: bytes) -> None:
        stamp = header_stamp(raw)
        self.disorder += stamp <= self._newest
        self._newest = stamp
        self.latencies.append(1e-6 * (time.time_ns() - stamp))
