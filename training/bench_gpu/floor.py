"""
The least time that a network can take on a device: what it must compute and move, over what the device can.

Both are measured where the benchmark runs, not taken from data sheets: the peak of a precision is that of a large
matrix product or a large convolution, whichever is faster; the bandwidth is that of a large copy, bytes read and bytes
written together. The network must do the multiply-adds of its convolutions, read its weights and images once and write
its outputs once. An engine that keeps nothing between layers on the chip moves far more, which is part of what its
ratio to the floor shows.
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
    How large the operations are that ceilings are measured with.

    Parameters
    ----------
    matrix : int
        Rows and columns.
    batch, channels, side : int
        Of a 3x3 convolution's input, whose channels stay as many.
    copied : int
        Bytes.
    repeats : int
        Of each operation; the fastest counts.
    """

    matrix: int
    batch: int
    channels: int
    side: int
    copied: int
    repeats: int


# Large enough to fill the largest GPU and its caches; small enough to exercise the code on a CPU.
SIZES = {"cuda": Sizes(8192, 64, 256, 64, 1 << 29, 20), "cpu": Sizes(256, 2, 32, 32, 1 << 22, 3)}


@dataclass(frozen=True)
class Ceilings:
    """
    What a device can do, measured.

    Parameters
    ----------
    bandwidth : float
        Bytes per second of its memory, read and written together.
    peaks : dict
        By precision, operations per second of ``matmul`` and ``convolution``; a multiply-add is two.
    """

    bandwidth: float
    peaks: dict[str, dict[str, float]]

    def floor(self, work: Work, precision: str, batch: int) -> float | None:
        """Return the least milliseconds of a batch in a precision; None if its peak could not be measured."""
        if precision not in self.peaks:
            return None
        computing = batch * work.operations / max(self.peaks[precision].values())
        moving = (work.parameters * _BYTES[precision] + batch * work.image_bytes) / self.bandwidth
        return 1e3 * max(computing, moving)

    def facts(self) -> dict:
        """Return the figures for a file."""
        return asdict(self)


@dataclass(frozen=True)
class Work:
    """
    What a network has to do for an image.

    Parameters
    ----------
    operations : int
        Of its convolutions and matrix products; a multiply-add is two.
    parameters : int
        Number of weights.
    image_bytes : int
        Bytes of an image and its outputs.
    """

    operations: int
    parameters: int
    image_bytes: int


def allow_tf32(allowed: bool) -> None:
    """Let PyTorch compute float32 on a GPU in TF32, or not, from now on."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def elapsed(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of a call: on a GPU between two events in its stream, so without the way to it and back."""
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
    Measure what a device can do.

    Parameters
    ----------
    device : torch.device
        A GPU or the CPU.
    sizes : Sizes, optional
        Those of `SIZES` without it.

    Returns
    -------
    ceilings : Ceilings
        With the precisions that the device has.
    skipped : list of str
        A sentence for each that it has not.
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
    """Return large operations of a precision by name, each with its number of operations. Random: zeros run faster."""
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
    Count what a model in the contract's form has to do for one image.

    Parameters
    ----------
    path : pathlib.Path
        A checked ONNX file.
    """
    import onnx

    model = onnx.load(path)
    del model.graph.value_info[:]  # the exporter's, for a batch of any size
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
    operations = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            # Every value of the output, or of a transposed convolution's input, meets all of a filter.
            values = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
            weight = shapes[node.input[1]]
            operations += 2 * math.prod(values) * math.prod(weight[1:])
        elif node.op_type in ("Gemm", "MatMul"):
            # Of a product of [.., m, k] and [k, n] or [n, k]: each of the second's values is used m times.
            rows = math.prod(shapes[node.output[0]]) // shapes[node.output[0]][-1]
            operations += 2 * rows * math.prod(shapes[node.input[1]])
    parameters = sum(math.prod(tensor.dims) for tensor in graph.initializer)
    outputs = sum(4 * math.prod(shapes[output.name]) for output in graph.output)
    return Work(operations, parameters, math.prod(shapes[graph.input[0].name]) + outputs)
