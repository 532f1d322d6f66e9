"""CUDA functions needed to run an engine: memory, streams and graphs. Every error is raised as `CudaError`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.backends.tensorrt.cuda_calls import (
    Bindings,
    Libcudart,
    cudaDeviceAttr,
    cudaMemcpyKind,
    cudaStreamCaptureMode,
    libcudart_candidates,
)

_OUT_OF_MEMORY = 2
_STREAM_NON_BLOCKING = 1
# After these errors the CUDA context of the process is lost: every later call fails too.
_STICKY = {
    46: "cudaErrorDevicesUnavailable",
    214: "cudaErrorECCUncorrectable",
    220: "cudaErrorNvlinkUncorrectable",
    226: "cudaErrorContained",
    700: "cudaErrorIllegalAddress",
    702: "cudaErrorLaunchTimeout",
    709: "cudaErrorContextIsDestroyed",
    710: "cudaErrorAssert",
    714: "cudaErrorHardwareStackError",
    715: "cudaErrorIllegalInstruction",
    716: "cudaErrorMisalignedAddress",
    717: "cudaErrorInvalidAddressSpace",
    718: "cudaErrorInvalidPc",
    719: "cudaErrorLaunchFailure",
}


class CudaError(BackendError):
    """
    Error of a CUDA call.

    Attributes
    ----------
    code : int
        cudaError_t of the call.
    """

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code

    @property
    def out_of_memory(self) -> bool:
        """Whether the GPU is out of memory."""
        return self.code == _OUT_OF_MEMORY

    @property
    def device_lost(self) -> bool:
        """Whether all later calls in this process will fail."""
        return self.code in _STICKY


@dataclass(frozen=True)
class Device:
    """
    GPU for which engines are built and on which they run.

    Parameters
    ----------
    name : str
        E.g. ``Orin`` or ``NVIDIA GeForce RTX 4090``.
    compute_capability : str
        E.g. ``8.7``.
    cuda : str
        Newest CUDA version that the driver supports, e.g. ``12.6``.
    """

    name: str
    compute_capability: str
    cuda: str


class Cuda:
    """
    CUDA on the current thread's device. Memory addresses and handles are plain integers.

    Parameters
    ----------
    calls : object
        `Bindings` or `Libcudart`: ``call(name, *args)`` returns ``(error, *results)``.
    """

    def __init__(self, calls: Bindings | Libcudart):
        self._calls = calls

    def _call(self, name: str, *args: int) -> Any:
        error, *results = self._calls.call(name, *args)
        if error:
            raise CudaError(error, f"{name} failed: {self._calls.describe(error)}")
        return results[0] if len(results) == 1 else tuple(results)

    def device(self) -> Device:
        """
        Return the first device.

        Raises
        ------
        BackendError
            If there is no device, or its driver does not work.
        """
        try:
            count = self._call("cudaGetDeviceCount")
        except CudaError as error:
            raise BackendError(f"no CUDA device can be used: {error}") from error
        if not count:
            raise BackendError("no CUDA device can be used: there is none")
        major, minor = (self._call("cudaDeviceGetAttribute", attribute, 0) for attribute in cudaDeviceAttr)
        version = self._call("cudaDriverGetVersion")
        return Device(self._name(), f"{major}.{minor}", f"{version // 1000}.{version % 1000 // 10}")

    def _name(self) -> str:
        error, name = self._calls.device_name(0)
        if error:
            raise CudaError(error, f"cudaGetDeviceProperties failed: {self._calls.describe(error)}")
        return name

    def memory_info(self) -> tuple[int, int]:
        """Return the free and total device memory in bytes."""
        return self._call("cudaMemGetInfo")

    def malloc(self, size: int) -> int:
        """Allocate device memory of `size` bytes."""
        return self._call("cudaMalloc", size)

    def free(self, address: int) -> None:
        """Free device memory."""
        self._call("cudaFree", address)

    def host_alloc(self, size: int) -> int:
        """Allocate pinned host memory of `size` bytes, which the device can access directly."""
        return self._call("cudaHostAlloc", size, 0)

    def free_host(self, address: int) -> None:
        """Free pinned memory."""
        self._call("cudaFreeHost", address)

    def to_device(self, device: int, host: int, size: int, stream: int) -> None:
        """Enqueue a copy from pinned memory to the device."""
        self._call("cudaMemcpyAsync", device, host, size, cudaMemcpyKind.TO_DEVICE, stream)

    def to_host(self, host: int, device: int, size: int, stream: int) -> None:
        """Enqueue a copy from the device to pinned memory."""
        self._call("cudaMemcpyAsync", host, device, size, cudaMemcpyKind.TO_HOST, stream)

    def stream(self) -> int:
        """Create a stream that does not synchronise with the default stream."""
        return self._call("cudaStreamCreateWithFlags", _STREAM_NON_BLOCKING)

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        self._call("cudaStreamDestroy", stream)

    def synchronize(self, stream: int) -> None:
        """Wait until all work in a stream is done."""
        self._call("cudaStreamSynchronize", stream)

    def begin_capture(self, stream: int) -> None:
        """Start capturing a graph: work enqueued in the stream is recorded and not run."""
        mode = cudaStreamCaptureMode.THREAD_LOCAL
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        """End the capture and return the graph, ready to launch."""
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiateWithFlags", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def abandon_capture(self, stream: int) -> None:
        """End a failed capture and clear its error."""
        error, *graph = self._calls.call("cudaStreamEndCapture", stream)
        if not error and graph[0]:
            self._calls.call("cudaGraphDestroy", graph[0])
        self._calls.call("cudaGetLastError")

    def launch(self, graph: int, stream: int) -> None:
        """Enqueue a graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Destroy a graph."""
        self._call("cudaGraphExecDestroy", graph)


def open_cuda() -> Cuda:
    """
    Return the first CUDA runtime that works with the driver; cuda-bindings is tried before libcudart.

    Raises
    ------
    BackendError
        If there is none.
    """
    found = None
    ways: list[Callable[[], Bindings | Libcudart]] = [Bindings]
    ways += [partial(Libcudart, path) for path in libcudart_candidates()]
    for open_calls in ways:
        try:
            calls = open_calls()
        except (ImportError, OSError, AttributeError):  # missing, or too old
            continue
        error, _ = calls.call("cudaGetDeviceCount")
        if not error:
            return Cuda(calls)
        found = found or calls
    if found is None:
        raise BackendError(
            "the CUDA runtime was not found; on a Jetson install JetPack's `nvidia-jetpack`, elsewhere "
            "`python3 -m pip install cuda-bindings`, or choose the backend cpu"
        )
    return Cuda(found)
