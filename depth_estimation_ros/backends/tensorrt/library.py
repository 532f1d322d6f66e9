"""Find TensorRT, and ask it what it can do: features are asked of its classes and enumerations, not of its version."""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from depth_estimation_ros.backends import BackendError

NAMES = ("tensorrt", "tensorrt_rtx")
"""TensorRT, and TensorRT for RTX: the same interface, so that either module can be injected."""

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
"""What is called of TensorRT in every version, by class: there from 8.5 to 11."""

_OUT_OF_MEMORY = ("out of memory", "OutOfMemory", "MEM_ALLOC", "cudaError 2:")


def is_out_of_memory(errors: Iterable[str]) -> bool:
    """Return whether any of TensorRT's messages says that the GPU's memory is exhausted."""
    return any(sign in error for error in errors for sign in _OUT_OF_MEMORY)


@dataclass(frozen=True)
class Library:
    """
    A TensorRT that can be used.

    Parameters
    ----------
    module : module
        ``tensorrt`` or ``tensorrt_rtx``, imported.

    Raises
    ------
    BackendError
        If it lacks anything of `NEEDED`.
    """

    module: ModuleType

    def __post_init__(self):
        """Refuse a version that is too old, or newer than what is known."""
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
        """The full version, as the module gives it."""
        return self.module.__version__

    def member(self, enumeration: str, name: str) -> Any:
        """Return a member of an enumeration, None where this version does not have it."""
        return getattr(getattr(self.module, enumeration, None), name, None)

    @property
    def strongly_typed(self) -> bool:
        """Whether a network's types can be those of its ONNX file, which precision flags are then not asked for."""
        return self.member("NetworkDefinitionCreationFlag", "STRONGLY_TYPED") is not None

    def creation_flags(self) -> int:
        """Return the flags of a new network: an explicit batch where it has to be asked for, the types of the ONNX."""
        flags = (self.member("NetworkDefinitionCreationFlag", n) for n in ("EXPLICIT_BATCH", "STRONGLY_TYPED"))
        return sum(1 << int(flag) for flag in flags if flag is not None)

    def start(self, name: str, logger: Any) -> Any:
        """
        Make a ``Builder`` or a ``Runtime``.

        Raises
        ------
        BackendError
            If TensorRT gives none, as without a working GPU driver.
        """
        try:
            return getattr(self.module, name)(logger)
        except TypeError:  # what the bindings make of a null pointer
            reason = " ".join(logger.errors[-1].split())[:300] if logger.errors else "is there a GPU, and its driver?"
            raise BackendError(f"{self.name} {self.version} does not start: {reason}") from None

    def logger(self) -> Any:
        """
        Make a logger for TensorRT's classes.

        Returns
        -------
        tensorrt.ILogger
            With ``errors``, the latest error messages, newest last.
        """
        base = self.module.ILogger

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
        Which one.

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
