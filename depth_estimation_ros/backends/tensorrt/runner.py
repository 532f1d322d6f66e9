"""Run a TensorRT engine on one stream, without GPU allocations per frame."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.backends.tensorrt.cuda import Cuda, CudaError
from depth_estimation_ros.backends.tensorrt.library import Library, is_out_of_memory


class PlanError(BackendError):
    """Error for a plan that this TensorRT does not load on this GPU."""


class TensorRTBackend:
    """
    Backend that runs a plan. Only the thread that created it may use it.

    Images are copied to pinned memory and from there to the GPU; outputs take the same way back. The copies and the
    engine are captured as one CUDA graph, so one launch starts them all. If the engine cannot be captured, they are
    enqueued one by one. A graph is valid for one batch size, and is captured when a size occurs twice in a row: cameras
    that share the engine change the size often, and a capture takes longer than the launches that it saves.

    Parameters
    ----------
    library : Library
        TensorRT to run on.
    plan : bytes
        Serialised engine. It contains machine code, so it must come from the cache or from a trusted source.
    max_batch : int
        Maximum number of images per run; larger batches are split.
    cuda : Cuda
        CUDA runtime to use.
    outputs : tuple of str
        Names of the outputs to return.
    name : str
        For logs and diagnostics.
    log : callable
        Function that logs one sentence (str).
    engine : str
        Name or path of the engine, for diagnostics.

    Attributes
    ----------
    max_batch : int
        Maximum number of images per run.
    lost : str
        Reason why this process can no longer use the GPU; empty while it can.

    Raises
    ------
    PlanError
        If the plan does not load.
    BackendError
        If the engine does not satisfy the model contract, or the GPU is out of memory.
    """

    concurrent = False

    def __init__(
        self,
        library: Library,
        plan: bytes,
        max_batch: int,
        cuda: Cuda,
        outputs: tuple[str, ...] = ("depth",),
        name: str = "tensorrt",
        log: Callable[[str], None] = lambda _: None,
        engine: str = "",
    ):
        self.name, self._trt, self._cuda, self._log, self._engine_name = name, library.module, cuda, log, engine
        self.max_batch, self._outputs = max_batch, outputs
        self._logger = library.logger()
        self._runtime = library.start("Runtime", self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None and is_out_of_memory(self._logger.errors):  # another plan would not help
            raise BackendError(f"{name}: the GPU's memory does not suffice to load the engine: {self._last_error()}")
        if self._engine is None:
            raise PlanError(f"the engine does not load: {self._last_error()}")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise BackendError(f"{name}: the GPU's memory does not suffice to run the engine: {self._last_error()}")
        self._check_contract()
        self.lost = ""
        self._batch, self._recordable = 0, True
        self._graphs: list[int] = []  # the graph for the current batch size, if any
        with ExitStack() as resources:
            self._stream = cuda.stream()
            resources.callback(_quietly(cuda.destroy_stream), self._stream)
            resources.callback(_drop, self._graphs, cuda)
            self._host: dict[str, np.ndarray] = {}
            self._device: dict[str, int] = {}
            self._set_shape(max_batch)
            for tensor, dtype in {"image": np.uint8, **dict.fromkeys(outputs, np.float32)}.items():
                shape = tuple(self._context.get_tensor_shape(tensor))
                self._allocate(resources, tensor, shape, np.dtype(dtype))
            given_back = resources.pop_all()
        # Resources are freed with the last reference, in the thread that drops it: a session does that in the engine's
        # thread.
        weakref.finalize(self, given_back.close).atexit = False
        for _ in range(2):  # without a graph, then captured
            self.infer(np.zeros(self._host["image"].shape, np.uint8))

    def facts(self) -> dict[str, str]:
        """Return the engine's name and, if available, the device's memory; any thread may call this."""
        found = {"engine": self._engine_name}
        with suppress(CudaError):  # a lost device does not answer
            free, total = (size >> 20 for size in self._cuda.memory_info())
            found["gpu_memory_mib"] = f"{total - free} of {total} in use"
        return found

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run the model: uint8 [N, H, W, 3] RGB to its outputs, each float32 [N, 1, h, w]."""
        size = self._host["image"].shape[1:]
        if images.dtype != np.uint8 or images.shape[1:] != size or not len(images):
            raise BackendError(
                f"{self.name} takes uint8 [N, {', '.join(map(str, size))}], got {images.dtype} {list(images.shape)}"
            )
        parts = [self._run(images[i : i + self.max_batch]) for i in range(0, len(images), self.max_batch)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}

    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        count = len(images)
        np.copyto(self._host["image"][:count], images)
        try:
            if count != self._batch:
                self._change_batch(count)
            elif not self._graphs and self._recordable:
                self._record(count)
            if self._graphs:
                self._cuda.launch(self._graphs[0], self._stream)
            else:
                self._enqueue(count)
            self._cuda.synchronize(self._stream)
            self._batch = count
        except CudaError as error:
            raise self._explained(error) from error
        # Copy, because the next frame overwrites the pinned memory.
        return {name: self._host[name][:count].copy() for name in self._outputs}

    def _change_batch(self, count: int) -> None:
        """Prepare for another batch size. Its first run allocates and cannot be captured."""
        _drop(self._graphs, self._cuda)
        self._batch = 0
        self._set_shape(count)

    def _record(self, count: int) -> None:
        try:
            self._cuda.begin_capture(self._stream)
            self._enqueue(count)
            self._graphs.append(self._cuda.end_capture(self._stream))
        except BackendError as error:
            self._cuda.abandon_capture(self._stream)
            self._recordable = False
            self._log(f"{self.name}: the engine cannot be recorded as a CUDA graph, and runs without one: {error}")

    def _enqueue(self, count: int) -> None:
        """Enqueue copying in, running and copying out."""
        image = self._host["image"][:count]
        self._cuda.to_device(self._device["image"], image.ctypes.data, image.nbytes, self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise BackendError(f"{self.name} failed: {self._last_error()}")
        for name in self._outputs:
            array = self._host[name][:count]
            self._cuda.to_host(array.ctypes.data, self._device[name], array.nbytes, self._stream)

    def _set_shape(self, count: int) -> None:
        shape = (count, *tuple(self._context.get_tensor_shape("image"))[1:])
        if not self._context.set_input_shape("image", shape):
            raise BackendError(f"{self.name} does not take batches of {count}: {self._last_error()}")

    def _check_contract(self) -> None:
        """Check inputs, outputs and their types against the model contract."""
        trt, engine = self._trt, self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        given = {name: engine.get_tensor_dtype(name) for name in names}
        wanted = {"image": trt.DataType.UINT8, **dict.fromkeys(self._outputs, trt.DataType.FLOAT)}
        if inputs != ["image"] or any(given.get(name) != dtype for name, dtype in wanted.items()):
            tensors = ", ".join(f"{name} {dtype.name}" for name, dtype in given.items())
            raise PlanError(f"the engine is not one of this model: its tensors are {tensors}")

    def _allocate(self, resources: ExitStack, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Allocate memory for a tensor at its largest size, on the GPU and pinned on the host."""
        size, cuda = int(np.prod(shape)) * dtype.itemsize, self._cuda
        try:
            self._device[name] = cuda.malloc(size)
            resources.callback(_quietly(cuda.free), self._device[name])
            address = cuda.host_alloc(size)
            resources.callback(_quietly(cuda.free_host), address)
        except CudaError as error:
            raise self._explained(error) from error
        memory = memoryview((ctypes.c_uint8 * size).from_address(address))
        self._host[name] = np.frombuffer(memory, dtype).reshape(shape)
        if not self._context.set_tensor_address(name, self._device[name]):
            raise PlanError(f"the engine is not one of this model: it has no tensor {name}")

    def _explained(self, error: CudaError) -> BackendError:
        if error.out_of_memory:
            return CudaError(error.code, f"{self.name}: the GPU is out of memory; close other programs ({error})")
        if error.device_lost:
            self.lost = f"{self.name}: this program has lost the GPU: restart it ({error})"
            return CudaError(error.code, self.lost)
        return CudaError(error.code, f"{self.name} failed: {error}")

    def _last_error(self) -> str:
        errors: Any = self._logger.errors
        return " ".join(errors[-1].split())[:300] if errors else "TensorRT gave no reason"


def _drop(graphs: list[int], cuda: Cuda) -> None:
    while graphs:
        _quietly(cuda.destroy_graph)(graphs.pop())


def _quietly(give_back: Callable[[int], None]) -> Callable[[int], None]:
    """Return a function that frees a resource and ignores errors: with a lost device every call fails."""

    def call(handle: int) -> None:
        with suppress(CudaError):
            give_back(handle)

    return call
