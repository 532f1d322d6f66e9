"""
Command ``python -m training.bench_gpu [--models default FILE.onnx FILE.ckpt ...] [--resnet50]``.

Times are medians, from images in memory to depth in memory. The time of every engine is compared with the shortest time
that this GPU allows, and its depth with that of ONNX Runtime on the CPU.
"""

from __future__ import annotations

import argparse
import logging
import math
import platform
import re
import sys
import tempfile
from functools import partial
from pathlib import Path

import onnxruntime
import torch
from rich.console import Console

from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.model import load_model
from depth_estimation_ros.support.files import write_json
from training.bench import accuracy
from training.bench_gpu.engines import MODES
from training.bench_gpu.measure import Bench, Row, sentence_of
from training.bench_gpu.networks import export_forms, open_forms, random_resnet50
from training.bench_gpu.table import show
from training.checkpoint import load_checkpoint
from training.evaluate import open_frames
from training.protocols import PROTOCOLS


def run(options: argparse.Namespace, device: torch.device) -> dict:
    """Measure what the options name, and return the report."""
    bench = Bench(device, options.batches, options.modes, options.minutes or math.inf)
    report = {
        "device": _name(device),
        "software": _software(),
        "batches": bench.batches,
        "ceilings": bench.ceilings.facts(),
        "networks": [],
    }
    everything: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in (*([None] if options.resnet50 else []), *options.models):
            place = Path(tempfile.mkdtemp(dir=folder))
            forms = open_forms(name, place, bench.skip) if name else export_forms(*random_resnet50(), place, bench.skip)
            if not forms:
                continue
            facts, rows = bench.measure(forms, place)
            if name and options.data:
                for row in rows:
                    bench.attempt(row, partial(_judge, row, options))
            everything += rows
            report["networks"].append({**facts, "rows": [row.facts() for row in rows]})
        pipeline = _pipeline(everything, bench, 5 if device.type == "cpu" else 100)
    return {**report, **({"pipeline": pipeline} if pipeline else {}), "without": bench.skipped}


def _check(options: argparse.Namespace) -> None:
    """Check the options, before minutes are spent on measuring."""
    if min(options.batches) < 1 or options.frames < 0:
        raise ValueError("--batches must be at least 1, and --frames not negative")
    if not options.models and not options.resnet50:
        raise ValueError("nothing to measure: give --models or --resnet50")
    if options.data and not options.models:
        raise ValueError("--data measures the accuracy of trained models: give --models, too")
    for name in options.models:
        (load_checkpoint if name.endswith(".ckpt") else load_model)(name)
    if options.data:
        open_frames(options.data, "test", options.depth_scale, PROTOCOLS["eigen"])


def _device(name: str) -> torch.device:
    """Return the device, initialised."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"this machine has no GPU that PyTorch {torch.__version__} can use; `--device cpu` tries the command "
            "without one, and `python -m training.bench` compares engines on the CPU"
        )
    if name == "cpu":
        torch.set_num_threads(1)
    return torch.device(name)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else f"CPU ({platform.machine()})"


def _software() -> dict[str, str]:
    versions = {"python": platform.python_version(), "torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    if torch.cuda.is_available():
        capability = "{}.{}".format(*torch.cuda.get_device_capability())
        versions |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
        versions["compute_capability"] = capability
    return versions


def _judge(row: Row, options: argparse.Namespace) -> None:
    """Add the accuracy of an engine to its row."""
    estimator = DepthEstimator(row.model, row.backend)
    found = accuracy({row.name: estimator}, options.data, options.depth_scale, options.frames)[row.name]
    row.figures.update((name, found[name]) for name in ("abs_rel", "delta1"))


def _pipeline(rows: list[Row], bench: Bench, repeats: int) -> dict | None:
    """Time the stages of the node with the engine that is fastest on one image; None if that is impossible."""
    rows = [row for row in rows if not row.ended and "ms" in row.batches.get(1, {})]
    try:
        from depth_estimation_ros.bench.pipeline import measure

        fastest = min(rows, key=lambda row: row.batches[1]["ms"])
        found = measure(DepthEstimator(fastest.model, fastest.backend), 640, 480, repeats)["network"]
    except ImportError as error:
        bench.skip(f"the node's pipeline: ROS 2's messages for Python cannot be imported ({error})")
        return None
    except (ValueError, RuntimeError) as error:  # no engine is left, or the engine fails now
        bench.skip(f"the node's pipeline: {sentence_of(error)}")
        return None
    stages = found["stages_ms"]
    engine = f"{fastest.model.info.name}, {fastest.name}"
    return {"engine": engine, "stages_ms": stages, "together_ms": found["total_ms"] + stages["inference"]}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, print its tables and write its JSON. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.bench_gpu", description=__doc__.strip().split("\n\n")[1])
    parser.add_argument(
        "--models", nargs="*", default=["default"], help="ONNX files, and checkpoints, which PyTorch runs too"
    )
    parser.add_argument("--resnet50", action="store_true", help="also the network of Laina et al. with random weights")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32], help="default: 1 to 32")
    parser.add_argument(
        "--modes", nargs="*", choices=MODES, default=list(MODES), help="modes of PyTorch (default: all)"
    )
    parser.add_argument("--data", type=Path, help="for accuracy: NYU folder with rgb/, depth/, splits.mat, or the .mat")
    parser.add_argument("--depth-scale", type=float, default=10 / 255, help="metres per unit of the depth images")
    parser.add_argument("--frames", type=int, default=50, help="number of test frames (default: %(default)s; 0: all)")
    parser.add_argument(
        "--minutes", type=float, help="start no new measurement after so long, and name the missing ones"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu only tests the command")
    parser.add_argument("--output", type=Path, help="JSON file (default: bench_output/gpu/DEVICE.json)")
    options = parser.parse_args(arguments)
    logging.getLogger().setLevel(logging.ERROR)
    console = Console()
    console.width = max(console.width, 160)
    try:
        device = _device(options.device)
        _check(options)
        slug = re.sub(r"\W+", "_", _name(device)).strip("_").lower()
        output = options.output or Path("bench_output/gpu") / f"{slug}.json"
        output.parent.mkdir(parents=True, exist_ok=True)
        report = run(options, device)
        write_json(output, report)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"bench_gpu: {sentence_of(error)}", file=sys.stderr)
        return 1
    show(report, console)
    console.print(f"written to {output}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
