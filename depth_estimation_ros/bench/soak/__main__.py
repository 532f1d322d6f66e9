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

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from depth_estimation_ros.bench.soak.figures import Row, draw, summarise, table, verdict
from depth_estimation_ros.bench.usage import Usage
from depth_estimation_ros.launching.environment import keep_to_this_machine
from depth_estimation_ros.processes.children import start_node, stop
from depth_estimation_ros.support.files import write_json

MOUNT = {"camera_height": 1.32, "camera_pitch": 0.16}
"""Mounting pose of the camera, for both nodes: a scan needs a pose."""

START_LIMIT = 60.0
"""Maximum time until the first depth image, seconds."""


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
    except (ValueError, OSError) as error:
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
    ValueError
        If a process exits or no depth is received.
    """
    keep_to_this_machine()
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from depth_estimation_ros.bench.soak.listener import Listener

    options.output.mkdir(parents=True, exist_ok=True)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    listener, processes = Listener(), {}
    try:
        with (
            open(options.output / "node.log", "wb") as node_log,
            open(options.output / "camera.log", "wb") as camera_log,
        ):
            parameters = {"model": options.model, "threads": options.threads, **MOUNT}
            processes["node"] = start_node("depth_estimation_ros.nodes.depth_estimation", parameters, node_log)
            camera = {"rate": options.rate, **MOUNT}
            processes["camera"] = start_node("depth_estimation_ros.nodes.synthetic_camera", camera, camera_log)
            rows = _watch(listener, processes, options, console)
            # Both processes are still running here. They must also exit cleanly.
            codes = {name: stop(processes[name]) for name in ("camera", "node")}
            if any(codes.values()):
                raise ValueError(f"exit codes {codes}; see the logs in {options.output}")
            return rows
    finally:
        for process in processes.values():
            stop(process)
        listener.destroy_node()
        rclpy.shutdown()


def _watch(listener, processes: dict, options: argparse.Namespace, console: Console) -> list[Row]:
    interval = min(10.0, max(0.5, options.duration / 100))
    rows: list[Row] = []
    columns = (TextColumn("soak"), BarColumn(), TextColumn("{task.fields[now]}"), TimeRemainingColumn())
    _spin(listener, processes, time.monotonic() + START_LIMIT, lambda: listener.counts["depth/image"])
    if not listener.counts["depth/image"]:
        raise ValueError(f"no depth image within {START_LIMIT:.0f} s; see node.log and camera.log in {options.output}")
    with open(options.output / "rows.csv", "w", newline="") as file, Progress(*columns, console=console) as progress:
        task, writer = progress.add_task("", total=options.duration, now=""), csv.writer(file)
        writer.writerow(Row.__dataclass_fields__)
        start = then = time.monotonic()
        usages = {name: Usage.of(process.pid) for name, process in processes.items()}
        listener.take_latencies()
        try:
            while time.monotonic() < start + options.duration:
                _spin(listener, processes, then + interval)
                now, before = time.monotonic(), usages
                usages = {name: Usage.of(process.pid) for name, process in processes.items()}
                rows.append(_row(listener, now - start, now - then, before, usages))
                then = now
                writer.writerow(f"{value:.3f}" for value in astuple(rows[-1]))
                file.flush()
                text = f"{rows[-1].rate_hz:.1f} Hz, {rows[-1].node_resident_mb:.0f} MB"
                progress.update(task, completed=now - start, now=text)
        except KeyboardInterrupt:
            console.print("interrupted; the results are for the time until then")
    return rows


def _spin(listener, processes: dict, until: float, condition=lambda: False) -> None:
    """Spin until a time or a condition; raise ValueError if a process exits."""
    import rclpy

    while time.monotonic() < until and not condition():
        for name, process in processes.items():
            if process.poll() is not None:
                raise ValueError(f"the {name} ended with exit code {process.returncode}; see {name}.log")
        rclpy.spin_once(listener, timeout_sec=max(0.0, min(0.1, until - time.monotonic())))


def _row(listener, seconds: float, span: float, before: dict[str, Usage], after: dict[str, Usage]) -> Row:
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
