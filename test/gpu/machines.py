"""
A stand-in for TensorRT's engine that computes something simple, on a GPU or on the host.

On a GPU, real kernels run on the stream and the device addresses that the runner gives, so that all of the runner and
of `Cuda` is tried for real. The kernel is compiled by NVRTC. On the host, `HostCuda` stands for CUDA.
"""

from __future__ import annotations

import ctypes
import enum
import glob
import importlib.util
import threading
from collections.abc import Callable
from functools import partial
from types import ModuleType

import numpy as np
from tensorrt_on_host import HostCuda

from depth_estimation_ros.backends.tensorrt.cuda import Cuda, CudaError
from depth_estimation_ros.backends.tensorrt.cuda_calls import Bindings, Libcudart, libcudart_candidates
from depth_estimation_ros.backends.tensorrt.library import NEEDED, Library
from depth_estimation_ros.backends.tensorrt.runner import TensorRTBackend

OUTPUTS = ("depth", "log_variance")
HEIGHT, WIDTH = 48, 64
PIXELS = HEIGHT * WIDTH
SIZES = {"image": (HEIGHT, WIDTH, 3), **dict.fromkeys(OUTPUTS, (1, HEIGHT, WIDTH))}

SOURCE = b"""
extern "C" __global__ void mean_of_colours(const unsigned char* image, float* depth, float* log_variance, int pixels)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < pixels) {
        depth[i] = (image[3 * i] + image[3 * i + 1] + image[3 * i + 2]) / 3.0f;
        log_variance[i] = -depth[i];
    }
}
extern "C" __global__ void write_nowhere(const unsigned char* image, float* depth, float* log_variance, int pixels)
{
    *(volatile float*)(size_t)(8 + image[0] % 1) = depth[0];
}
"""

ILLEGAL_ADDRESS = 700
LARGE = 1 << 40
"""Images for which no machine has memory."""


def expected(images: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the engine computes, [N, 1, h, w]."""
    depth = images.astype(np.float32).mean(axis=3)[:, None]
    return {"depth": depth, "log_variance": -depth}


class Host:
    """Memory of the host in place of a GPU."""

    name = "host"

    def cuda(self) -> HostCuda:
        """Return the CUDA of one engine."""
        return _BoundedHostCuda()

    def kernel(self, cuda: HostCuda, faulty: bool) -> Callable[[int, dict[str, int], int], None]:
        """Return a function that enqueues the computation: stream, addresses by tensor, number of images."""

        def compute(addresses: dict[str, int], count: int) -> None:
            if faulty:
                cuda.failing = dict.fromkeys(("synchronize", "malloc", "free", "stream"), ILLEGAL_ADDRESS)
                raise CudaError(ILLEGAL_ADDRESS, "cudaStreamSynchronize failed: told to")
            image = (ctypes.c_uint8 * (count * 3 * PIXELS)).from_address(addresses["image"])
            images = np.frombuffer(image, np.uint8).reshape(count, HEIGHT, WIDTH, 3)
            for name, values in expected(images).items():
                values = np.ascontiguousarray(values, np.float32)
                ctypes.memmove(addresses[name], values.ctypes.data, values.nbytes)

        return lambda stream, addresses, count: cuda.enqueue(partial(compute, addresses, count))

    def in_use(self, cuda: HostCuda) -> int:
        """Return the bytes in use."""
        return sum(len(block) for block in cuda.memory.values())


class _BoundedHostCuda(HostCuda):
    def malloc(self, size):
        if size > LARGE:
            raise CudaError(2, "cudaMalloc failed: cudaErrorMemoryAllocation, out of memory")
        return super().malloc(size)


class Gpu:
    """
    The first GPU.

    Parameters
    ----------
    way : {"bindings", "libcudart"}
        How the CUDA runtime is called.
    """

    def __init__(self, way: str):
        self.name = way
        self._cuda = Cuda(Bindings() if way == "bindings" else _libcudart())
        self._functions: dict[bool, object] = {}
        self._lock = threading.Lock()

    def cuda(self) -> Cuda:
        """Return the CUDA of all engines."""
        return self._cuda

    def kernel(self, cuda: Cuda, faulty: bool) -> Callable[[int, dict[str, int], int], None]:
        """Return a function that launches the kernel: stream, addresses by tensor, number of images."""
        from cuda.bindings import driver

        cuda.memory_info()  # makes the device's context current in this thread, as TensorRT does
        with self._lock:
            if faulty not in self._functions:
                module = called(
                    driver.cuModuleLoadData, compiled(*map(int, cuda.device().compute_capability.split(".")))
                )
                name = b"write_nowhere" if faulty else b"mean_of_colours"
                self._functions[faulty] = called(driver.cuModuleGetFunction, module, name)
        return partial(launch, self._functions[faulty])

    def in_use(self, cuda: Cuda) -> int:
        """Return the bytes in use on the GPU."""
        free, total = cuda.memory_info()
        return total - free


def launch(function: object, stream: int, addresses: dict[str, int], count: int) -> None:
    """Launch a kernel of `SOURCE`."""
    from cuda.bindings import driver

    values = (*(addresses[name] for name in SIZES), count * PIXELS)
    types = (*(ctypes.c_void_p for _ in SIZES), ctypes.c_int)
    blocks = -(-count * PIXELS // 256)
    called(driver.cuLaunchKernel, function, blocks, 1, 1, 256, 1, 1, 0, stream, (values, types), 0)


def compiled(major: int, minor: int) -> bytes:
    """Return `SOURCE` as PTX, compiled for a compute capability. Needs no GPU."""
    from cuda.bindings import nvrtc

    try:
        program = called(nvrtc.nvrtcCreateProgram, SOURCE, b"mean.cu", 0, [], [])
    except RuntimeError:  # cuda-bindings looks only in some of the places where wheels may be
        for path in (*_in_wheels("libnvrtc-builtins.so*"), *_in_wheels("libnvrtc.so*")):
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        program = called(nvrtc.nvrtcCreateProgram, SOURCE, b"mean.cu", 0, [], [])
    called(nvrtc.nvrtcCompileProgram, program, 1, [f"--gpu-architecture=compute_{major}{minor}".encode()])
    ptx = b" " * called(nvrtc.nvrtcGetPTXSize, program)
    called(nvrtc.nvrtcGetPTX, program, ptx)
    return ptx


def called(function: Callable, *args):
    """Call a function of cuda-bindings, and return its result."""
    error, *results = function(*args)
    if int(error):
        raise RuntimeError(f"{function.__name__} failed: {error}")
    return results[0] if results else None


def _libcudart() -> Libcudart:
    """Open libcudart, also that of NVIDIA's wheels, which PyTorch brings along."""
    for path in [*libcudart_candidates(), *_in_wheels("libcudart.so*")]:
        try:
            calls = Libcudart(path)
        except (OSError, AttributeError):
            continue
        if not calls.call("cudaGetDeviceCount")[0]:
            return calls
    raise OSError("no libcudart on this machine works with its driver")


def _in_wheels(pattern: str) -> list[str]:
    """Return the libraries of this name in NVIDIA's wheels."""
    spec = importlib.util.find_spec("nvidia")
    places = spec.submodule_search_locations if spec else []
    return [path for place in places for path in sorted(glob.glob(f"{place}/*/lib/{pattern}"))]


class _Context:
    def __init__(self, engine):
        self._engine, self._count, self._addresses = engine, -1, {}

    def set_input_shape(self, name, shape):
        self._count = shape[0]
        return shape[0] <= self._engine.max_batch

    def get_tensor_shape(self, name):
        return (self._count, *SIZES[name])

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return name in SIZES

    def execute_async_v3(self, stream):
        self._engine.executions.append(self._count)
        self._engine.launch(stream, dict(self._addresses), self._count)
        return True


class _Engine:
    """The names of ICudaEngine around a kernel."""

    num_io_tensors = len(SIZES)

    def __init__(self, trt, launch, max_batch, executions):
        self._trt, self.launch, self.max_batch, self.executions = trt, launch, max_batch, executions

    def get_tensor_name(self, index):
        return list(SIZES)[index]

    def get_tensor_mode(self, name):
        return self._trt.TensorIOMode.INPUT if name == "image" else self._trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return self._trt.DataType.UINT8 if name == "image" else self._trt.DataType.FLOAT

    def create_execution_context(self):
        return _Context(self)


def open_engine(machine: Host | Gpu, max_batch: int = 4, faulty: bool = False, log=lambda _: None):
    """Return a real `TensorRTBackend` on a machine, and the list of the batches that were run outside a graph."""
    cuda, executions = machine.cuda(), []
    trt = ModuleType("tensorrt")
    trt.__version__ = "of nobody"
    for name, members in NEEDED.items():
        setattr(trt, name, type(name, (), dict.fromkeys(members)))
    trt.TensorIOMode = enum.Enum("TensorIOMode", ["INPUT", "OUTPUT"])
    trt.DataType = enum.Enum("DataType", ["FLOAT", "UINT8"])

    class Runtime:
        def __init__(self, logger):
            self.logger = logger

        def deserialize_cuda_engine(self, plan):
            return _Engine(trt, machine.kernel(cuda, faulty), max_batch, executions)

    trt.Runtime = Runtime
    backend = TensorRTBackend(Library(trt), b"", max_batch, cuda, OUTPUTS, "tensorrt/kernel", log)
    return backend, executions
