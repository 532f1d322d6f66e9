"""Find TensorRT and its features. Features are detected from its classes and enumerations, not from its version."""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from depth_estimation_ros.backends import BackendError

NAMES = ("tensorrt", "tensorrt_rtx")
"""TensorRT and TensorRT for RTX. Both modules have the same interface, so either can be used."""

NEEDED = {
    "ILogger": ("log",),
    "Builder": (
        "create_network",
        "create_builder_config",
        "create_optimization_profile",
        "build_serialized_network",
    ),
    "IBuilderConfig": (
        "set_flag",
        "clear_flag",
        "set_memory_pool_limit",
        "add_optimization_profile",
        "create_timing_cache",
        "set_timing_cache",
        "get_timing_cache",
    ),
    "IOptimizationProfile": ("set_shape",),
    "INetworkDefinition": ("num_inputs", "get_input"),
    "ITimingCache": ("serialize",),
    "OnnxParser": ("parse", "num_errors", "get_error"),
    "ParserError": ("desc",),
    "MemoryPoolType": ("WORKSPACE",),
    "Runtime": ("deserialize_cuda_engine",),
    "ICudaEngine": (
        "create_execution_context",
        "num_io_tensors",
        "get_tensor_name",
        "get_tensor_mode",
        "get_tensor_dtype",
    ),
    "IExecutionContext": (
        "set_input_shape",
        "get_tensor_shape",
        "set_tensor_address",
        "execute_async_v3",
    ),
    "TensorIOMode": ("INPUT",),
    "DataType": ("FLOAT", "UINT8"),
}
"""Members of TensorRT that are used in every version, by class; they exist from 8.5 to 11."""

_OUT_OF_MEMORY = ("out of memory", "OutOfMemory", "MEM_ALLOC", "cudaError 2:")


def _is_not_rtx(compute_capability: str) -> bool:
    """
    Return whether a GPU is none for TensorRT for RTX: Orin (8.7), Hopper (9.0), data-centre Blackwell (10), Thor (11).

    Version 1.7 names what it supports when it refuses a plan: 8.0, 8.6, 8.9, and 12.0 and later.
    """
    major, minor = (int(part) for part in compute_capability.split("."))
    return (major, minor) == (8, 7) or 9 <= major <= 11


def is_out_of_memory(errors: Iterable[str]) -> bool:
    """Return whether any of TensorRT's messages says that the GPU is out of memory."""
    return any(sign in error for error in errors for sign in _OUT_OF_MEMORY)


@dataclass(frozen=True)
class Library:
    """
    Usable TensorRT module.

    Parameters
    ----------
    module : module
        ``tensorrt`` or ``tensorrt_rtx``, imported.

    Raises
    ------
    BackendError
        If it lacks a member in `NEEDED`.
    """

    module: ModuleType

    def __post_init__(self):
        """Refuse a version that lacks a needed member: too old, or newer than the known ones."""
        for name, members in NEEDED.items():
            owner = getattr(self.module, name, None)
            if missing := [f"{name}.{member}" for member in members if not hasattr(owner, member)]:
                raise BackendError(
                    f"{self.name} {self.version} lacks {missing[0]}; versions from 8.5 on are known to work, "
                    "or choose the backend cuda or cpu"
                )

    @property
    def name(self) -> str:
        """``tensorrt`` or ``tensorrt_rtx``."""
        return self.module.__name__.removesuffix("_bindings")

    @property
    def version(self) -> str:
        """Full version, as reported by the module."""
        return self.module.__version__

    def member(self, enumeration: str, name: str) -> Any:
        """Return a member of an enumeration, or None if this version does not have it."""
        return getattr(getattr(self.module, enumeration, None), name, None)

    @property
    def strongly_typed(self) -> bool:
        """Whether networks can be strongly typed: types come from the ONNX file, and no precision flags are set."""
        return self.member("NetworkDefinitionCreationFlag", "STRONGLY_TYPED") is not None

    def creation_flags(self) -> int:
        """Return the creation flags of a network: explicit batch if needed, and strongly typed if supported."""
        flags = (self.member("NetworkDefinitionCreationFlag", n) for n in ("EXPLICIT_BATCH", "STRONGLY_TYPED"))
        return sum(1 << int(flag) for flag in flags if flag is not None)

    def check_gpu(self, gpu: str, compute_capability: str) -> None:
        """
        Check that this library runs on a GPU. TensorRT for RTX builds plans for others, too, but does not load them.

        Parameters
        ----------
        gpu : str
            Name of the GPU.
        compute_capability : str
            E.g. ``8.7``.

        Raises
        ------
        BackendError
            If it does not.
        """
        if self.name == "tensorrt_rtx" and _is_not_rtx(compute_capability):
            raise BackendError(
                f"TensorRT for RTX does not run on {gpu}, compute capability {compute_capability}: choose the backend "
                "tensorrt (the full TensorRT, on a Jetson part of JetPack), cuda or cpu"
            )

    def start(self, name: str, logger: Any) -> Any:
        """
        Create a ``Builder`` or a ``Runtime``.

        Raises
        ------
        BackendError
            If TensorRT returns none, for instance without a working GPU driver.
        """
        try:
            return getattr(self.module, name)(logger)
        except TypeError:  # the bindings raise it for a null pointer
            reason = " ".join(logger.errors[-1].split())[:300] if logger.errors else "is there a GPU, and its driver?"
            raise BackendError(f"{self.name} {self.version} does not start: {reason}") from None

    def logger(self) -> Any:
        """
        Return a logger for TensorRT's classes.

        Returns
        -------
        tensorrt.ILogger
            Logger with an attribute ``errors``: the latest error messages, newest last.
        """
        base: Any = self.module.ILogger

        class Logger(base):
            def __init__(self):
                base.__init__(self)
                self.errors: deque[str] = deque(maxlen=20)

            def log(self, severity, message):
                if severity.name in ("ERROR", "INTERNAL_ERROR"):
                    self.errors.append(message)

        return Logger()


def find_library(name: str = "tensorrt") -> Library:
    """
    Import TensorRT.

    Parameters
    ----------
    name : {"tensorrt", "tensorrt_rtx"}
        TensorRT variant.

    Raises
    ------
    BackendError
        If it is not installed, does not load, or is too old.
    """
    if name not in NAMES:
        raise BackendError(f"TensorRT library {name!r} is unknown; choose one of: {', '.join(NAMES)}")
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if name == "tensorrt_rtx":
            remedy = "install it with `python3 -m pip install tensorrt-rtx`"
        else:
            remedy = (
                "on a Jetson install JetPack's `python3-libnvinfer`, and let a virtual environment see it with "
                "`--system-site-packages`; elsewhere `python3 -m pip install tensorrt`"
            )
        raise BackendError(
            f"{name} cannot be imported ({str(error).splitlines()[0]}); {remedy}, or choose the backend cuda or cpu"
        ) from None
    return Library(module)
