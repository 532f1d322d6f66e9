"""
A GPU that is not there: TensorRT for RTX builds real plans, ONNX Runtime runs them, host memory stands for the GPU's.

Real are the library, its builder and parser, the plans, the order of calls that the runner makes. Not real is that
TensorRT runs a plan, and that CUDA copies, records and fails as it does here. Only a GPU can prove these.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnxruntime

from depth_estimation_ros.backends.tensorrt.cuda import CudaError, Device
from depth_estimation_ros.backends.tensorrt.library import Library

HERE = Path(__file__).resolve().parent
CHILDREN = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE, HERE / "backends", HERE.parent)))}
"""The environment of Python processes that import this package and these tests, wherever pytest was started."""

MAGIC = b"vtrt"  # plans of TensorRT for RTX begin with it
OUT_OF_MEMORY = b"for which there is no memory"
"""A plan that is too large to be loaded."""


def two_outputs() -> bytes:
    """Return a model with two outputs, which differ for every image: the mean over the colours, and its negative."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("ReduceMean", ["planes"], ["depth"], axes=[1], keepdims=1),
        helper.make_node("Neg", ["depth"], ["log_variance"]),
    ]
    shapes = {"image": (TensorProto.UINT8, ("N", 6, 8, 3))}
    shapes |= dict.fromkeys(("depth", "log_variance"), (TensorProto.FLOAT, ("N", 1, 6, 8)))
    values = [helper.make_tensor_value_info(name, *shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "two", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


class HostCuda:
    """Host memory with the interface of `Cuda`; keeps a journal of calls, and fails where it is told to."""

    def __init__(self, device: Device | None = None, failing: dict[str, int] | None = None):
        self._device = device or Device("NVIDIA GeForce RTX 4090", "8.9", "12.6")
        self.failing = failing or {}
        self.journal: list[str] = []
        self.memory: dict[int, ctypes.Array] = {}
        self.enqueued: list = []
        self.recording: list | None = None
        self.graphs: dict[int, list] = {}
        self._handles = itertools.count(1)

    def _note(self, call: str) -> None:
        self.journal.append(call)
        if code := self.failing.get(call):
            raise CudaError(code, f"{call} failed: told to")

    def device(self):
        return self._device

    def memory_info(self):
        if code := self.failing.get("memory"):
            raise CudaError(code, "memory failed: told to")
        return 1 << 30, 4 << 30

    def malloc(self, size):
        self._note("malloc")
        return self._allocate(size)

    def host_alloc(self, size):
        self._note("host_alloc")
        return self._allocate(size)

    def _allocate(self, size):
        block = (ctypes.c_uint8 * size)()
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def free(self, address):
        self._note("free")
        del self.memory[address]

    free_host = free

    def stream(self):
        self._note("stream")
        return next(self._handles)

    def destroy_stream(self, stream):
        self._note("destroy_stream")

    def enqueue(self, work):
        (self.enqueued if self.recording is None else self.recording).append(work)

    def to_device(self, device, host, size, stream):
        self._note("to_device")
        self.enqueue(lambda: ctypes.memmove(device, host, size))

    to_host = to_device

    def synchronize(self, stream):
        self._note("synchronize")
        while self.enqueued:
            self.enqueued.pop(0)()

    def begin_capture(self, stream):
        self._note("begin_capture")
        self.recording = []

    def end_capture(self, stream):
        self._note("end_capture")
        graph = next(self._handles)
        self.graphs[graph], self.recording = self.recording, None
        return graph

    def abandon_capture(self, stream):
        self._note("abandon_capture")
        self.recording = None

    def launch(self, graph, stream):
        self._note("launch")
        self.enqueued += self.graphs[graph]

    def destroy_graph(self, graph):
        self._note("destroy_graph")
        del self.graphs[graph]


class _Context:
    def __init__(self, engine):
        self._engine, self._shape, self._addresses = engine, None, {}

    def set_input_shape(self, name, shape):
        self._shape = tuple(shape)
        return self._shape[0] <= self._engine.max_batch

    def get_tensor_shape(self, name):
        if name == "image":
            return self._shape or (-1, *self._engine.sizes["image"][1:])
        return (self._shape[0], *self._engine.sizes[name][1:])

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return name in self._engine.sizes

    def execute_async_v3(self, stream):
        shape, addresses = self._shape, dict(self._addresses)
        self._engine.cuda.enqueue(lambda: self._engine.compute(shape, addresses))
        return True


class _Engine:
    """An ONNX Runtime session behind the names of ICudaEngine."""

    def __init__(self, trt, cuda, session, max_batch, distort):
        self._trt, self.cuda, self._session = trt, cuda, session
        self.max_batch, self._distort = max_batch, distort
        self.sizes = {tensor.name: tensor.shape for tensor in (*session.get_inputs(), *session.get_outputs())}
        self.num_io_tensors = len(self.sizes)

    def get_tensor_name(self, index):
        return list(self.sizes)[index]

    def get_tensor_mode(self, name):
        return self._trt.TensorIOMode.INPUT if name == "image" else self._trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return self._trt.DataType.UINT8 if name == "image" else self._trt.DataType.FLOAT

    def create_execution_context(self):
        return _Context(self)

    def compute(self, shape, addresses):
        image = (ctypes.c_uint8 * int(np.prod(shape))).from_address(addresses["image"])
        names = [name for name in self.sizes if name != "image"]
        results = self._session.run(names, {"image": np.frombuffer(image, np.uint8).reshape(shape)})
        for name, result in zip(names, results, strict=True):
            result = self._distort(np.ascontiguousarray(result, np.float32))
            ctypes.memmove(addresses[name], result.ctypes.data, result.nbytes)


def library_on_host(module, cuda: HostCuda, onnx: bytes, max_batch: int = 4, distort=lambda depth: depth) -> Library:
    """
    TensorRT for RTX, except that its runtime loads plans into ONNX Runtime.

    Parameters
    ----------
    module : module
        ``tensorrt_rtx``, or one with its names.
    cuda : HostCuda
        Where the engine's tensors are.
    onnx : bytes
        What a plan computes, since ONNX Runtime cannot read plans.
    max_batch : int
        Largest batch of the engine.
    distort : callable
        Changes the outputs, for an engine that computes something else.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    on_host = ModuleType(module.__name__)
    on_host.__dict__.update({name: value for name, value in vars(module).items() if not name.startswith("__")})
    on_host.__version__ = module.__version__

    class Runtime:
        def __init__(self, logger):
            self._logger = logger

        def deserialize_cuda_engine(self, plan):
            if plan == OUT_OF_MEMORY:
                self._logger.log(
                    SimpleNamespace(name="ERROR"), "Error Code 2: OutOfMemory (Requested size was 8 bytes.)"
                )
                return None
            if not plan.startswith(MAGIC):
                self._logger.log(SimpleNamespace(name="ERROR"), "header.magicTag is another")
                return None
            return _Engine(on_host, cuda, session, max_batch, distort)

    on_host.Runtime = Runtime
    return Library(on_host)
