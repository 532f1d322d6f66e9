"""
The node under a flood: mutated messages on all its topics, 200 a second, for minutes.

It has to stay alive, keep its memory, count every image, say so truly in its diagnostics, and give depth for a good
image afterwards. ``make flood`` says how it was, and ends with 1 if something was wrong; the same seed sends the same
messages.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from depth_client import MODULE, RELIABLE, DepthClient
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from ros_processes import output, ros_context, running_node, stop
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan
from strategies import COLOUR_LAYOUTS, camera_infos, compressed_images, images, mutated, references, transforms

from depth_estimation_ros.bench.usage import Usage
from depth_estimation_ros.pipeline.anchoring import REFERENCE_TYPES

PHASES = (("raw", "scan"), ("compressed", "points"), ("raw", "range"))
"""How images come, and what depth is anchored to: one node has not all its topics at once."""

SIZES = ((64, 48), (64, 48), (320, 240), (640, 480))
PENDING = 2  # frames that may wait or be in work
MEMORY_LIMIT_MB = 20.0
MEMORY_SECONDS = 120.0  # before that, memory is still being filled
LOG_LINES_A_SECOND = 5.0


@dataclass
class Report:
    """What a flood came to; `wrong` is empty if all was as promised."""

    sent: Counter = field(default_factory=Counter)
    figures: dict = field(default_factory=dict)
    reports: int = 0
    levels: Counter = field(default_factory=Counter)
    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    log: str = ""
    wrong: list[str] = field(default_factory=list)

    def __str__(self):
        counts = ", ".join(f"{self.figures.get(name, '0')} {name}" for name in ("received", "published", "superseded"))
        failures = ", ".join(f"{v} {k}" for k, v in self.figures.items() if k.startswith("failed: "))
        megabytes = [mb for _, mb in self.memory_mb]
        lines = [
            f"sent: {self.sent.total()} messages ({', '.join(f'{n} {topic}' for topic, n in self.sent.items())})",
            f"images: {counts}; {failures or 'none failed'}",
            f"diagnostics: {self.reports} ({', '.join(f'{n} {name}' for name, n in self.levels.items())})",
            f"memory: {megabytes[0]:.0f} MB at first, {max(megabytes):.0f} at most, {megabytes[-1]:.0f} at last",
            f"log: {len(self.log.splitlines())} lines",
        ]
        return "\n".join(lines + [f"WRONG: {sentence}" for sentence in self.wrong])


class Flood:
    """
    Sends what a seed gives.

    Parameters
    ----------
    client : DepthClient
        Of a node that is active, with ``image_reliability`` reliable and ``queue_depth`` 100.
    number : int
        The seed.
    messages : int
        How many different ones there are of each kind.
    """

    def __init__(self, client: DepthClient, number: int, messages: int = 60):
        self.client, self.report, self._random = client, Report(), random.Random(number)
        self._before, self._level = {}, None
        by_size = {size: st.just(size) for size in set(SIZES)}
        self._images = {
            "raw": {s: pool(mutated(images(size, COLOUR_LAYOUTS), 1), messages, number) for s, size in by_size.items()},
            "compressed": {
                s: pool(mutated(compressed_images(size), 1), messages, number) for s, size in by_size.items()
            },
        }
        self._infos = {s: pool(mutated(camera_infos(size), 1), messages, number) for s, size in by_size.items()}
        self._references = {kind: pool(mutated(good), messages, number) for kind, good in references.items()}
        self._references["scan"].append(unreadable_scan())
        self._transforms = pool(mutated(transforms()), messages, number)
        node, name = client.node, client.namespace
        deep = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        self._publishers = {
            "image": node.create_publisher(Image, f"{name}/image", deep),
            "image/compressed": node.create_publisher(CompressedImage, f"{name}/image/compressed", deep),
            "camera_info": node.create_publisher(CameraInfo, f"{name}/camera_info", deep),
        }
        for kind, message_type in REFERENCE_TYPES.items():
            topic = f"anchor/{kind}"
            self._publishers[topic] = node.create_publisher(message_type, f"{name}/{topic}", deep)
        with suppress(ImportError):  # comes with a ROS installation; without it, the node does not listen to TF
            from tf2_msgs.msg import TFMessage

            self._tf_message = TFMessage
            latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._publishers["/tf"] = node.create_publisher(TFMessage, "/tf", deep)
            self._publishers["/tf_static"] = node.create_publisher(TFMessage, "/tf_static", latched)
        self._diagnostics = node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def run(self, seconds: float, rate: float) -> Report:
        """Send for so long at so many messages a second, a third of the time in each of `PHASES`."""
        start = time.monotonic()
        for transport, anchor in PHASES:
            self._enter(transport, anchor)
            self._pour(seconds / len(PHASES), rate, transport, anchor, start)
        self._enter("raw", "none")
        self.client.subscribe("depth/image")
        self.client.send_until_published()
        self.report.figures = self.client.settled()
        self._judge(seconds)
        return self.report

    def _enter(self, transport: str, anchor: str) -> None:
        client = self.client
        assert client.change_state("deactivate"), client.figures
        changed = client.set(image_transport=transport, anchor=anchor)
        assert changed.successful, changed.reason
        assert client.change_state("activate"), client.figures
        topic = "image/compressed" if transport == "compressed" else "image"
        client.wait(lambda: self._publishers[topic].get_subscription_count())

    def _pour(self, seconds: float, rate: float, transport: str, anchor: str, start: float) -> None:
        client, sent = self.client, 0
        client.subscribe(qos=QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        client.wait(lambda: all(s.get_publisher_count() for s in client.subscriptions.values()))
        before, topic = client.settled(), "image/compressed" if transport == "compressed" else "image"
        at_first, begin, looked = self.report.sent[topic], time.monotonic(), 0.0

        def poured() -> bool:
            nonlocal sent, looked
            now = time.monotonic()
            for messages in client.got.values():
                messages.clear()
            while sent < rate * min(now - begin, seconds):
                sent += self._send(transport, anchor)
            if now - looked > 2.0:
                looked = now
                self.report.memory_mb.append((now - start, Usage.of(client.process.pid).resident_mb))
            return now - begin > seconds

        client.wait(poured, timeout=seconds + 60.0)
        after = client.settled()
        client.unsubscribe()
        came = sum(int(after[k]) - int(before.get(k, 0)) for k in ("received", "idle"))
        gone = self.report.sent[topic] - at_first
        if came != gone:
            self.report.wrong.append(f"{gone} images were sent on {topic}, {came} are counted")

    def _send(self, transport: str, anchor: str) -> int:
        """Send an image with its camera_info, a reference and a transform; returns how many messages that were."""
        choice = self._random.choice
        size = choice(SIZES)
        of_info = size if self._random.random() < 0.9 else choice(SIZES)
        stamp = self.client.node.get_clock().now().to_msg()
        outgoing = [
            ("camera_info", choice(self._infos[of_info])),
            ("image/compressed" if transport == "compressed" else "image", choice(self._images[transport][size])),
            (f"anchor/{anchor}", choice(self._references[anchor])),
        ]
        if "/tf" in self._publishers:
            topic = choice(("/tf", "/tf", "/tf", "/tf_static"))
            outgoing.append((topic, self._tf_message(transforms=[choice(self._transforms)])))
        for topic, message in outgoing:
            self.report.sent[topic] += 1
            if isinstance(message, bytes):
                self._publishers[topic].publish(message)
                continue
            header = message.transforms[0].header if topic.startswith("/tf") else message.header
            kept = header.stamp
            if kept.sec == 100:  # the one of the strategies, which is not changed
                header.stamp = stamp
            self._publishers[topic].publish(message)
            header.stamp = kept
        return len(outgoing)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Hold what the node says of itself against what it said before."""
        status = message.status[0]
        figures = {entry.key: entry.value for entry in status.values}
        report, before, wrong = self.report, self._before, self.report.wrong
        report.reports += 1
        report.levels[_LEVELS[status.level]] += 1
        self._before = figures
        counts = {k: int(figures[k]) for k in ("received", "published", "superseded", "failed", "pending", "idle")}
        reasons = {k: int(v) for k, v in figures.items() if k.startswith("failed: ")}
        if len(status.message.splitlines()) != 1 or not status.message.isprintable():
            wrong.append(f"the message of the diagnostics is no line: {status.message!r}")
        if counts["received"] != sum(counts[k] for k in ("published", "superseded", "failed", "pending")):
            wrong.append(f"the counts do not add up: {counts}")
        if not 0 <= counts["pending"] <= PENDING:
            wrong.append(f"{counts['pending']} frames are pending")
        if sum(reasons.values()) != counts["failed"]:
            wrong.append(f"{counts['failed']} failed, but the reasons are {reasons}")
        if "failed: internal error" in reasons:
            wrong.append(f"a fault of the program: {reasons}")
        fell = [k for k in counts if k != "pending" and before and counts[k] < int(before[k])]
        if fell:
            wrong.append(f"counts fell: {', '.join(fell)}")
        if before:
            failed, published = (counts[k] - int(before[k]) for k in ("failed", "published"))
            expected = DiagnosticStatus.ERROR if not published else DiagnosticStatus.WARN
            if failed and status.level != expected:
                wrong.append(f"{failed} frames failed and {published} were published: {_LEVELS[status.level]}")

    def _judge(self, seconds: float) -> None:
        report = self.report
        report.log = printed = output(self.client.process)
        lines = len(printed.splitlines())
        if "Traceback" in printed:
            report.wrong.append("a traceback: " + printed[printed.index("Traceback") :][:2000])
        if lines > 100 + LOG_LINES_A_SECOND * seconds:
            report.wrong.append(f"the log has {lines} lines, which nobody reads")
        if seconds >= MEMORY_SECONDS:
            end = report.memory_mb[-1][0]
            middle = median(mb for at, mb in report.memory_mb if end / 3 < at <= 2 * end / 3)
            last = median(mb for at, mb in report.memory_mb if at > 2 * end / 3)
            if last - middle > MEMORY_LIMIT_MB:
                report.wrong.append(f"memory grew by {last - middle:.0f} MB from the middle third to the last")


_LEVELS = {DiagnosticStatus.OK: "OK", DiagnosticStatus.WARN: "WARN", DiagnosticStatus.ERROR: "ERROR"}


def pool(strategy: st.SearchStrategy, count: int, number: int) -> list:
    """Return so many of what a strategy gives with a seed."""
    found = []

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(message):
        found.append(message)

    collect()
    return found


def unreadable_scan() -> bytes:
    """Return a scan as it goes over the wire whose range_max is the largest float, which rclpy's checks refuse."""
    scan = LaserScan(range_max=12345.0)
    return serialize_message(scan).replace(struct.pack("<f", 12345.0), struct.pack("<f", np.finfo("f4").max))


def flood(seconds: float, rate: float, number: int) -> Report:
    """Start a node, flood it, and end it; returns how that went."""
    parameters = {"image_reliability": "reliable", "queue_depth": 100, "camera_height": 0.5, "preview_rate": 0.0}
    with ros_context() as node, running_node(MODULE, parameters=parameters) as process:
        client = DepthClient(node, process, qos=RELIABLE)
        client.wait(lambda: client.figures.get("state") == "active")
        report = Flood(client, number).run(seconds, rate)
        if code := stop(process):
            report.wrong.append(f"the node ended with {code}")
        return report


def main() -> int:
    """Run the command line; returns 1 if something was wrong."""
    parser = argparse.ArgumentParser(description="Flood a depth node with mutated messages.")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default %(default)g)")
    parser.add_argument("--rate", type=float, default=200.0, help="messages a second (default %(default)g)")
    parser.add_argument("--seed", type=int, default=None, help="of the messages (default: another each time)")
    options = parser.parse_args()
    number = random.randrange(1_000_000) if options.seed is None else options.seed
    print(f"flood of {options.seconds:g} s with seed {number}", flush=True)
    report = flood(options.seconds, options.rate, number)
    print(report)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
