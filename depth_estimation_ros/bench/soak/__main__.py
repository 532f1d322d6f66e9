"""``python -m depth_estimation_ros.bench.soak``: run camera and node for hours, and check whether memory use grows."""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
from dataclasses import asdict, astuple
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from depth_estimation_ros.bench.soak.figures import Row, draw, summarise, table, verdict
from depth_estimation_ros.bench.usage import Usage
from depth_estimation_ros.processes.stage import DEPTH_NODE, START_SECONDS, Stage, StageError
from depth_estimation_ros.support.files import write_json

if TYPE_CHECKING:
    from depth_estimation_ros.bench.soak.listener import Listener

MOUNT = {"camera_height": 1.32, "camera_pitch": 0.16}
"""Mounting pose of the camera, for both nodes: a scan needs a pose."""


def main(arguments: list[str] | None = None) -> int:
    """Run the soak test. Returns 0 if memory, handles and threads do not grow, 1 if one grows or there is no depth."""
    parser = argparse.ArgumentParser(prog="python -m depth_estimation_ros.bench.soak", description=__doc__)
    parser.add_argument("--duration", type=float, default=3600.0, help="seconds (default %(default)g)")
    parser.add_argument(
        "--rate", type=float, default=30.0, help="images per second of the camera (default %(default)g)"
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the network (default: all cores)")
    parser.add_argument("--model", default="default", help="name or path of the model")
    parser.add_argument("--output", type=Path, default=Path("soak_output"), help="output folder")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        if options.duration < 8:
            raise ValueError("--duration must be at least 8 seconds")
        return _report(run(options, console), options.output, console)
    except (ValueError, OSError, StageError) as error:
        print(f"soak: {error}", file=sys.stderr)
    except ModuleNotFoundError as error:
        if error.name != "rclpy":
            raise
        print("soak: ROS 2 is missing: `pip install -r requirements/ros2-jazzy.txt`", file=sys.stderr)
    return 1


def run(options: argparse.Namespace, console: Console) -> list[Row]:
    """
    Run and measure camera and node. Ctrl-C ends the run early and keeps the measurements.

    Parameters
    ----------
    options : argparse.Namespace
        Options of the command line.
    console : rich.console.Console
        Console for the progress bar.

    Returns
    -------
    list of Row
        Measurements; also written row by row to ``rows.csv`` in the output folder.

    Raises
    ------
    StageError
        If a process exits or no depth is received.
    """
    options.output.mkdir(parents=True, exist_ok=True)
    with Stage(options.output, _listener, "the {name} ended with exit code {code}; see {name}.log") as stage:
        stage.start("node", DEPTH_NODE, {"model": options.model, "threads": options.threads, **MOUNT})
        stage.start("camera", "depth_estimation_ros.nodes.synthetic_camera", {"rate": options.rate, **MOUNT})
        rows = _watch(stage, options, console)
        # Both processes are still running here. They must also exit cleanly.
        codes = {name: stage.stop(name) for name in ("camera", "node")}
        if any(codes.values()):
            raise StageError(f"exit codes {codes}; see the logs in {options.output}")
        return rows


def _listener() -> Listener:
    from depth_estimation_ros.bench.soak.listener import Listener

    return Listener()


def _watch(stage: Stage[Listener], options: argparse.Namespace, console: Console) -> list[Row]:
    listener = stage.client
    interval = min(10.0, max(0.5, options.duration / 100))
    rows: list[Row] = []
    columns = (TextColumn("soak"), BarColumn(), TextColumn("{task.fields[now]}"), TimeRemainingColumn())
    if not stage.spin(START_SECONDS, lambda: listener.counts["depth/image"]):
        raise StageError(
            f"no depth image within {START_SECONDS:.0f} s; see node.log and camera.log in {options.output}"
        )
    with open(options.output / "rows.csv", "w", newline="") as file, Progress(*columns, console=console) as progress:
        task, writer = progress.add_task("", total=options.duration, now=""), csv.writer(file)
        writer.writerow(Row.__dataclass_fields__)
        start = then = time.monotonic()
        usages = {name: Usage.of(process.pid) for name, process in stage.processes.items()}
        listener.take_latencies()
        try:
            while time.monotonic() < start + options.duration:
                stage.spin(then + interval - time.monotonic())
                now, before = time.monotonic(), usages
                usages = {name: Usage.of(process.pid) for name, process in stage.processes.items()}
                rows.append(_row(listener, now - start, now - then, before, usages))
                then = now
                writer.writerow(f"{value:.3f}" for value in astuple(rows[-1]))
                file.flush()
                text = f"{rows[-1].rate_hz:.1f} Hz, {rows[-1].node_resident_mb:.0f} MB"
                progress.update(task, completed=now - start, now=text)
        except KeyboardInterrupt:
            console.print("interrupted; the results are for the time until then")
    return rows


def _row(listener: Listener, seconds: float, span: float, before: dict[str, Usage], after: dict[str, Usage]) -> Row:
    latencies = listener.take_latencies()
    node, camera = after["node"], after["camera"]
    cpu = {name: (after[name].cpu_s - before[name].cpu_s) / span for name in after}
    return Row(
        seconds=seconds,
        rate_hz=len(latencies) / span,
        latency_p50=median(latencies) if latencies else math.nan,
        latency_p95=float(np.percentile(latencies, 95)) if latencies else math.nan,
        inference_p50=float(listener.diagnostics.get("inference_ms_p50", math.nan)),
        node_cpu=cpu["node"],
        node_resident_mb=node.resident_mb,
        node_private_mb=node.private_mb,
        node_handles=node.handles,
        node_threads=node.threads,
        camera_cpu=cpu["camera"],
        camera_resident_mb=camera.resident_mb,
        camera_handles=camera.handles,
        camera_threads=camera.threads,
    )


def _report(rows: list[Row], output: Path, console: Console) -> int:
    summary = summarise(rows)
    write_json(output / "summary.json", {**summary, "rows": [asdict(row) for row in rows]})
    console.print(table(summary))
    try:
        draw(rows, output / "soak.png")
    except ValueError as error:
        console.print(str(error))
    grown = verdict(summary["growth"])
    ratio = summary["growth"]["latency_ratio"]
    console.print(
        "; ".join(grown)
        if grown
        else f"memory, handles and threads are flat; latency {ratio:.2f} times that of the middle"
    )
    console.print(f"written to {output}", soft_wrap=True)
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
