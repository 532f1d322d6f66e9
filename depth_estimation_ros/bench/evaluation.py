"""
Measure the memory of evaluate_bag on long recordings: ``python -m depth_estimation_ros.bench.evaluation``.

Writes bags with many small frames and ground truth depth, and a very fast model, and runs the command on them. Prints
the peak memory of the command and its workers, and the increase per frame compared with the previous bag.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depth_estimation_ros.bench.usage import Usage
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.model import METADATA_KEY, ModelInfo

CAMERA = PinholeCamera(32, 24, 30.0, 30.0, 15.5, 11.5)
RATE = 30.0  # frames per second
_PICTURES = 64  # number of distinct images


@dataclass(frozen=True)
class Memory:
    """
    Memory of a run of evaluate_bag.

    Parameters
    ----------
    command_mb, worker_mb : float
        Peak memory of the command, and of its largest worker (proc(5), VmHWM), MB.
    seconds : float
        Duration of the run.
    metrics : dict
        Metrics of the report.
    """

    command_mb: float
    worker_mb: float
    seconds: float
    metrics: dict


def write_model(path: Path) -> Path:
    """Write a model whose depth in metres is a tenth of the local mean of the red channel."""
    import onnx
    from onnx import TensorProto, helper

    info = ModelInfo(
        name="red",
        input_width=CAMERA.width,
        input_height=CAMERA.height,
        focal_length=CAMERA.fx,
        min_depth=0.1,
        max_depth=30.0,
        training_data="none",
        licence="Apache-2.0",
        source_sha256="0" * 64,
    )
    kernel = onnx.numpy_helper.from_array(np.array([0.1, 0, 0], np.float32).reshape(1, 3, 1, 1), "kernel")
    nodes = [
        helper.make_node("Cast", ["image"], ["colour"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["colour"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["depth"]),
    ]
    size = CAMERA.height, CAMERA.width
    given = helper.make_tensor_value_info("image", TensorProto.UINT8, ("N", *size, 3))
    made = helper.make_tensor_value_info("depth", TensorProto.FLOAT, ("N", 1, *size))
    graph = helper.make_graph(nodes, "red", [given], [made], [kernel])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model.metadata_props.add(key=METADATA_KEY, value=info.to_json())
    onnx.save(model, path)
    return path


def write_recording(path: Path, frames: int) -> Path:
    """Write a bag of frames with an error that varies within seconds, as for a moving camera."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_JAZZY)
    kinds = {name: f"sensor_msgs/msg/{name}" for name in ("Image", "CameraInfo", "RegionOfInterest")}
    image, info, region = (types.types[kind] for kind in kinds.values())
    random = np.random.default_rng(0)
    pictures = random.integers(10, 100, (_PICTURES, CAMERA.height, CAMERA.width, 3), np.uint8)
    noise = 1 + 0.3 * np.sin(np.arange(frames) / 20) * random.uniform(0, 1, frames)
    k, p = CAMERA.k.ravel(), np.hstack([CAMERA.k, np.zeros((3, 1))]).ravel()
    size = {"height": CAMERA.height, "width": CAMERA.width}
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {"/image": "Image", "/depth": "Image", "/camera_info": "CameraInfo"}
        connections = {
            topic: writer.add_connection(topic, kinds[kind], typestore=types) for topic, kind in topics.items()
        }
        for number in range(frames):
            moment = 10**12 + round(number * 1e9 / RATE)
            stamp = types.types["builtin_interfaces/msg/Time"](sec=moment // 10**9, nanosec=moment % 10**9)
            header = types.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
            rgb = pictures[number % _PICTURES]
            depth = (rgb[..., 0] * (100 * noise[number])).astype(np.uint16)
            plain: dict[str, Any] = {"header": header, **size, "is_bigendian": 0}
            messages = {
                "/image": image(**plain, encoding="rgb8", step=rgb[0].nbytes, data=rgb.reshape(-1)),
                "/depth": image(**plain, encoding="16UC1", step=depth[0].nbytes, data=depth.view(np.uint8).reshape(-1)),
                "/camera_info": info(
                    header=header,
                    **size,
                    distortion_model="plumb_bob",
                    d=np.zeros(5),
                    k=k,
                    r=np.eye(3).ravel(),
                    p=p,
                    binning_x=0,
                    binning_y=0,
                    roi=region(0, 0, 0, 0, False),
                ),
            }
            for topic, message in messages.items():
                writer.write(connections[topic], moment, types.serialize_cdr(message, kinds[topics[topic]]))
    return path


def measure(bag: Path, model: Path, output: Path, jobs: int = 1) -> Memory:
    """
    Run ``evaluate_bag`` and measure its memory.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    line = [sys.executable, "-m", "depth_estimation_ros.tools.evaluate_bag", str(bag), "--model", str(model)]
    line += ["--output", str(output), "--jobs", str(jobs), "--threads", "1", "--no-bag-output"]
    begin, command, worker = time.monotonic(), 0.0, 0.0
    with open(output.with_suffix(".log"), "w+b") as log, subprocess.Popen(line, stdout=log, stderr=log) as process:
        while process.poll() is None:
            try:
                command = max(command, Usage.of(process.pid).peak_mb)
                workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                worker = max([worker, *(Usage.of(int(pid)).peak_mb for pid in workers)])
            except (ProcessLookupError, FileNotFoundError):
                continue  # has just ended
            time.sleep(0.05)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"evaluate_bag failed: {log.read().decode(errors='replace')[-2000:]}")
    metrics = json.loads((output / "metrics.json").read_text())
    return Memory(command, worker, time.monotonic() - begin, metrics)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m depth_estimation_ros.bench.evaluation", description=__doc__)
    parser.add_argument(
        "--frames", type=int, nargs="+", default=[50_000, 500_000], metavar="N", help="one run for each"
    )
    parser.add_argument("--jobs", type=int, default=1, help="workers (1)")
    chosen = parser.parse_args()
    if min(*chosen.frames, chosen.jobs) < 1:
        parser.error("--frames and --jobs must be positive")
    before = None
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder) / "red.onnx")
        for frames in chosen.frames:
            bag = write_recording(Path(folder) / f"of_{frames}", frames)
            found = measure(bag, model, Path(folder) / f"report_{frames}", chosen.jobs)
            text = f"{frames} frames in {found.seconds:.0f} s: command {found.command_mb:.0f} MB, "
            text += f"a worker {found.worker_mb:.0f} MB"
            if before is not None and frames > before[0]:
                more = [now - then for now, then in zip((found.command_mb, found.worker_mb), before[1:], strict=True)]
                each = [megabytes * 1e6 / (frames - before[0]) for megabytes in more]
                text += f"; of each further frame {each[0]:.0f} and {each[1]:.0f} bytes"
            print(text, flush=True)
            before = frames, found.command_mb, found.worker_mb


if __name__ == "__main__":
    main()
