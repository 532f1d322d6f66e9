"""
Measure the CPU time of the node's process besides inference, with images at a camera's rate.

Run as ``python -m depth_estimation_ros.bench.node [--seconds N] [--output FILE]``. The node runs with the model, and
with an empty model of the same sizes; the difference is the cost of inference.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from depth_estimation_ros.backends import BackendError, create_backend
from depth_estimation_ros.bench.usage import Usage
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.model import METADATA_KEY, Model, load_model
from depth_estimation_ros.processes.stage import DEPTH_NODE, START_SECONDS, Stage, StageError
from depth_estimation_ros.support.files import write_json

if TYPE_CHECKING:
    from depth_estimation_ros.bench.node_camera import BenchCamera

_WARM_UP_S = 2.0


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, print a table and write JSON. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m depth_estimation_ros.bench.node", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="duration of each measurement (default: %(default)g)"
    )
    parser.add_argument("--rate", type=float, default=30.0, help="images per second (default: %(default)g)")
    parser.add_argument("--size", default="640x480", help="size of the images (default: %(default)s)")
    parser.add_argument("--model", default="default", help="name or ONNX file (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("bench_output/node.json"), help="JSON file to write")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        width, height = map(int, options.size.split("x"))
        if options.seconds <= 0 or options.rate <= 0 or min(width, height) < 16:
            raise ValueError("--seconds and --rate must be positive, and --size at least 16x16")
        result = measure(load_model(options.model), PinholeCamera.from_fov(width, height, 1.1), options, console)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.output, result)
    except (ValueError, OSError, BackendError, StageError) as error:
        print(f"bench.node: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        advice = {"onnx": "pip install onnx", "rclpy": "pip install -r requirements/ros2-jazzy.txt"}
        if error.name not in advice:
            raise
        print(f"bench.node: {error.name} is missing: {advice[error.name]}", file=sys.stderr)
        return 1
    console.print(_table(result))
    console.print(f"written to {options.output}", soft_wrap=True)
    return 0


def measure(model: Model, camera: PinholeCamera, options: argparse.Namespace, console: Console) -> dict:
    """
    Run the node with both models.

    Parameters
    ----------
    model : Model
        Real model.
    camera : PinholeCamera
        Intrinsics of the images.
    options : argparse.Namespace
        Options of the command line.
    console : rich.console.Console
        Console for the progress bar.

    Returns
    -------
    dict
        Number of cores in use: ``receiving`` (without subscribers to any output), ``without_inference`` and
        ``with_model`` (with subscribers to depth image, cloud and scan), ``inference`` (difference of the last two).
        ``ratio``: all of the node relative to inference. ``frames``: published frames in the last two runs.
        ``stages_ms``: median times of the run without inference.

    Raises
    ------
    StageError
        If the node exits or publishes nothing.
    """
    with tempfile.TemporaryDirectory() as folder, Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=3 * (options.seconds + _WARM_UP_S))
        empty = write_empty_model(model, Path(folder) / "empty.onnx")
        runs: dict[str, Any] = {}
        for name, path in (("without_inference", empty), ("with_model", model.path)):
            with Stage(Path(folder), lambda: _camera(camera, options.rate), "the node ended: {line}") as stage:
                bench = _Bench(stage, path, progress, task)
                if name == "without_inference":
                    runs["receiving"], _ = bench.cores(options.seconds)
                bench.subscribe()
                runs[name], frames = bench.cores(options.seconds)
                runs.setdefault("frames", []).append(frames)
                runs.setdefault("stages_ms", bench.stages())
    inference = runs["with_model"] - runs["without_inference"]
    return {
        "model": model.info.name,
        "image": f"{camera.width}x{camera.height}",
        "rate_hz": options.rate,
        **{name: value if isinstance(value, (list, dict)) else round(value, 4) for name, value in runs.items()},
        "inference": round(inference, 4),
        "ratio": round(runs["with_model"] / inference, 3) if inference > 0 else None,
    }


def write_empty_model(model: Model, path: Path) -> Path:
    """
    Write an almost empty model with the input and output size of another model.

    Its depth is a plane in front of the camera plus a small share of the image's red channel.
    """
    import onnx

    info = model.info
    image = np.zeros((1, info.input_height, info.input_width, 3), np.uint8)
    h, w = create_backend(model, "cpu", 1).infer(image)["depth"].shape[2:]
    make = onnx.helper
    rows = np.linspace(0, info.input_height - 1, h).astype(np.int64)
    columns = np.linspace(0, info.input_width - 1, w).astype(np.int64)
    constants = {
        "rows": rows,
        "columns": columns,
        "red": np.array([0], np.int64),
        "scale": np.array(0.002, np.float32),
        "plane": np.array(2.0, np.float32),
    }
    nodes = [
        make.make_node("Gather", ["image", "rows"], ["a"], axis=1),
        make.make_node("Gather", ["a", "columns"], ["b"], axis=2),
        make.make_node("Gather", ["b", "red"], ["c"], axis=3),
        make.make_node("Cast", ["c"], ["d"], to=onnx.TensorProto.FLOAT),
        make.make_node("Mul", ["d", "scale"], ["e"]),
        make.make_node("Add", ["e", "plane"], ["f"]),
        make.make_node("Transpose", ["f"], ["depth"], perm=[0, 3, 1, 2]),
    ]
    graph = make.make_graph(
        nodes,
        "empty",
        [make.make_tensor_value_info("image", onnx.TensorProto.UINT8, ("N", info.input_height, info.input_width, 3))],
        [make.make_tensor_value_info("depth", onnx.TensorProto.FLOAT, ("N", 1, h, w))],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    empty = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    empty.metadata_props.add(key=METADATA_KEY, value=replace(info, name="empty").to_json())
    onnx.save(empty, path)
    return path


def _camera(camera: PinholeCamera, rate: float) -> BenchCamera:
    from depth_estimation_ros.bench.node_camera import BenchCamera

    return BenchCamera(camera, rate)


class _Bench:
    """Node under test, with this process as its camera and subscriber."""

    def __init__(self, stage: Stage[BenchCamera], model: Path, progress: Progress, task: TaskID):
        self._stage, self._client, self._progress, self._task = stage, stage.client, progress, task
        parameters = {"model": str(model), "threads": 1, "camera_height": 1.3, "camera_pitch": 0.16}
        stage.start("node", DEPTH_NODE, parameters)
        if not stage.spin(START_SECONDS, lambda: self._client.diagnostics):
            raise StageError(f"the node was not active within {START_SECONDS:.0f} s: {stage.last_line('node')}")
        progress.start_task(task)

    def subscribe(self) -> None:
        """Subscribe to the outputs, and wait for the first depth image."""
        self._client.subscribe()
        if not self._stage.spin(START_SECONDS, lambda: self._client.frames):
            raise StageError(f"the node published no depth: {self._stage.last_line('node')}")

    def cores(self, seconds: float) -> tuple[float, int]:
        """Return the number of cores that the node uses, and the number of received depth images."""
        self._run(_WARM_UP_S)
        process = self._stage.processes["node"].pid
        before, frames, start = Usage.of(process), self._client.frames, time.monotonic()
        self._run(seconds)
        used = Usage.of(process).cpu_s - before.cpu_s
        return used / (time.monotonic() - start), self._client.frames - frames

    def stages(self) -> dict[str, float]:
        """Return the node's median time of each stage in milliseconds."""
        end = "_ms_p50"
        return {name[: -len(end)]: float(v) for name, v in self._client.diagnostics.items() if name.endswith(end)}

    def _run(self, seconds: float) -> None:
        self._stage.spin(seconds)
        self._progress.advance(self._task, seconds)


def _table(result: dict) -> Table:
    table = Table(
        title=f"processor time of the node's process, {result['image']} at {result['rate_hz']:g} Hz, in % of one core",
        title_justify="left",
    )
    table.add_column("")
    table.add_column("%", justify="right")
    rows = {
        "receiving images, nobody subscribes": result["receiving"],
        "depth image, cloud and scan, without inference": result["without_inference"],
        f"the same with {result['model']}": result["with_model"],
        "inference (difference)": result["inference"],
    }
    for name, cores in rows.items():
        table.add_row(name, f"{100 * cores:.1f}")
    table.add_section()
    table.add_row("all of the node over inference", "-" if result["ratio"] is None else f"{result['ratio']:.2f} times")
    return table


if __name__ == "__main__":
    sys.exit(main())
