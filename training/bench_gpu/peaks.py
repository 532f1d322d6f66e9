"""
Peaks of a device, measured with PyTorch.

The peak of a precision is that of a large matrix product or a large convolution, whichever is faster. The bandwidth is
that of a large copy, with bytes read and written added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import torch
from torch.nn import functional as F

from training.bench_gpu.floor import Ceilings

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""By precision; tf32 is float32 of which a GPU's matrix units read 10 bits of mantissa."""


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
    torch.backends.cudnn.benchmark = True
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
