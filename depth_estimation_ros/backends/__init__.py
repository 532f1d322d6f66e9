"""Engines that run a model, one module each, behind one small protocol."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from depth_estimation_ros.model import Model

BACKENDS = ("auto", "cpu", "cuda", "tensorrt", "openvino")


class BackendError(RuntimeError):
    """A backend that cannot be had or has failed; the message says why and what to do."""


class Backend(Protocol):
    """What the estimator asks of an engine. One thread uses it: the one that made it."""

    name: str

    def infer(self, images: np.ndarray) -> np.ndarray:
        """
        Run the network.

        Parameters
        ----------
        images : numpy.ndarray
            uint8 [N, H, W, 3], RGB, of the model's input size.

        Returns
        -------
        numpy.ndarray
            float32 [N, 1, h, w], metres at the model's focal length.
        """
        ...


def create_backend(model: Model, backend: str = "auto", threads: int = 0) -> Backend:
    """
    Make the engine for a model.

    Parameters
    ----------
    model : Model
        A checked model.
    backend : {"auto", "cpu", "cuda", "tensorrt", "openvino"}
        ``"auto"`` takes CUDA where this machine's ONNX Runtime has it, else the CPU.
    threads : int
        CPU threads of the engine, 0 for all cores.

    Raises
    ------
    BackendError
        If the engine is unknown or this machine does not have it.
    """
    if backend not in BACKENDS:
        raise BackendError(f"backend {backend!r} is unknown; choose one of: {', '.join(BACKENDS)}")
    from depth_estimation_ros.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(model, backend, threads)
