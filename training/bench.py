"""
``python -m training.bench``: compare the CPU engines of this machine on the same networks.

First the network of Laina et al. (ResNet-50, 228x304) with random weights: PyTorch with the blocks as defined and in
their fast form, ONNX Runtime and OpenVINO with both forms of the decoder, in float and int8. Then exported models, with
their accuracy if ``--data`` names NYU frames. Every round runs every engine once, so that other load on the machine
affects all of them equally. Times are medians over the rounds. Choose the cores with e.g. ``taskset -c 2,3``.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import platform
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

# Set before PyTorch loads. Otherwise its threads spin while they wait for each other, on shared cores for seconds,
# which makes the naive network look slower than it is.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.data import Subset

from depth_estimation_ros.backends import BackendError, create_backend
from depth_estimation_ros.backends.tensorrt.parity import calibration_frames
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.imaging.resample import shrink
from depth_estimation_ros.model import Model, ModelInfo, load_model
from depth_estimation_ros.support.files import write_json
from depth_estimation_ros.tools.quantize_model import KEEP, quantize
from training.bench_gpu.prepare import random_resnet50
from training.checkpoint import Checkpoint
from training.data.association import sample_evenly
from training.evaluate import evaluate, open_frames
from training.export import DECODERS, export
from training.models.up_projection import naive
from training.predictor import Predictor
from training.protocols import PROTOCOLS

ENGINES = {"cpu": "ONNX Runtime", "openvino": "OpenVINO"}
# Parts that an int8 model keeps in float; None for a float model.
PRECISIONS = {"float32": None, "int8 encoder": KEEP, "int8": ()}
CALIBRATION_FRAMES = 100


class TorchBackend:
    """
    Backend that runs a network with PyTorch, for comparison with the engines of the node.

    Parameters
    ----------
    network : torch.nn.Module
        Network in evaluation mode.
    """

    name, concurrent, max_batch = "pytorch", False, 1

    def __init__(self, network: torch.nn.Module):
        self._network = network

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network: uint8 [N, H, W, 3] RGB to every output, float32 [N, 1, h, w] each."""
        with torch.inference_mode():
            return {name: value.numpy() for name, value in self._network(torch.from_numpy(images)).items()}


def network_everywhere(
    network: torch.nn.Module, info: ModelInfo, folder: Path, engines: list[str], threads: int
) -> dict[str, DepthEstimator]:
    """
    Return estimators of a network: in PyTorch, naive and fast, and on every engine with both forms of the decoder.

    Parameters
    ----------
    network : torch.nn.Module
        Network with `training.models.up_projection.UpProjection` blocks, in evaluation mode.
    info : ModelInfo
        Metadata of the network, with its input size.
    folder, engines, threads
        As for `on_every_engine`.

    Returns
    -------
    dict
        Estimators by name. The naive network is the first.
    """
    frames, models = calibration_frames(info), {}
    for decoder in DECODERS:
        path = folder / f"{info.name}_{decoder}.onnx"
        export(Checkpoint(network, {}, "0" * 64), info, path, False, frames[:2], decoder)
        models[decoder] = load_model(path)
    plain = models[DECODERS[0]]
    found = {
        "PyTorch, naive": DepthEstimator(plain, TorchBackend(naive(copy.deepcopy(network)))),
        "PyTorch": DepthEstimator(plain, TorchBackend(network)),
    }
    for decoder, model in models.items():
        rows = on_every_engine(model, frames, folder, engines, threads)
        found.update({f"{name}, {decoder}": estimator for name, estimator in rows.items()})
    return found


def on_every_engine(
    model: Model, frames: np.ndarray, folder: Path, engines: list[str], threads: int
) -> dict[str, DepthEstimator]:
    """
    Return estimators of a float model and its int8 forms on every engine.

    Parameters
    ----------
    model : Model
        The float model.
    frames : numpy.ndarray
        Calibration images, uint8 [N, H, W, 3].
    folder : pathlib.Path
        Folder for the models.
    engines : list of str
        Keys of `ENGINES`.
    threads : int
        CPU threads of each engine.
    """
    found = {}
    for precision, keep in PRECISIONS.items():
        written = model
        if keep is not None:
            path = folder / f"{model.path.stem}_{precision.replace(' ', '_')}.onnx"
            quantize(model, frames, path, keep)
            written = load_model(path)
        for engine in engines:
            backend = create_backend(written, engine, threads)
            found[f"{ENGINES[engine]}, {precision}"] = DepthEstimator(written, backend)
    return found


def measure(estimators: dict[str, DepthEstimator], rounds: int) -> dict[str, dict[str, float]]:
    """
    Time every estimator on the same image, in turn.

    Parameters
    ----------
    estimators : dict
        Estimators by name, all with the same input size.
    rounds : int
        Measurements of each, after two that are discarded.

    Returns
    -------
    dict
        Milliseconds per inference by name: ``ms``, the median, and ``least_ms``, the minimum, which depends least on
        other load.
    """
    batch = calibration_frames(next(iter(estimators.values())).model.info, count=1)
    times: dict[str, list[float]] = {name: [] for name in estimators}
    for i in track(range(-2, rounds), description="measuring", transient=True):
        for name, estimator in estimators.items():
            sleep(0.02)  # threads of the previous engine may still spin
            started = perf_counter()
            estimator.backend.infer(batch)
            if i >= 0:
                times[name].append(1e3 * (perf_counter() - started))
    return {name: {"ms": median(values), "least_ms": min(values)} for name, values in times.items()}


def resnet50(folder: Path, engines: list[str], threads: int, rounds: int) -> dict:
    """Time the network of the paper with random weights, and return title and rows for `show`."""
    network, info, _ = random_resnet50()
    rows = measure(network_everywhere(network, info, folder, engines, threads), rounds)
    size = f"{info.input_width}x{info.input_height}"
    return {"title": f"ResNet-50 with up-projection, {size}, random weights, {threads} threads", "rows": rows}


def exported(model: Model, folder: Path, engines: list[str], options: argparse.Namespace) -> dict:
    """Time a model and, with ``--data``, measure its accuracy; return title and rows for `show`."""
    if options.data:
        frames = _training_frames(model, options.data, options.depth_scale)
    else:
        frames = calibration_frames(model.info, count=CALIBRATION_FRAMES)
    estimators = on_every_engine(model, frames, folder, engines, options.threads)
    rows = measure(estimators, options.rounds)
    if options.data:
        found = accuracy(estimators, options.data, options.depth_scale, options.frames)
        rows = {name: {**row, **found[name]} for name, row in rows.items()}
    return {"title": f"{model.info.name}, {options.threads} threads", "rows": rows}


def accuracy(
    estimators: dict[str, DepthEstimator], data: Path, depth_scale: float, count: int
) -> dict[str, dict[str, float]]:
    """Return metrics by the Eigen protocol of each estimator on NYU Depth v2 test frames; ``count`` 0 takes all."""
    protocol = PROTOCOLS["eigen"]
    frames, names = open_frames(data, "test", depth_scale, protocol)
    chosen = sample_evenly(range(len(names)), count)
    frames, names = Subset(frames, chosen), [names[i] for i in chosen]
    found = {}
    for name, estimator in estimators.items():
        print(name)
        found[name] = evaluate(Predictor(estimator), frames, names, protocol).mean()
    return found


def _training_frames(model: Model, data: Path, depth_scale: float) -> np.ndarray:
    """Return calibration images, uint8 [N, H, W, 3], from the training frames of a dataset."""
    frames, names = open_frames(data, "train", depth_scale, PROTOCOLS["eigen"])
    size = model.info.input_width, model.info.input_height
    chosen = sample_evenly(range(len(names)), CALIBRATION_FRAMES)
    return np.stack([shrink(frames[i]["image"].numpy(), *size) for i in chosen])


def show(result: dict, console: Console) -> None:
    """Print the results of a model as a table that compares each row with the first."""
    table = Table(title=result["title"])
    table.add_column("engine", no_wrap=True)
    accurate = any("delta1" in row for row in result["rows"].values())
    for column in ("ms", "speed", *(("abs_rel", "delta1", "loss") if accurate else ())):
        table.add_column(column, justify="right")
    first = next(iter(result["rows"].values()))
    for name, row in result["rows"].items():
        cells = [f"{row['ms']:.1f}", f"{first['ms'] / row['ms']:.2f}x"]
        if accurate:
            cells += [f"{row['abs_rel']:.4f}", f"{row['delta1']:.4f}", f"{first['delta1'] - row['delta1']:+.4f}"]
        table.add_row(name, *cells)
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, print its tables and write its JSON. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.bench", description=__doc__.split("\n\n")[0].strip())
    parser.add_argument("--model", nargs="*", default=["default"], help="models to compare on every engine")
    parser.add_argument("--data", type=Path, help="for accuracy: NYU folder with rgb/, depth/, splits.mat, or the .mat")
    parser.add_argument("--depth-scale", type=float, default=10 / 255, help="metres per unit of the depth images")
    parser.add_argument("--frames", type=int, default=0, help="number of evenly spread test frames; 0 takes all")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of each engine (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="measurements of each engine (default: %(default)s)")
    parser.add_argument("--skip-network", action="store_true", help="skip the network with random weights")
    parser.add_argument("--output", type=Path, default=Path("bench_output/engines.json"), help="JSON file to write")
    options = parser.parse_args(arguments)
    # This benchmark already follows the advice that the quantiser logs.
    logging.getLogger().setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    console = Console()
    report = {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} CPUs, load "
        f"{os.getloadavg()[0]:.1f} at the start, torch {torch.__version__}",
        "threads": options.threads,
        "results": [],
    }
    try:
        if min(options.threads, options.rounds) < 1 or options.frames < 0:
            raise ValueError("--threads and --rounds must be at least 1, and --frames not negative")
        models = [load_model(name) for name in options.model]
        engines = _installed()
        options.output.parent.mkdir(parents=True, exist_ok=True)
        if not options.data:
            print("no --data: speed only, int8 models calibrated on a synthetic room")
        with tempfile.TemporaryDirectory() as folder:
            if not options.skip_network:
                report["results"].append(resnet50(Path(folder), engines, options.threads, options.rounds))
            report["results"] += [exported(model, Path(folder), engines, options) for model in models]
        write_json(options.output, report)
    except (ValueError, OSError, BackendError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(report["machine"])
    for result in report["results"]:
        show(result, console)
    console.print(f"written to {options.output}", soft_wrap=True)
    return 0


def _installed() -> list[str]:
    """Return the engines that are installed, and print which are missing."""
    found = []
    for engine in ENGINES:
        try:
            create_backend(load_model("default"), engine, 1)
            found.append(engine)
        except BackendError as error:
            print(f"without {ENGINES[engine]}: {error}")
    return found


if __name__ == "__main__":
    sys.exit(main())
