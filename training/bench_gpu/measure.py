"""Timing and comparison of one engine."""

from __future__ import annotations

from statistics import median, quantiles
from time import perf_counter

import numpy as np
import torch

from depth_estimation_ros.backends import Backend, BackendError
from depth_estimation_ros.backends.tensorrt.parity import relative_difference

REPEATS = {"cuda": 100, "cpu": 3}
"""Measurements of an engine at a batch of 1; at others a third."""

_DEVICE_REPEATS = 10


class Memory:
    """
    Memory that an engine takes on the device.

    For PyTorch it is the weights and the peak of what is allocated beside them, for other engines all that they keep.

    Parameters
    ----------
    device : torch.device
        GPU. On the CPU, nothing is counted.
    """

    def __init__(self, device: torch.device):
        self._counted = device.type == "cuda"
        self._others, self._ours = self._others_now(), torch.cuda.memory_allocated() if self._counted else 0

    def _others_now(self) -> int:
        """Return the bytes used on the GPU by everything except PyTorch."""
        if not self._counted:
            return 0
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        return total - free - torch.cuda.memory_reserved()

    def begin(self) -> None:
        """Forget the peaks of earlier batch sizes."""
        if self._counted:
            torch.cuda.reset_peak_memory_stats()

    def taken(self) -> dict[str, float]:
        """Return ``memory_mib``, what was taken since this object was made; nothing on the CPU."""
        if not self._counted:
            return {}
        peak = torch.cuda.max_memory_allocated() - self._ours
        return {"memory_mib": max(peak, self._others_now() - self._others, 0) / 2**20}


def difference(backend: Backend, frames: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """
    Compare the depth of an engine with that of the model.

    Parameters
    ----------
    backend : Backend
        The engine.
    frames : numpy.ndarray
        uint8 [n, height, width, 3].
    wanted : numpy.ndarray
        The model's depth of the frames, float32 [n, 1, h, w].

    Returns
    -------
    dict
        ``mean_difference`` and ``p99_difference``: mean and 99th percentile of the relative difference.

    Raises
    ------
    BackendError
        If the depth has another shape or is not finite.
    """
    depth = np.concatenate([backend.infer(frame[None])["depth"] for frame in frames])
    if depth.shape != wanted.shape:
        raise BackendError(f"its depth is {list(depth.shape)}, the model's {list(wanted.shape)}")
    relative = relative_difference(depth, wanted)
    if not np.isfinite(relative).all():
        raise BackendError("its depth is not finite")
    return {"mean_difference": float(relative.mean()), "p99_difference": float(np.percentile(relative, 99))}


def timing(backend: Backend, images: np.ndarray, device: torch.device) -> dict[str, float]:
    """
    Time a warm engine, from images in memory to depth in memory.

    Parameters
    ----------
    backend : Backend
        Engine that has computed this batch size.
    images : numpy.ndarray
        Batch, uint8 [n, height, width, 3].
    device : torch.device
        Device of the engine.

    Returns
    -------
    dict
        ``ms``, the median time of the batch with its copies, its 95th percentile ``p95_ms``, ``images_per_second``, and
        ``device_ms``, the median without copies, of an engine that can measure it.
    """
    repeats, taken = REPEATS[device.type], []
    for _ in range(repeats if len(images) == 1 else max(2, repeats // 3)):
        started = perf_counter()
        backend.infer(images)
        taken.append(1e3 * (perf_counter() - started))
    figures = {"ms": median(taken), "p95_ms": quantiles(taken, n=20, method="inclusive")[-1]}
    figures["images_per_second"] = 1e3 * len(images) / figures["ms"]
    if hasattr(backend, "device_seconds"):
        repeats = min(_DEVICE_REPEATS, repeats)
        figures["device_ms"] = 1e3 * median([backend.device_seconds() for _ in range(repeats)])
    return figures


def sentence_of(error: BaseException) -> str:
    """Return the message of an engine's error as one sentence."""
    text = str(error).strip().partition("\n")[0][:300]
    out_of_memory = any(sign in text.lower() for sign in ("out of memory", "failed to allocate", "alloc_failed"))
    if out_of_memory or isinstance(error, torch.OutOfMemoryError):
        return "out of memory"
    return text or type(error).__name__
