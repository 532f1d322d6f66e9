"""Playback of a recording through the running node in real time, as on a robot, including latency and lost frames."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rich.progress import Progress
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from depth_estimation_ros.conversions import image_to_depth
from depth_estimation_ros.evaluation.live.player import PLAYED
from depth_estimation_ros.processes.client import Client
from depth_estimation_ros.processes.stage import DEPTH_NODE, Stage, StageError
from depth_estimation_ros.runtime.by_stamp import nanoseconds

START_SECONDS = 120.0
"""Maximum time to load a model."""

_WAIT_SECONDS = 15.0


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

    def note(self, diagnostics: dict[str, str], counts: dict[str, int]) -> None:
        """Take counts, times and names from the node's diagnostics, if there are any."""
        times = {p: diagnostics.get(f"inference_ms_{p}") for p in ("p50", "p95")}
        self.counts, self.inference_ms = counts, {p: float(ms) for p, ms in times.items() if ms}
        self.engine, self.model_sha256 = diagnostics.get("backend", ""), diagnostics.get("model_sha256", "")

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


class Listener(Client):
    """Node that subscribes to player and depth node; its callbacks only store times and depth, so they are fast."""

    def __init__(self, played: Played):
        super().__init__("evaluate_bag")
        self._played = played
        qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        # rclpy of ROS 2 Humble does not pass message info to callbacks.
        timed = hasattr(Subscription, "CallbackType")
        on_played: Callable[..., None] = self._on_played if timed else self._on_played_now
        on_depth: Callable[..., None] = self._on_depth if timed else self._on_depth_now
        self.create_subscription(Header, PLAYED, on_played, qos)
        self.create_subscription(Image, "depth/image", on_depth, qos)

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
    StageError
        If the player or the node cannot start or exits early.
    """
    # As in the offline evaluation, depth has the network's size and is not clamped.
    limits = {"min_depth": 0.0, "max_depth": 1000.0, "depth_resolution": "network"}
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "depth", "w+b") as file:
        played = Played(file)
        with Stage(Path(folder), lambda: Listener(played)) as stage:

            def wait(seconds: float, condition: Callable[[], bool], what: str) -> None:
                if not stage.spin(seconds, lambda: interrupted() or condition()):
                    raise StageError(
                        f"waited {seconds:.0f} s for {what}; the last line of the node's log: {stage.last_line('node')}"
                    )

            stage.start("node", DEPTH_NODE, {**node, **limits})
            listener = stage.client
            ready = lambda: bool(listener.diagnostics) and listener.count_publishers("depth/image") > 0  # noqa: E731
            wait(START_SECONDS, ready, "the node's start")
            if not interrupted():
                parameters = {**camera, "speed": float(speed)}
                stage.start("camera", "depth_estimation_ros.evaluation.live.player", parameters, may_end=True)
                task = progress.add_task(title, total=images)
                while stage.is_running("camera") and not interrupted():
                    stage.spin(0.1, interrupted)
                    progress.update(task, completed=len(played.published))
                stage.stop("camera")
                wait(_WAIT_SECONDS, stage.settling(), "the node's last count")
            played.note(listener.diagnostics, listener.frame_counts)
        yield played
