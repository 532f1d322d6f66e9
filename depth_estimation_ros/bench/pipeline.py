"""
Time every stage of the pipeline, and compare it with the usual implementation and with a plain copy.

Run as ``python -m depth_estimation_ros.bench.pipeline [--output FILE] [--quick] [--model MODEL]``.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, because a package may be missing
    from depth_estimation_ros import entry

    entry.bench()

import argparse
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import camera_to_info, image_to_rgb, rgb_to_image
from depth_estimation_ros.estimator import DepthEstimator, DepthMap
from depth_estimation_ros.model import Model, ModelInfo
from depth_estimation_ros.pipeline.frame import DEPTH, DEPTH_INFO, POINTS, Frame, Surroundings
from depth_estimation_ros.pipeline.messages import OutputMessages
from depth_estimation_ros.pipeline.pipeline import Pipeline
from depth_estimation_ros.pipeline.stopwatch import Stopwatch
from depth_estimation_ros.settings import FilterSettings, OutputSettings, Settings
from depth_estimation_ros.support.files import write_json

SIZES = ((640, 480), (1920, 1080))
LARGE = (686, 518)
"""Size of the output of a large transformer, such as Depth Anything, for 4:3 images."""

STAGES = ("decode", "preprocess", "inference", "postprocess", "cloud", "message_fill")
LIMITS = {"camera": 6.0, "network": 4.0}  # multiples of the time of a plain copy, at 640x480
_WARM_UP = 5  # first frames, which allocate memory
_FRAMES = 8  # number of distinct images, used in turn: a camera's image is never in the CPU cache


class _Replay:
    """Backend that returns precomputed outputs, to time everything but inference."""

    name, concurrent, max_batch = "replay", False, 1

    def __init__(self, outputs: dict[str, np.ndarray]):
        self._outputs = outputs

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the precomputed outputs."""
        return self._outputs


def measure(estimator: DepthEstimator, width: int, height: int, repeats: int) -> dict:
    """
    Time the pipeline on frames of one size.

    Parameters
    ----------
    estimator : DepthEstimator
        Estimator of the model.
    width, height : int
        Size of the frames in pixels.
    repeats : int
        Number of frames per median.

    Returns
    -------
    dict
        ``camera`` and ``network`` (by size of the cloud), each with ``stages_ms``, ``total_ms`` (all but inference),
        ``copy_ms`` (`numpy.copyto` of image, depth image and cloud into allocated memory) and ``times_copy`` (ratio of
        the two), all without the edge filter; ``edge_filter_ms``, the additional time of the filter of parameter
        ``edge_angle``; and ``usual_ms``. All times are medians.
    """
    random = np.random.default_rng(0)
    camera = PinholeCamera.from_fov(width, height, 1.0)
    frames = [rgb_to_image(random.integers(0, 256, (height, width, 3), np.uint8)) for _ in range(_FRAMES)]
    rgb = image_to_rgb(frames[0])
    batch = estimator.preprocess(rgb)
    inference = _median_ms(lambda: estimator.backend.infer(batch), max(5, repeats // 10))
    outputs = estimator.backend.infer(batch)
    replay = DepthEstimator(estimator.model, _Replay(outputs))
    result = {}
    for cloud_size in LIMITS:
        figures = result[cloud_size] = _measure_pipeline(replay, frames, camera, cloud_size, repeats)
        figures["stages_ms"]["inference"] = inference
        filtered = _measure_pipeline(replay, frames, camera, cloud_size, repeats, FilterSettings.edge_angle)
        figures["edge_filter_ms"] = filtered["stages_ms"]["cloud"] - figures["stages_ms"]["cloud"]
    large = estimator.postprocess(outputs, rgb, camera).resized(width, height)
    result["usual_ms"] = _measure_usual(large, rgb, max(3, repeats // 40))
    return result


def measure_large(width: int, height: int, repeats: int) -> dict:
    """
    Time the pipeline without inference for a network whose output has the size `LARGE`.

    Parameters and result are those of `measure`, without ``usual_ms`` and the time of inference.
    """
    random = np.random.default_rng(0)
    info = ModelInfo("stand_in", *LARGE, LARGE[0], 0.1, 10.0, "none", "Apache-2.0", "0" * 64)
    small = random.uniform(1.0, 5.0, (12, 16)).astype(np.float32)
    outputs = {"depth": cv2.resize(small, LARGE, interpolation=cv2.INTER_CUBIC)[None, None]}
    replay = DepthEstimator(Model(Path("stand_in"), info, "0" * 64), _Replay(outputs))
    frames = [rgb_to_image(random.integers(0, 256, (height, width, 3), np.uint8)) for _ in range(_FRAMES)]
    camera = PinholeCamera.from_fov(width, height, 1.0)
    return {cloud_size: _measure_pipeline(replay, frames, camera, cloud_size, repeats) for cloud_size in LIMITS}


def _measure_pipeline(
    estimator: DepthEstimator,
    frames: list[Image],
    camera: PinholeCamera,
    cloud_size: str,
    repeats: int,
    edge_angle: float = 0.0,
) -> dict:
    pipeline, info = Pipeline(estimator), camera_to_info(camera)
    output = OutputSettings(cloud_resolution=cloud_size, depth_resolution="camera", depth_encoding="32FC1")
    settings = Settings(output=output, filter=FilterSettings(edge_angle=edge_angle))
    wanted = frozenset({DEPTH, DEPTH_INFO, POINTS})
    milliseconds: dict[str, list[float]] = {name: [] for name in (*STAGES, "total", "copy")}
    copies = None
    for repeat in range(-_WARM_UP, repeats):
        image, stage = frames[repeat % _FRAMES], Stopwatch()
        started = perf_counter()
        messages = dict(pipeline.outputs(Frame(image, wanted), Surroundings(lambda size: info), settings, stage))
        total = 1e3 * (perf_counter() - started)
        moved = [np.frombuffer(msg.data, np.uint8) for msg in (image, messages[DEPTH], messages[POINTS])]
        copies = copies or [np.zeros_like(data) for data in moved]
        started = perf_counter()
        for copy, data in zip(copies, moved, strict=True):
            np.copyto(copy, data)
        copied = 1e3 * (perf_counter() - started)
        if repeat < 0:
            continue
        times = {**stage.elapsed, "total": total - stage.elapsed["inference"], "copy": copied}
        times["message_fill"] = times.pop("message")
        for name, values in milliseconds.items():
            values.append(times[name])
    medians = {name: median(values) for name, values in milliseconds.items()}
    return {
        "stages_ms": {name: medians[name] for name in STAGES},
        "total_ms": medians["total"],
        "copy_ms": medians["copy"],
        "times_copy": medians["total"] / medians["copy"],
    }


def _measure_usual(depth_map: DepthMap, rgb: np.ndarray, repeats: int) -> dict[str, float | None]:
    """Time the usual ways of filling the same messages in Python nodes, next to this package's way."""

    def fill(make: type, data: object) -> None:
        make().data = data

    points = _per_field_cloud(depth_map, rgb)
    messages = OutputMessages()
    try:
        by_assignment = _median_ms(lambda: fill(Image, rgb.reshape(-1)), repeats)
    except AssertionError:  # with field checks enabled, rclpy does not accept numpy arrays
        by_assignment = None
    return {
        "image by rgb_to_image (ours)": _median_ms(lambda: rgb_to_image(rgb), repeats),
        "image by numpy assignment": by_assignment,
        "image by tobytes": _median_ms(lambda: fill(Image, rgb.tobytes()), repeats),
        "depth by tobytes": _median_ms(lambda: fill(Image, depth_map.depth.tobytes()), repeats),
        "cloud with message by OutputMessages (ours)": _median_ms(
            lambda: messages.cloud(depth_map, rgb, Header()), repeats
        ),
        "cloud field by field": _median_ms(lambda: _per_field_cloud(depth_map, rgb), repeats),
        "cloud by tobytes": _median_ms(lambda: fill(PointCloud2, points.tobytes()), repeats),
    }


def _per_field_cloud(depth_map: DepthMap, rgb: np.ndarray) -> np.ndarray:
    depth, camera = depth_map.depth, depth_map.known_camera
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    points = np.empty(depth.shape, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("rgb", "u4")])
    points["x"] = (u - camera.cx) * depth / camera.fx
    points["y"] = (v - camera.cy) * depth / camera.fy
    points["z"] = depth
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    points["rgb"] = red << 16 | green << 8 | blue
    return points


def _median_ms(call: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = perf_counter()
        call()
        seconds.append(perf_counter() - started)
    return 1e3 * median(seconds)


def show(report: dict, console: Console) -> None:
    """Print a report of `main` as tables."""
    stages = Table(title=f"milliseconds per frame, median ({report['model']}, {report['backend']})")
    stages.add_column("stage", no_wrap=True)
    rows: dict[str, list[str]] = {
        name: [] for name in (*STAGES, "all but inference", "plain copy", "times a copy", "edge filter")
    }
    for size, result in report["sizes"].items():
        for cloud_size, limit in LIMITS.items():
            stages.add_column(f"{size}\n{cloud_size} cloud", justify="right")
            figures = result[cloud_size]
            for name in STAGES:
                rows[name].append(f"{figures['stages_ms'][name]:.3f}")
            rows["all but inference"].append(f"{figures['total_ms']:.3f}")
            rows["plain copy"].append(f"{figures['copy_ms']:.3f}")
            allowed = f" (<= {limit:g})" if size == "640x480" else ""
            rows["times a copy"].append(f"{figures['times_copy']:.1f}{allowed}")
            rows["edge filter"].append(f"{figures['edge_filter_ms']:.3f}")
    for name, cells in rows.items():
        stages.add_row(name, *cells, end_section=name in (STAGES[-1], "all but inference", "times a copy"))
    console.print(stages)
    large = Table(title=f"everything but inference, network output {LARGE[0]}x{LARGE[1]}, images 640x480")
    for heading in ("cloud", "milliseconds", "plain copy", "times a copy"):
        large.add_column(heading, justify="right", no_wrap=True)
    for cloud_size, figures in report["large_network"].items():
        allowed = f"{figures['times_copy']:.1f} (<= {LIMITS['camera']:g})"
        large.add_row(cloud_size, f"{figures['total_ms']:.3f}", f"{figures['copy_ms']:.3f}", allowed)
    console.print(large)
    usual = Table(title="the usual way to do parts of it, milliseconds, median")
    usual.add_column("part")
    results = list(report["sizes"].items())
    for size, _ in results:
        usual.add_column(size, justify="right")
    for name in results[0][1]["usual_ms"]:
        values = (result["usual_ms"][name] for _, result in results)
        usual.add_row(name, *("refused" if value is None else f"{value:.2f}" for value in values))
    console.print(usual)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, print tables and write JSON. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m depth_estimation_ros.bench.pipeline", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("bench_output/bench.json"), help="JSON file to write")
    parser.add_argument("--model", default="default", help="name or ONNX file (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the frames")
    options = parser.parse_args(arguments)
    console = Console()
    cv2.setNumThreads(1)  # as in the node
    try:
        estimator = DepthEstimator.load(options.model)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        report: dict[str, Any] = {
            "model": estimator.model.info.name,
            "backend": estimator.backend.name,
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, "
            f"OpenCV {cv2.__version__}, numpy {np.__version__}",
            "sizes": {},
        }
        with Progress(console=console, transient=True) as progress:
            for width, height in progress.track(SIZES, description="measuring"):
                result = measure(estimator, width, height, 20 if options.quick else 200)
                report["sizes"][f"{width}x{height}"] = result
            report["large_network"] = measure_large(*SIZES[0], 20 if options.quick else 200)
        write_json(options.output, report)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    show(report, console)
    console.print(f"written to {options.output}", soft_wrap=True)
    return 0
