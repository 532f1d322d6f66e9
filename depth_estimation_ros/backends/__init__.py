"""Backends that run a model: one module each, behind one protocol."""

from __future__ import annotations

import platform
from concurrent.futures import CancelledError
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from depth_estimation_ros.backends.errors import BackendError, EngineLostError
from depth_estimation_ros.backends.options import BACKENDS, MAX_THREADS, PRECISIONS, EngineOptions
from depth_estimation_ros.model import Model
from depth_estimation_ros.support.sentences import choices, quoted, reason

__all__ = [
    "BACKENDS",
    "MAX_THREADS",
    "PRECISIONS",
    "Backend",
    "BackendError",
    "EngineLostError",
    "EngineOptions",
    "create_backend",
    "facts",
]


class Backend(Protocol):
    """
    Protocol of an engine that runs a model. Only the thread that created it may use it, unless it is ``concurrent``.

    Optional members: an engine whose device can be lost has an attribute ``lost`` (str), the reason of the loss, or
    empty. An engine with more facts than its name has a method ``facts``.

    Attributes
    ----------
    name : str
        For logs and diagnostics.
    concurrent : bool
        Whether several threads may call `infer` at the same time, and this takes less time than sequential calls.
    max_batch : int
        Largest batch that is faster than separate calls; 1 if batches are slower or not possible.
    """

    name: str
    concurrent: bool
    max_batch: int

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """
        Run the model.

        Parameters
        ----------
        images : numpy.ndarray
            uint8 [N, H, W, 3], RGB, of the model's input size.

        Returns
        -------
        dict
            Outputs of the model by name (`Model.outputs`), each float32 [N, 1, h, w]: ``depth``, in metres for the
            model's focal length, and for models that have it ``log_variance``, natural logarithm of the variance of the
            depth error in square metres.

        Raises
        ------
        BackendError
            If the engine fails.
        """
        ...


def facts(backend: Backend) -> dict[str, str]:
    """Return facts about an engine by name, for diagnostics."""
    return {"backend": backend.name, **getattr(backend, "facts", dict)()}


def create_backend(
    model: Model, backend: str = "auto", threads: int = 0, options: EngineOptions | None = None
) -> Backend:
    """
    Create the engine for a model and run it once.

    Parameters
    ----------
    model : Model
        Checked model, from `load_model`.
    backend : {"auto", "cpu", "cuda", "tensorrt", "tensorrt_rtx", "openvino"}
        ``"cpu"`` and ``"cuda"`` use ONNX Runtime. ``"auto"`` uses CUDA if the installed ONNX Runtime supports it,
        otherwise the CPU: OpenVINO if it is installed on an x86-64 machine, else ONNX Runtime.
    threads : int
        Number of CPU threads of the engine, 0 to 256; 0 uses all cores.
    options : EngineOptions, optional
        Further options. TensorRT may build for minutes.

    Returns
    -------
    Backend
        Engine that has already computed one image.

    Raises
    ------
    BackendError
        If the backend is unknown, not available on this machine, or cannot compute the model.
    CancelledError
        If a build was cancelled (`concurrent.futures`).
    """
    if backend not in BACKENDS:
        raise BackendError(f"backend {quoted(backend)} is unknown; choose one of: {choices(BACKENDS)}")
    if not isinstance(threads, int) or not 0 <= threads <= MAX_THREADS:
        raise BackendError(f"threads must be a whole number from 0 to {MAX_THREADS}, got {quoted(threads)}")
    try:
        made = _make(model, backend, threads, options or EngineOptions())
        _must_compute(made, model)
    except (BackendError, CancelledError):
        raise
    except Exception as error:  # engines and the libraries behind them raise many types
        raise BackendError(
            f"backend {backend} cannot run model {quoted(model.path)}: {reason(error)}; choose another backend, or "
            "export the model again"
        ) from error
    return made


def _make(model: Model, backend: str, threads: int, options: EngineOptions) -> Backend:
    if backend == "auto":
        backend = _best()
    if backend == "openvino":
        from depth_estimation_ros.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(model, threads, options.cameras)
    if backend in ("tensorrt", "tensorrt_rtx"):
        from depth_estimation_ros.backends.tensorrt.engine import open_engine

        return open_engine(model, backend, options)
    from depth_estimation_ros.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(model, backend, threads, options.cameras)


def _must_compute(backend: Backend, model: Model) -> None:
    """Run a black image and check the outputs: some engines accept a model and fail only at the first inference."""
    info = model.info
    try:
        outputs = backend.infer(np.zeros((1, info.input_height, info.input_width, 3), np.uint8))
    except EngineLostError:
        raise
    except Exception as error:
        raise BackendError(
            f"model {quoted(model.path)} cannot be used: its first inference fails ({reason(error)}); export it again, "
            "or choose another backend"
        ) from error
    shapes = {name: (array.dtype, array.shape) for name, array in outputs.items()}
    depth = shapes["depth"]
    if depth[0] != np.float32 or len(depth[1]) != 4 or depth[1][:2] != (1, 1) or not outputs["depth"].size:
        raise BackendError(
            f"model {quoted(model.path)} cannot be used: its depth of one image is {depth[0]} {list(depth[1])}, the "
            "contract asks for float32 [1, 1, h, w]; export it again"
        )
    if shapes.get("log_variance", depth) != depth:
        raise BackendError(
            f"model {quoted(model.path)} cannot be used: its log_variance has the shape "
            f"{list(shapes['log_variance'][1])}, its depth {list(depth[1])}; export it again"
        )


def _best() -> str:
    """Return the fastest CPU engine that computes in float32 (compared by `python -m training.bench`)."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return "cuda"
    # Not measured on ARM, where OpenVINO uses other libraries.
    return "openvino" if platform.machine() == "x86_64" and find_spec("openvino") else "cpu"
