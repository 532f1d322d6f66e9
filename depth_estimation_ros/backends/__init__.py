"""Engines that run a model, one module each, behind one small protocol."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from depth_estimation_ros.model import Model
from depth_estimation_ros.support.sentences import choices, quoted, reason

BACKENDS = ("auto", "cpu", "cuda", "tensorrt", "tensorrt_rtx", "openvino")
PRECISIONS = ("fp32", "fp16", "int8", "best")
"""Of a TensorRT engine."""

MAX_THREADS = 256
"""CPU threads that an engine can be told to use."""


class BackendError(RuntimeError):
    """A backend that cannot be had or has failed; the message says why and what to do."""


class EngineLostError(BackendError):
    """A device that this program cannot use any more."""


@dataclass(frozen=True)
class EngineOptions:
    """
    What there is to choose of an engine besides its threads; all but ``callers`` is for those that TensorRT builds.

    Parameters
    ----------
    precision : {"fp32", "fp16", "int8", "best"}
        See `backends.tensorrt.builder.BuildOptions`.
    cache : str
        Folder where engines are kept; empty for the user's cache folder.
    calibration : str
        Images, video or bag that a new engine is compared with its model on; empty for rendered rooms.
    plan : str
        An engine to run as it is, from outside the cache; empty for none.
    progress : callable
        Takes what is being done, and the fraction of it that is done; called from any thread.
    cancelled : threading.Event
        Breaks a build off once it is set.
    log : callable
        Takes a sentence.
    callers : int
        Cameras that are to share the engine.
    """

    precision: str = "fp16"
    cache: str = ""
    calibration: str = ""
    plan: str = ""
    progress: Callable[[str, float], None] = lambda *_: None
    cancelled: threading.Event = field(default_factory=threading.Event)
    log: Callable[[str], None] = lambda _: None
    callers: int = 1


class Backend(Protocol):
    """
    What the estimator asks of an engine. One thread uses it, the one that made it, unless it is ``concurrent``.

    An engine whose device can be lost has an attribute ``lost`` as well, which says why it is and is empty while it is
    not; one with more to say of itself than its name has a method ``facts``.

    Attributes
    ----------
    name : str
        For logs and diagnostics.
    concurrent : bool
        Whether calls of several threads run side by side, in less time than one after the other.
    max_batch : int
        Images that one call takes in less time than as many calls; 1 where that is not so, or not possible.
    """

    name: str
    concurrent: bool
    max_batch: int

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """
        Run the network.

        Parameters
        ----------
        images : numpy.ndarray
            uint8 [N, H, W, 3], RGB, of the model's input size.

        Returns
        -------
        dict
            Every output of the model by name (`Model.outputs`), float32 [N, 1, h, w] each: ``depth``, metres at the
            model's focal length, and from models that have it ``log_variance``, the logarithm of the variance of
            its error in square metres.

        Raises
        ------
        BackendError
            If the engine fails.
        """
        ...


def facts(backend: Backend) -> dict[str, str]:
    """Return what there is to say of an engine, by name: for diagnostics."""
    return {"backend": backend.name, **getattr(backend, "facts", dict)()}


def create_backend(
    model: Model, backend: str = "auto", threads: int = 0, engine: EngineOptions | None = None
) -> Backend:
    """
    Make the engine for a model.

    Parameters
    ----------
    model : Model
        A checked model, as `load_model` gives it.
    backend : {"auto", "cpu", "cuda", "tensorrt", "tensorrt_rtx", "openvino"}
        ``"cpu"`` and ``"cuda"`` are ONNX Runtime's. ``"auto"`` takes CUDA where this machine's ONNX Runtime has it,
        else the CPU: with OpenVINO where that is installed on an x86-64 machine, else with ONNX Runtime.
    threads : int
        CPU threads of the engine, 0 to 256; 0 for all cores.
    engine : EngineOptions, optional
        What else there is to choose. TensorRT may build for minutes.

    Returns
    -------
    Backend
        That has computed one image already.

    Raises
    ------
    BackendError
        If the engine is unknown, this machine does not have it, or it does not compute the model.
    CancelledError
        If a build was broken off (`concurrent.futures`).
    """
    if backend not in BACKENDS:
        raise BackendError(f"backend {quoted(backend)} is unknown; choose one of: {choices(BACKENDS)}")
    if not isinstance(threads, int) or not 0 <= threads <= MAX_THREADS:
        raise BackendError(f"threads must be a whole number from 0 to {MAX_THREADS}, got {quoted(threads)}")
    try:
        made = _make(model, backend, threads, engine or EngineOptions())
        _must_compute(made, model)
    except (BackendError, CancelledError):
        raise
    except Exception as error:  # whatever an engine, or one of the many libraries behind it, makes of a model
        raise BackendError(
            f"backend {backend} cannot run model {quoted(model.path)}: {reason(error)}; choose another backend, or "
            "export the model again"
        ) from error
    return made


def _make(model: Model, backend: str, threads: int, engine: EngineOptions) -> Backend:
    if backend == "auto":
        backend = _best()
    if backend == "openvino":
        from depth_estimation_ros.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(model, threads, engine.callers)
    if backend in ("tensorrt", "tensorrt_rtx"):
        from depth_estimation_ros.backends.tensorrt.engine import open_engine

        return open_engine(model, backend, engine)
    from depth_estimation_ros.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(model, backend, threads, engine.callers)


def _must_compute(backend: Backend, model: Model) -> None:
    """Let an engine compute a black image: some refuse only then what they took before."""
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
    """Return the fastest engine of this machine that computes in float32 (`python -m training.bench` compares them)."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return "cuda"
    # Not measured on ARM, where OpenVINO computes by other libraries.
    return "openvino" if platform.machine() == "x86_64" and find_spec("openvino") else "cpu"
