"""
Compare ways to share an engine between cameras, on complete frames: from image message to depth and cloud messages.

Run as ``python -m depth_estimation_ros.bench.cameras [--cameras 4] [--backend openvino]``. Every way is measured once
per round; the figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from statistics import median

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from depth_estimation_ros.backends import EngineOptions, create_backend
from depth_estimation_ros.backends.shared import SharedEngine
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import camera_to_info, rgb_to_image
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.model import Model, load_model
from depth_estimation_ros.pipeline.frame import DEPTH, DEPTH_INFO, POINTS, Frame, Surroundings
from depth_estimation_ros.pipeline.pipeline import Pipeline
from depth_estimation_ros.pipeline.stopwatch import Stopwatch
from depth_estimation_ros.settings import Settings

WIDTH, HEIGHT = 640, 480
FIGURES = {"rate": "frames/s", "p50": "p50, ms", "p95": "p95, ms", "cpu": "CPU, ms/frame"}
_WANTED = frozenset({DEPTH, DEPTH_INFO, POINTS})
_FRAMES = 4  # number of distinct images, used in turn


def ways(model: Model, backend: str, threads: int, cameras: int) -> dict[str, list[DepthEstimator]]:
    """Return the cameras' estimators for each way to share an engine; in the first way, engines are not shared."""

    def engine(sharing: int, **changed: object):
        made = create_backend(model, backend, threads, EngineOptions(cameras=sharing))
        vars(made).update(changed)
        return made

    def shared(sharing: int, **changed: object) -> list[DepthEstimator]:
        one = SharedEngine(lambda: engine(sharing, **changed), model.info, cameras)
        return [DepthEstimator(model, one) for _ in range(cameras)]

    found = {
        "an engine each": [DepthEstimator(model, engine(1)) for _ in range(cameras)],
        "one engine, one by one": shared(1, concurrent=False, max_batch=1),
        "one engine, in batches": shared(1, concurrent=False, max_batch=cameras),
        "one engine, side by side": shared(cameras, concurrent=True, max_batch=1),
    }
    chosen = engine(cameras)
    own = "side by side" if chosen.concurrent else "in batches" if chosen.max_batch > 1 else "one by one"
    return {f"{name} *" if name.endswith(own) else name: estimators for name, estimators in found.items()}


def measure(estimators: list[DepthEstimator], rate: float, seconds: float) -> dict[str, float]:
    """
    Run one camera per estimator, each in its own thread.

    Parameters
    ----------
    estimators : list of DepthEstimator
        One per camera.
    rate : float
        Frames per second, at the same times for all cameras; 0 runs as fast as possible.
    seconds : float
        Duration.

    Returns
    -------
    dict
        ``rate``: frames per second of all cameras together. ``p50`` and ``p95``: latency from a frame's scheduled time
        to its messages, milliseconds. ``cpu``: CPU time per frame, milliseconds.
    """
    info = camera_to_info(PinholeCamera.from_fov(WIDTH, HEIGHT, 1.0))
    random = np.random.default_rng(0)
    images = [rgb_to_image(random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)) for _ in range(_FRAMES)]
    ended, latencies = threading.Event(), []
    start = time.perf_counter() + 0.02

    def camera(estimator: DepthEstimator) -> None:
        pipeline, count = Pipeline(estimator), 0
        while not ended.is_set():
            moment = time.perf_counter()
            if rate:
                moment = start + count / rate
                time.sleep(max(0.0, moment - time.perf_counter()))
            frame = Frame(images[count % _FRAMES], _WANTED)
            for _ in pipeline.outputs(frame, Surroundings(lambda _: info), Settings(), Stopwatch()):
                pass
            latencies.append(1e3 * (time.perf_counter() - moment))
            count += 1

    threads = [threading.Thread(target=camera, args=(estimator,)) for estimator in estimators]
    began, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    ended.wait(seconds)
    ended.set()
    for thread in threads:
        thread.join()
    p50, p95 = np.percentile(latencies, (50, 95))
    frames = len(latencies)
    return {
        "rate": frames / (time.perf_counter() - began),
        "p50": float(p50),
        "p95": float(p95),
        "cpu": 1e3 * (time.process_time() - cpu) / frames,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and print the results. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m depth_estimation_ros.bench.cameras", description=__doc__)
    parser.add_argument("--cameras", type=int, default=4, help="number of cameras (default: %(default)s)")
    parser.add_argument("--model", default="default", help="name or ONNX file (default: %(default)s)")
    parser.add_argument("--backend", choices=("cpu", "openvino", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of an engine; 0 uses all cores")
    parser.add_argument(
        "--rate", type=float, default=10.0, help="frames per second of each camera (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=8,
        help="number of rounds; each measures every way for one second (default: %(default)s)",
    )
    parser.add_argument("--seconds", type=float, default=1.0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.cameras < 2 or options.rounds < 1 or options.rate <= 0:
        print("bench.cameras: give at least two cameras, one round and a positive rate", file=sys.stderr)
        return 1
    cv2.setNumThreads(1)
    console = Console()
    try:
        model = load_model(options.model)
        compared = ways(model, options.backend, options.threads, options.cameras)
    except (ValueError, RuntimeError) as error:
        print(f"bench.cameras: {error}", file=sys.stderr)
        return 1
    loads = {f"together, at {options.rate:g} Hz": options.rate, "as fast as they go": 0.0}
    figures: dict[tuple[str, str], list[dict[str, float]]] = {}
    with Progress(console=console, transient=True) as progress:
        for _ in progress.track(range(options.rounds), description="measuring"):
            for load, rate in loads.items():
                for way, estimators in compared.items():
                    figures.setdefault((load, way), []).append(measure(estimators, rate, options.seconds))
    title = f"{options.cameras} cameras, {model.info.name}, {options.backend}, {os.cpu_count()} CPUs; frames come "
    for load in loads:
        table = Table("engine", *(Column(name, justify="right") for name in FIGURES.values()), title=title + load)
        for way in compared:
            rounds = figures[load, way]
            table.add_row(way, *(f"{median(found[name] for found in rounds):.1f}" for name in FIGURES))
        console.print(table)
    console.print("* as the nodes do")
    return 0


if __name__ == "__main__":
    sys.exit(main())
