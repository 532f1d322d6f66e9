"""
Functions of the CUDA runtime, through cuda-bindings if installed, else through ctypes from libcudart.

Names and values are those of the CUDA Runtime API (https://docs.nvidia.com/cuda/cuda-runtime-api), unchanged from CUDA
11.4 to 13.
"""

from __future__ import annotations

import ctypes
import glob
import os
from enum import IntEnum
from typing import Any


class cudaMemcpyKind(IntEnum):  # noqa: N801, the name in the CUDA runtime
    """Direction of a copy."""

    TO_DEVICE = 1
    TO_HOST = 2


class cudaStreamCaptureMode(IntEnum):  # noqa: N801
    """Restriction of other CUDA calls during graph capture; thread-local does not affect other threads."""

    THREAD_LOCAL = 1


class cudaDeviceAttr(IntEnum):  # noqa: N801
    """Attributes of a device."""

    COMPUTE_CAPABILITY_MAJOR = 75
    COMPUTE_CAPABILITY_MINOR = 76


class Bindings:
    """
    Calls through NVIDIA's cuda-bindings.

    Raises
    ------
    ImportError
        If it is not installed.
    """

    def __init__(self):
        try:
            from cuda.bindings import runtime
        except ImportError:
            from cuda import cudart as runtime  # its name before 12.6
        self._runtime = runtime

    def call(self, name: str, *args: int) -> tuple[int, ...]:
        """Call a function of the runtime, and return ``(error, *results)``."""
        typed = (getattr(self._runtime, type(a).__name__)(int(a)) if isinstance(a, IntEnum) else a for a in args)
        error, *results = getattr(self._runtime, name)(*typed)
        return int(error), *(int(result) if result is not None else 0 for result in results)

    def describe(self, error: int) -> str:
        """Return the runtime's description of an error."""
        named = self._runtime.cudaError_t(error)
        return f"{named.name}, {self._runtime.cudaGetErrorString(named)[1].decode()}"

    def device_name(self, index: int) -> tuple[int, str]:
        """Query a device's name, and return ``(error, name)``."""
        error, properties = self._runtime.cudaGetDeviceProperties(index)
        return int(error), "" if int(error) else properties.name.decode().rstrip("\0")


_OUT_INT, _OUT_HANDLE, _OUT_SIZE = (ctypes.POINTER(kind) for kind in (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t))
_INT, _UINT, _HANDLE, _SIZE = ctypes.c_int, ctypes.c_uint, ctypes.c_void_p, ctypes.c_size_t
_SIGNATURES = {
    "cudaGetDeviceCount": (_OUT_INT,),
    "cudaDeviceGetAttribute": (_OUT_INT, _INT, _INT),
    "cudaDriverGetVersion": (_OUT_INT,),
    "cudaMemGetInfo": (_OUT_SIZE, _OUT_SIZE),
    "cudaMalloc": (_OUT_HANDLE, _SIZE),
    "cudaFree": (_HANDLE,),
    "cudaHostAlloc": (_OUT_HANDLE, _SIZE, _UINT),
    "cudaFreeHost": (_HANDLE,),
    "cudaMemcpyAsync": (_HANDLE, _HANDLE, _SIZE, _INT, _HANDLE),
    "cudaStreamCreateWithFlags": (_OUT_HANDLE, _UINT),
    "cudaStreamDestroy": (_HANDLE,),
    "cudaStreamSynchronize": (_HANDLE,),
    "cudaStreamBeginCapture": (_HANDLE, _INT),
    "cudaStreamEndCapture": (_HANDLE, _OUT_HANDLE),
    "cudaGraphInstantiateWithFlags": (_OUT_HANDLE, _HANDLE, ctypes.c_ulonglong),
    "cudaGraphDestroy": (_HANDLE,),
    "cudaGraphLaunch": (_HANDLE, _HANDLE),
    "cudaGraphExecDestroy": (_HANDLE,),
    "cudaGetLastError": (),
}


class Libcudart:
    """
    Calls through ctypes, with the C signatures.

    Parameters
    ----------
    path : str
        Path or name of the shared library.
    """

    def __init__(self, path: str):
        self._library = ctypes.CDLL(path)
        self._library.cudaGetErrorString.restype = ctypes.c_char_p
        self._library.cudaGetErrorName.restype = ctypes.c_char_p
        for name, signature in _SIGNATURES.items():
            getattr(self._library, name).argtypes = signature

    def call(self, name: str, *args: int) -> tuple[int, ...]:
        """Call a function of the runtime, and return ``(error, *results)``."""
        given = iter(args)
        results: list[Any] = []
        complete: list[Any] = []
        for kind in _SIGNATURES[name]:
            if kind in (_OUT_INT, _OUT_HANDLE, _OUT_SIZE):
                results.append(kind._type_())
                complete.append(ctypes.byref(results[-1]))
            else:
                complete.append(next(given))
        error = getattr(self._library, name)(*complete)
        return error, *(result.value or 0 for result in results)

    def describe(self, error: int) -> str:
        """Return the runtime's description of an error."""
        name, text = self._library.cudaGetErrorName(error), self._library.cudaGetErrorString(error)
        return f"{name.decode()}, {text.decode()}"

    def device_name(self, index: int) -> tuple[int, str]:
        """Query a device's name, and return ``(error, name)``."""
        # The name is the first member of cudaDeviceProp in every version. The rest differs, but is smaller than this.
        properties = ctypes.create_string_buffer(1 << 14)
        error = self._library.cudaGetDeviceProperties(properties, index)
        return error, properties.raw[:256].partition(b"\0")[0].decode()


def libcudart_candidates() -> list[str]:
    """Return the names and paths at which to look for libcudart."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    paths = [path for home in homes if home for path in sorted(glob.glob(f"{home}/lib*/libcudart.so*"))]
    return ["libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", *paths]
