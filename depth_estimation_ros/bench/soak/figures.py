"""Evaluation of a long run: rows over time, and comparison of its end with its middle and beginning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from rich.table import Table

from depth_estimation_ros.support.installing import how_to_install

MEMORY_LIMIT_MB = 10.0
"""Growth of a process's memory over the second half of a run that still counts as flat."""


@dataclass(frozen=True)
class Row:
    """
    One interval of a run; memory in MB, times in milliseconds unless stated otherwise.

    Parameters
    ----------
    seconds : float
        End of the interval, seconds since the first depth image.
    rate_hz : float
        Depth images per second.
    latency_p50, latency_p95 : float
        Latency from an image's stamp to the receipt of its depth; NaN if none was received.
    inference_p50 : float
        Inference time from the node's diagnostics.
    node_cpu, camera_cpu : float
        Number of cores in use.
    node_resident_mb, node_private_mb, node_handles, node_threads, camera_resident_mb, camera_handles, camera_threads
        See `usage.Usage`.
    """

    seconds: float
    rate_hz: float
    latency_p50: float
    latency_p95: float
    inference_p50: float
    node_cpu: float
    node_resident_mb: float
    node_private_mb: float
    node_handles: float
    node_threads: float
    camera_cpu: float
    camera_resident_mb: float
    camera_handles: float
    camera_threads: float


NAMES = tuple(name for name in Row.__dataclass_fields__ if name != "seconds")
HELD = tuple(f"{who}_{what}" for who in ("node", "camera") for what in ("resident_mb", "handles", "threads"))
"""Measurements that must not grow."""


def summarise(rows: list[Row]) -> dict:
    """
    Compare the last window of a run with the middle and the first one.

    A window is five minutes, or a quarter of a shorter run; the first one begins after a minute, or a tenth of the run.
    Growth is measured over the second half: buffers allocated at a busy moment early in the run are kept, but a leak
    continues.

    Parameters
    ----------
    rows : list of Row
        Rows in order of time, at least eight.

    Returns
    -------
    dict
        ``seconds``, ``window_s``, ``first``, ``middle`` and ``last`` (medians of `NAMES` in each window), and
        ``growth`` from the middle to the end: differences of `HELD`, and ``latency_ratio``, ratio of the p50 latency in
        the tenth of the rows with the lowest latency, which other programs disturb least.

    Raises
    ------
    ValueError
        If there are too few rows.
    """
    if len(rows) < 8:
        raise ValueError("too short a run to compare its end with its beginning")
    total = rows[-1].seconds
    window = min(300.0, total / 4)
    starts = {"first": min(60.0, total / 10), "middle": total / 2, "last": total - window}
    windows = {
        name: [row for row in rows if start < row.seconds <= start + window + 1e-3] for name, start in starts.items()
    }
    parts = {name: _medians(found) for name, found in windows.items()}
    quiet = {name: np.nanpercentile([row.latency_p50 for row in found], 10) for name, found in windows.items()}
    growth = {name: round(parts["last"][name] - parts["middle"][name], 2) for name in HELD}
    growth["latency_ratio"] = round(float(quiet["last"] / quiet["middle"]), 3)
    return {"seconds": round(total, 1), "window_s": round(window, 1), **parts, "growth": growth}


def verdict(growth: dict) -> list[str]:
    """Return one sentence per measurement that has grown. Latency is not judged, because it depends on the machine."""
    found = []
    for name in HELD:
        limit = MEMORY_LIMIT_MB if name.endswith("_mb") else 0
        if growth[name] > limit:
            found.append(f"{name} grew by {growth[name]:g} in the second half, which is more than {limit:g}")
    return found


def table(summary: dict) -> Table:
    """Return the comparison as a table."""
    made = Table(title=f"{summary['seconds']:.0f} s; medians of {summary['window_s']:.0f} s")
    for heading in ("", "beginning", "middle", "end"):
        made.add_column(heading, justify="right" if heading else "left")
    for name in NAMES:
        made.add_row(name, *(f"{summary[part][name]:.2f}" for part in ("first", "middle", "last")))
    return made


def draw(rows: list[Row], path: Path) -> None:
    """Plot memory, handles and latency over time as a PNG; raise ValueError if matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError(f"no picture was drawn: {how_to_install('matplotlib')}") from None
    minutes = [row.seconds / 60 for row in rows]
    figure = Figure(figsize=(8, 8), layout="constrained")
    panels = figure.subplots(3, sharex=True)
    lines = (
        ("MB in RAM", ("node_resident_mb", "node_private_mb", "camera_resident_mb")),
        ("count", ("node_handles", "node_threads", "camera_handles", "camera_threads")),
        ("ms", ("latency_p50", "latency_p95", "inference_p50")),
    )
    for axes, (unit, names) in zip(panels, lines, strict=True):
        for name in names:
            axes.plot(minutes, [getattr(row, name) for row in rows], label=name.replace("_", " "), linewidth=1)
        axes.set(ylabel=unit)
        axes.set_ylim(bottom=0)
        axes.grid(color="#e3e3e3")
        axes.legend(loc="best", fontsize=8)
    panels[-1].set(xlabel="minutes")
    figure.savefig(path, dpi=110)


def _medians(rows: list[Row]) -> dict[str, float]:
    found = {}
    for name in NAMES:
        values = [value for row in rows if not math.isnan(value := getattr(row, name))]
        found[name] = round(median(values), 3) if values else math.nan
    return found
