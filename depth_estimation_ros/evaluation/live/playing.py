"""Playback of a recording through the running node in real time, as on a robot, including latency and lost frames."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rich.progress import Progress
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from depth_estimation_ros.conversions import image_to_depth
from depth_estimation_ros.evaluation.live.player import PLAYED
from depth_estimation_ros.launching.environment import keep_to_this_machine
from depth_estimation_ros.processes.children import last_line, start_node, stop
from depth_estimation_ros.runtime.by_stamp import nanoseconds

START_SECONDS = 120.0
"""Maximum time to load a model."""

_SETTLE_SECONDS = 2.5  # time for two diagnostics messages of the node, which sends one each second
_WAIT_SECONDS = 15.0


class LiveError(RuntimeError):
    """Player or node has failed; the message is the reason."""


@dataclass
class Played:
    """
    Results of a recording that was played through the node.

    Parameters
    ----------
    file : binary file
        File for the depth images, so that memory use does not grow with the recording.
    published, received : dict
        Times when each image was published and when its depth was received, by stamp of the image; nanoseconds.
    places : dict
        Offset of the depth in the file, height and width, by stamp of the image.
    counts : dict
        Frame counts of the node: ``received``, ``published``, ``superseded``, ``failed``.
    inference_ms : dict
        Percentiles over the last frames of the node: ``p50``, ``p95``.
    engine, model_sha256 : str
        Name of the node's engine, and sha256 of its model.
    """

    file: BinaryIO
    published: dict[int, int] = field(default_factory=dict)
    received: dict[int, int] = field(default_factory=dict)
    places: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    inference_ms: dict[str, float] = field(default_factory=dict)
    engine: str = ""
    model_sha256: str = ""

    @property
    def seconds(self) -> float:
        """Seconds from the first image to the last depth."""
        return (max(self.received.values()) - min(self.published.values())) * 1e-9 if self.received else 0.0

    def latency_ms(self, stamp: int) -> float | None:
        """Return the time from the publication of an image to the receipt of its depth; None if unknown."""
        if stamp not in self.published or stamp not in self.received:
            return None
        return (self.received[stamp] - self.published[stamp]) * 1e-6

    def depth(self, stamp: int) -> np.ndarray | None:
        """Return the depth of an image, float32 [h, w] metres, NaN invalid; None if none was received."""
        if stamp not in self.places:
            return None
        offset, height, width = self.places[stamp]
        self.file.seek(offset)
        return np.frombuffer(self.file.read(4 * height * width), np.float32).reshape(height, width)


class Listener(Node):
    """Node that subscribes to player and depth node; its callbacks only store times and depth, so they are fast."""

    def __init__(self, played: Played):
        super().__init__("evaluate_bag")
        self._played = played
        qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        # rclpy of ROS 2 Humble does not pass message info to callbacks.
        timed = hasattr(Subscription, "CallbackType")
        self.create_subscription(Header, PLAYED, self._on_played if timed else self._on_played_now, qos)
        self.create_subscription(Image, "depth/image", self._on_depth if timed else self._on_depth_now, qos)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _on_played(self, header: Header, info: dict) -> None:
        self._played.published[nanoseconds(header.stamp)] = info["source_timestamp"]

    def _on_played_now(self, header: Header) -> None:
        self._on_played(header, {"source_timestamp": time.time_ns()})

    def _on_depth(self, message: Image, info: dict) -> None:
        stamp, depth, file = nanoseconds(message.header.stamp), image_to_depth(message), self._played.file
        self._played.received[stamp] = info["received_timestamp"]
        self._played.places[stamp] = (file.seek(0, os.SEEK_END), *depth.shape)
        file.write(depth.tobytes())

    def _on_depth_now(self, message: Image) -> None:
        self._on_depth(message, {"received_timestamp": time.time_ns()})

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if values.get("state") == "active":
                names = ("received", "published", "superseded", "failed")
                self._played.counts = {name: int(values[name]) for name in names}
                self._played.engine, self._played.model_sha256 = values["backend"], values["model_sha256"]
                times = {p: values.get(f"inference_ms_{p}") for p in ("p50", "p95")}
                self._played.inference_ms = {p: float(ms) for p, ms in times.items() if ms}


@contextmanager
def play(
    camera: dict[str, str],
    node: dict[str, object],
    images: int,
    speed: float,
    interrupted: Callable[[], bool],
    progress: Progress,
    title: str,
):
    """
    Play a bag through ``depth_estimation_node`` and yield the results.

    Player and node run as separate processes in their own ROS domain; this process subscribes to them.

    Parameters
    ----------
    camera : dict
        Parameters of `player`: ``bag``, and its topics ``image`` and ``camera_info``.
    node : dict
        Parameters of ``depth_estimation_node``: ``model``, ``backend`` and so on.
    images : int
        Number of images in the bag.
    speed : float
        Playback speed as a factor of the recorded rate.
    interrupted : callable
        Returns whether to stop early.
    progress : rich.progress.Progress
        Progress display.
    title : str
        Description in the progress display.

    Yields
    ------
    Played
        Results, valid within the ``with`` block.

    Raises
    ------
    LiveError
        If the player or the node cannot start or exits early.
    """
    keep_to_this_machine()
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "depth", "w+b") as file:
        played = Played(file)
        stage = _Stage(Path(folder), interrupted)
        # Signals are handled by the command.
        rclpy.init(args=[], signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
        try:
            stage.play(played, camera, node, images, speed, progress, title)
        finally:
            stage.clear()
            rclpy.shutdown()
        yield played


class _Stage:
    """Processes of one playback."""

    def __init__(self, folder: Path, interrupted: Callable[[], bool]):
        self._folder, self._interrupted = folder, interrupted
        self._processes: dict[str, subprocess.Popen] = {}
        self._listener: Listener | None = None

    def play(
        self, played: Played, camera: dict, node: dict, images: int, speed: float, progress: Progress, title: str
    ) -> None:
        # As in the offline evaluation, depth has the network's size and is not clamped.
        limits = {"min_depth": 0.0, "max_depth": 1000.0, "depth_resolution": "network"}
        self._listener = listener = Listener(played)
        self._start("node", "depth_estimation_ros.nodes.depth_estimation", {**node, **limits})
        ready = lambda: played.counts and listener.count_publishers("depth/image")  # noqa: E731
        self._spin(ready, START_SECONDS, "the node's start")
        if self._interrupted():
            return
        self._start("camera", "depth_estimation_ros.evaluation.live.player", {**camera, "speed": float(speed)})
        task = progress.add_task(title, total=images)
        process = self._processes["camera"]
        while process.poll() is None and not self._interrupted():
            # Ctrl-C in a terminal also stops the node and the player.
            self._check("node")
            rclpy.spin_once(listener, timeout_sec=0.1)
            progress.update(task, completed=len(played.published))
        if not self._interrupted():
            self._check("camera")
        stop(process)
        ended = time.monotonic()

        def settled() -> bool:
            c = played.counts
            return time.monotonic() > ended + _SETTLE_SECONDS and (
                c["received"] == c["published"] + c["superseded"] + c["failed"]
            )

        self._spin(settled, _WAIT_SECONDS, "the node's last count")

    def clear(self) -> None:
        for process in self._processes.values():
            stop(process)
        if self._listener is not None:
            self._listener.destroy_node()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _start(self, name: str, module: str, parameters: dict) -> None:
        with open(self._log(name), "wb") as log:
            self._processes[name] = start_node(module, parameters, log)

    def _spin(self, until: Callable[[], bool], limit: float, what: str) -> None:
        deadline = time.monotonic() + limit
        while not until() and not self._interrupted():
            for name in self._processes:
                self._check(name)
            if time.monotonic() > deadline:
                raise LiveError(
                    f"waited {limit:.0f} s for {what}; the last line of the node's log: {last_line(self._log('node'))}"
                )
            rclpy.spin_once(self._listener, timeout_sec=0.1)

    def _check(self, name: str) -> None:
        if self._processes[name].poll():
            raise LiveError(f"the {name} failed: {last_line(self._log(name))}")
