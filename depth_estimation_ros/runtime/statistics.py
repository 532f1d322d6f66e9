"""Frame counts and processing times."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

WINDOW = 300
"""Number of frames used for the percentiles."""

RATE_SECONDS = 5.0
"""Seconds over which the rate is measured."""


@dataclass(frozen=True)
class Snapshot:
    """
    Frame counts and times at one moment.

    ``received == published + superseded + failed + pending`` holds for every snapshot.

    Parameters
    ----------
    received : int
        Frames received while an output had a subscriber.
    published : int
        Frames with at least one published output.
    superseded : int
        Frames skipped because a newer one arrived first, because of ``max_rate``, because they were out of order, or
        because the node was deactivated.
    failures : mapping of str to int
        Number of frames without any published output, by reason.
    lacking : mapping of str to int
        Number of published frames that lack a wanted output, by reason.
    pending : int
        Frames that wait or are being processed.
    idle : int
        Frames received while no output had a subscriber; not counted in `received`.
    rate_hz : float
        Frames published per second over the last `RATE_SECONDS`.
    milliseconds : mapping of str to (float, float)
        50th and 95th percentile of each stage and of ``latency`` (from image stamp to publication).
    """

    received: int
    published: int
    superseded: int
    failures: Mapping[str, int]
    pending: int
    idle: int
    rate_hz: float
    milliseconds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    lacking: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Number of frames without any published output."""
        return sum(self.failures.values())

    def __str__(self):
        text = (
            f"{self.received} frames received = {self.published} published + {self.superseded} superseded "
            f"+ {self.failed} failed"
        )
        if self.pending:
            text += f" + {self.pending} pending"
        if self.idle:
            text += f"; {self.idle} more came while nobody subscribed"
        for name in ("inference", "latency"):
            if name in self.milliseconds:
                p50, p95 = self.milliseconds[name]
                text += f"; {name} p50 {p50:.1f} ms, p95 {p95:.1f} ms"
        return text


class Statistics:
    """Thread-safe counter of frames and their processing times."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._lacking: Counter[str] = Counter()
        self._times: dict[str, deque[float]] = {}
        self._published_at: deque[float] = deque(maxlen=4096)

    def idle(self) -> None:
        """Count a frame that arrived while no output had a subscriber."""
        with self._lock:
            self._counts["idle"] += 1

    def received(self) -> None:
        """Count a received frame; call `published`, `superseded` or `failed` for it later."""
        with self._lock:
            self._counts["received"] += 1

    def superseded(self) -> None:
        """Count a received frame that is skipped."""
        with self._lock:
            self._counts["superseded"] += 1

    def failed(self, reason: str) -> int:
        """Count a received frame without any published output; return the number of frames with this reason."""
        with self._lock:
            self._failures[reason] += 1
            return self._failures[reason]

    def lacking(self, reason: str) -> int:
        """Count a published frame that lacks an output; return the number of frames with this reason."""
        with self._lock:
            self._lacking[reason] += 1
            return self._lacking[reason]

    def published(self, milliseconds: Mapping[str, float]) -> None:
        """Count a received frame with published outputs, and record its times in milliseconds."""
        with self._lock:
            self._counts["published"] += 1
            self._published_at.append(time.monotonic())
            for name, value in milliseconds.items():
                self._times.setdefault(name, deque(maxlen=WINDOW)).append(value)

    def snapshot(self) -> Snapshot:
        """Return the present counts and times."""
        with self._lock:
            counts, failures, lacking = self._counts.copy(), dict(self._failures), dict(self._lacking)
            times = {name: list(values) for name, values in self._times.items()}
            published_at = list(self._published_at)
        done = counts["published"] + counts["superseded"] + sum(failures.values())
        return Snapshot(
            received=counts["received"],
            published=counts["published"],
            superseded=counts["superseded"],
            failures=failures,
            pending=counts["received"] - done,
            idle=counts["idle"],
            rate_hz=_rate(published_at, time.monotonic()),
            milliseconds={name: tuple(np.percentile(values, (50, 95)).tolist()) for name, values in times.items()},
            lacking=lacking,
        )


def _rate(moments: list[float], now: float) -> float:
    """Return the events per second over the last `RATE_SECONDS`; 0 if there are fewer than two."""
    recent = [moment for moment in moments if moment > now - RATE_SECONDS]
    return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0
