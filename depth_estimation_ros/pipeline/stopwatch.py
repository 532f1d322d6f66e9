"""Measurement of the time that a frame spends in each stage."""

from __future__ import annotations

import time

STAGES = (
    "decode",
    "preprocess",
    "inference",
    "postprocess",
    "anchor",
    "cloud",
    "scan",
    "preview",
    "message",
    "publish",
    "latency",
)
"""Stages that are timed; ``latency`` is the whole time from the image's stamp to publication."""


class Stopwatch:
    """
    Stopwatch that sums the milliseconds one frame spends in each stage: ``with stopwatch("decode"): ...``.

    Stages may be nested; the time of an inner stage does not count for the outer one. It is a plain context manager,
    because one made with ``contextlib`` would take longer than the shortest stages.
    """

    def __init__(self):
        self.elapsed: dict[str, float] = {}
        self._named = ""
        self._open: list[tuple[str, float]] = []  # stages and their start times

    def __call__(self, stage: str) -> Stopwatch:
        """Name the stage of the ``with`` block that follows."""
        self._named = stage
        return self

    @property
    def running(self) -> tuple[str, float] | None:
        """Running stage and its duration in seconds, or None. Thread-safe."""
        last = self._open[-1:]
        return (last[0][0], time.perf_counter() - last[0][1]) if last else None

    def __enter__(self) -> None:
        """Start the clock."""
        self._open.append((self._named, time.perf_counter()))

    def __exit__(self, *_) -> None:
        """Stop the clock."""
        stage, started = self._open.pop()
        spent, elapsed = 1e3 * (time.perf_counter() - started), self.elapsed
        elapsed[stage] = elapsed.get(stage, 0.0) + spent
        if self._open:
            around = self._open[-1][0]
            elapsed[around] = elapsed.get(around, 0.0) - spent
