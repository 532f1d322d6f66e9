"""Summary of the demo, as JSON and as a table."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from depth_estimation_ros.demo.recorder import Recorder
from depth_estimation_ros.demo.scan_accuracy import scan_accuracy
from depth_estimation_ros.demo.source import assumption
from depth_estimation_ros.synthetic import Room


def summarise(recorder: Recorder, room: Room | None = None, source: dict | None = None) -> dict:
    """
    Return the results of the demo.

    Frame counts are the node's own. Latency is the time from the image's stamp until depth is received here. Accuracy
    is the mean over frames against the camera's ground truth depth, or None without ground truth. ``scan`` compares the
    scan with the walls of the synthetic room (`scan_accuracy`), or is None without a room. ``source`` describes the
    user's source (`DemoSource.facts`), or is None in the room.
    """
    values, counts = recorder.diagnostics, recorder.frame_counts
    means = recorder.metrics.mean()
    latencies = np.percentile(recorder.latencies, (50, 95)) if recorder.latencies else (float("nan"),) * 2
    return {
        **{f"frames_{name}": count for name, count in counts.items()},
        "rate_hz": round(recorder.topics["depth/image"].rate_hz, 2),
        "latency_ms": {"p50": round(float(latencies[0]), 2), "p95": round(float(latencies[1]), 2)},
        "inference_ms": {p: float(values[f"inference_ms_{p}"]) for p in ("p50", "p95")},
        "topics": {
            name: {"type": t.type, "count": t.count, "rate_hz": round(t.rate_hz, 2)}
            for name, t in recorder.topics.items()
            if t.count
        },
        "model": {"name": values["model"], "sha256": values["model_sha256"]},
        "backend": values["backend"],
        "accuracy": {name: round(means[name], 4) for name in ("abs_rel", "rmse", "delta1")} if means else None,
        "scan": scan_accuracy(room, recorder.scans) if room else None,
        "source": source,
    }


def print_table(summary: dict, console: Console) -> None:
    """Print a summary as a table."""
    table = Table(title="depth_estimation_ros demo", show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, topic in summary["topics"].items():
        table.add_row(name, f"{topic['rate_hz']:.1f} Hz, {topic['count']} messages")
    table.add_section()
    if (source := summary["source"]) and source["assumed_horizontal_fov"] is not None:
        table.add_row("camera", assumption(source["assumed_horizontal_fov"]))
    table.add_row("latency, stamp to receipt", _milliseconds(summary["latency_ms"]))
    table.add_row("inference", _milliseconds(summary["inference_ms"]))
    for name in ("received", "published", "superseded", "failed"):
        table.add_row(f"frames {name}", str(summary[f"frames_{name}"]))
    accuracy = summary["accuracy"]
    text = "no true depth to compare with"
    if accuracy:
        text = f"AbsRel {accuracy['abs_rel']:.3f}, RMSE {accuracy['rmse']:.3f} m, delta<1.25 {accuracy['delta1']:.3f}"
    table.add_row("accuracy", text)
    if scan := summary["scan"]:
        text = (
            f"median error {scan['median_m']:.2f} m ({scan['median_relative']:.0%}), {scan['within_25_percent']:.0%} "
        )
        text += f"within 25 %; {1 - scan['found']:.0%} of directions with an obstacle not measured, "
        text += f"{scan['called_free']:.0%} called free"
        table.add_row("scan against the walls", text)
    table.add_row("model", f"{summary['model']['name']} ({summary['model']['sha256'][:12]})")
    table.add_row("backend", summary["backend"])
    console.print(table)


def _milliseconds(percentiles: dict[str, float]) -> str:
    return f"p50 {percentiles['p50']:.1f} ms, p95 {percentiles['p95']:.1f} ms"
