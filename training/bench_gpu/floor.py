"""
The shortest time that a network can take on a device (floor), from the work of the network and the peaks of the device.

The peaks are measured on the device, not taken from data sheets. The peak of a precision is that of a large matrix
product or a large convolution, whichever is faster. The bandwidth is that of a large copy, with bytes read and written
added. The network must do the multiply-adds of its convolutions, read its weights and images once and write its outputs
once. An engine that keeps nothing on the chip between layers moves far more data, which its ratio to the floor shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from torch.nn import functional as F

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""By precision; tf32 is float32 of which a GPU's matrix units read 10 bits of mantissa."""

_BYTES = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1}


@dataclass(frozen=True)
class Sizes:
    """
    Sizes of the operations that measure the peaks.

    Parameters
    ----------
    matrix : int
        Rows and columns of a matrix.
    batch, channels, side : int
        Shape of the input of a 3x3 convolution that keeps the number of channels.
    copied : int
        Bytes of a copy.
    repeats : int
        Repetitions of each operation; the fastest counts.
    """

    matrix: int
    batch: int
    channels: int
    side: int
    copied: int
    repeats: int


# Sizes for a GPU fill the largest one and its caches; those for a CPU only exercise the code.
SIZES = {"cuda": Sizes(8192, 64, 256, 64, 1 << 29, 20), "cpu": Sizes(256, 2, 32, 32, 1 << 22, 3)}


@dataclass(frozen=True)
class Ceilings:
    """
    Measured peaks of a device.

    Parameters
    ----------
    bandwidth : float
        Memory bandwidth, bytes per second read and written.
    peaks : dict
        Operations per second of ``matmul`` and ``convolution`` by precision. A multiply-add is two operations.
    """

    bandwidth: float
    peaks: dict[str, dict[str, float]]

    def floor(self, work: Work, precision: str, batch: int) -> float | None:
        """Return the shortest time of a batch in milliseconds; None if the peak of the precision is unknown."""
        if precision not in self.peaks:
            return None
        computing = batch * work.operations / max(self.peaks[precision].values())
        moving = (work.parameters * _BYTES[precision] + batch * work.image_bytes) / self.bandwidth
        return 1e3 * max(computing, moving)

    def facts(self) -> dict:
        """Return the figures for the JSON file."""
        return asdict(self)


@dataclass(frozen=True)
class Work:
    """
    Work of a network for one image.

    Parameters
    ----------
    operations : int
        Operations of its convolutions and matrix products. A multiply-add is two operations.
    parameters : int
        Number of weights.
    image_bytes : int
        Bytes of an image and its outputs.
    """

    operations: int
    parameters: int
    image_bytes: int


def allow_tf32(allowed: bool) -> None:
    """Set whether PyTorch may compute float32 on a GPU in TF32."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def elapsed(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of a call. On a GPU, two events in its stream measure them, without the latency to the CPU."""
    if device.type != "cuda":
        started = perf_counter()
        call()
        return perf_counter() - started
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    call()
    after.record()
    after.synchronize()
    return 1e-3 * before.elapsed_time(after)


@torch.inference_mode()
def measure_ceilings(device: torch.device, sizes: Sizes | None = None) -> tuple[Ceilings, list[str]]:
    """
    Measure the peaks of a device.

    Parameters
    ----------
    device : torch.device
        GPU, or the CPU.
    sizes : Sizes, optional
        Sizes of the operations; by default those of `SIZES`.

    Returns
    -------
    ceilings : Ceilings
        Peaks in the precisions that the device supports.
    skipped : list of str
        One sentence for each precision that it does not support.
    """
    sizes = sizes or SIZES[device.type]

    def fastest(call: Callable[[], object]) -> float:
        return min([elapsed(call, device) for _ in range(sizes.repeats + 2)][2:])

    source = torch.randint(0, 256, (sizes.copied,), dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    bandwidth = 2 * sizes.copied / fastest(partial(target.copy_, source))
    del source, target
    peaks, skipped = {}, []
    for precision in (*DTYPES, "int8"):
        if precision == "tf32" and device.type == "cpu":
            continue
        try:
            calls = _products(precision, device, sizes)
            peaks[precision] = {name: count / fastest(call) for name, (count, call) in calls.items()}
        except (RuntimeError, AttributeError) as error:  # PyTorch's own are RuntimeErrors
            skipped.append(f"{precision}: its peak could not be measured ({str(error).splitlines()[0]})")
    return Ceilings(bandwidth, peaks), skipped


def _products(precision: str, device: torch.device, sizes: Sizes) -> dict[str, tuple[int, Callable[[], object]]]:
    """Return large calls by name, each with its number of operations. Values are random, as zeros run faster."""
    n, count = sizes.matrix, 2 * sizes.matrix**3
    if precision == "int8":
        a, b = (torch.randint(-128, 128, (n, n), dtype=torch.int8, device=device) for _ in range(2))
        return {"matmul": (count, lambda: torch._int_mm(a, b.t()))}
    allow_tf32(precision == "tf32")
    dtype, width, side = DTYPES[precision], sizes.channels, sizes.side
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    x, weight = (
        torch.randn(shape, device=device).to(dtype, memory_format=torch.channels_last)
        for shape in ((sizes.batch, width, side, side), (width, width, 3, 3))
    )
    return {
        "matmul": (count, lambda: a @ b),
        "convolution": (18 * sizes.batch * width**2 * side**2, lambda: F.conv2d(x, weight, padding=1)),
    }


def work_of(path: Path) -> Work:
    """
    Count the work of an ONNX file of the model contract for one image.

    Parameters
    ----------
    path : pathlib.Path
        A checked ONNX file.
    """
    import onnx

    model = onnx.load(path)
    del model.graph.value_info[:]  # shapes of the exporter, for any batch size
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
    operations = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            # Each value of the output, or of the input of a transposed convolution, is multiplied with a whole filter.
            values = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
            weight = shapes[node.input[1]]
            operations += 2 * math.prod(values) * math.prod(weight[1:])
        elif node.op_type in ("Gemm", "MatMul"):
            # In a product of [.., m, k] and [k, n] or [n, k], each value of the second is used m times.
            rows = math.prod(shapes[node.output[0]]) // shapes[node.output[0]][-1]
            operations += 2 * rows * math.prod(shapes[node.input[1]])
    parameters = sum(math.prod(tensor.dims) for tensor in graph.initializer)
    outputs = sum(4 * math.prod(shapes[output.name]) for output in graph.output)
    return Work(operations, parameters, math.prod(shapes[graph.input[0].name]) + outputs)
