"""Engines of the benchmark: a network in the modes of PyTorch, and its ONNX file in every engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import nn

from depth_estimation_ros.backends import Backend, EngineOptions, create_backend
from depth_estimation_ros.backends.tensorrt.cuda import open_cuda
from depth_estimation_ros.backends.tensorrt.engine import EngineFactory, candidate_precisions
from depth_estimation_ros.backends.tensorrt.library import NAMES, find_library
from depth_estimation_ros.backends.tensorrt.prepare import is_quantized, prepare
from depth_estimation_ros.model import Model, load_model
from training.bench_gpu.floor import DTYPES, allow_tf32, elapsed
from training.models.image import Normalise

MODES = ("eager", "graph", "compiled", "compiled graph")

Candidate = tuple[str, str, Callable[[], Backend]]
"""Name of an engine, its precision, and what makes it or raises an error that says why there is none."""


class TorchEngine:
    """
    Backend that runs a network with PyTorch. It copies through pinned memory, as the runner of TensorRT does.

    Parameters
    ----------
    network : torch.nn.Module
        Network on its device and in its precision (`converted`); it may be compiled.
    outputs : tuple of str
        Outputs to return.
    device : torch.device
        Device to run on.
    graph : bool
        Record the network as a CUDA graph for each batch size.
    tf32 : bool
        Let a GPU compute float32 in TF32.
    """

    name = "pytorch"

    def __init__(self, network: nn.Module, outputs: tuple[str, ...], device: torch.device, graph: bool, tf32: bool):
        self._network, self._names, self._device = network, outputs, device
        self._recorded, self._tf32 = graph, tf32
        # Engines that share a network also share its memory; it counts for each of them.
        self.weight_bytes = sum(p.numel() * p.element_size() for p in network.parameters())
        self.release()

    def release(self) -> None:
        """Free the memory of a batch size."""
        self._batch, self._graph, self._found = 0, None, {}
        self._host = self._image = None
        self._results: dict[str, torch.Tensor] = {}

    @torch.inference_mode()
    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network: uint8 [N, H, W, 3] RGB to every output, float32 [N, 1, h, w] each."""
        if len(images) != self._batch:
            self._prepare(images)
        self._host.copy_(torch.from_numpy(images))
        self._image.copy_(self._host, non_blocking=True)
        self._forward()
        for name, result in self._results.items():
            result.copy_(self._found[name], non_blocking=True)
        self._synchronize()
        return {name: result.numpy().copy() for name, result in self._results.items()}

    @torch.inference_mode()
    def device_seconds(self) -> float:
        """Return the time of the network without copies, in seconds, on the images of the last `infer`."""
        return elapsed(self._forward, self._device)

    def _forward(self) -> None:
        if self._graph is not None:
            self._graph.replay()
            return
        allow_tf32(self._tf32)
        found = self._network(self._image)
        self._found = {name: found[name] for name in self._names}

    def _prepare(self, images: np.ndarray) -> None:
        """Prepare for a batch size: choose the fastest convolutions, allocate, record."""
        self.release()
        pinned = self._device.type == "cuda"
        self._host = torch.from_numpy(images).clone()
        self._host = self._host.pin_memory() if pinned else self._host
        self._image = self._host.to(self._device, copy=True)
        if len(images) > 1:  # compiled once for a single image, and once for all other batches
            torch._dynamo.maybe_mark_dynamic(self._image, 0)
        for _ in range(3):
            self._forward()
        self._results = {k: torch.empty(v.shape, dtype=v.dtype, pin_memory=pinned) for k, v in self._found.items()}
        self._synchronize()
        if self._recorded:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._forward()
            self._graph = graph
        self._batch = len(images)

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


class TensorRTEngine:
    """
    Backend that runs a model with TensorRT as the node does, with one engine for one image and another for batches.

    Parameters
    ----------
    library : {"tensorrt", "tensorrt_rtx"}
        TensorRT library.
    model : Model
        A checked model.
    precision : {"fp32", "fp16", "int8"}
        Precision of the engines.
    folder : pathlib.Path
        Folder that caches engines. For a benchmark it is empty, so that engines are built.
    largest : int
        Largest batch.

    Attributes
    ----------
    seconds : dict
        ``build_seconds`` and ``cached_seconds`` of the engine for one image.

    Raises
    ------
    BackendError
        If this machine cannot build or run it.
    """

    name = "tensorrt"

    def __init__(self, library: str, model: Model, precision: str, folder: Path, largest: int):
        def opened(cameras: int) -> Backend:
            options = EngineOptions(precision, cameras=cameras, cache=str(folder))
            return EngineFactory(find_library(library), open_cuda(), options).open(model)

        self.seconds, self._engines = {}, {}
        for name in ("build_seconds", "cached_seconds"):
            started = perf_counter()
            self._engines[1] = opened(1)
            self.seconds[name] = perf_counter() - started
        if largest > 1:
            self._engines[largest] = opened(largest)

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run the engine: uint8 [N, H, W, 3] RGB to every output, float32 [N, 1, h, w] each."""
        return self._engines[1 if len(images) == 1 else max(self._engines)].infer(images)


def candidates(
    model: Model, network: nn.Module | None, device: torch.device, modes: list[str], folder: Path, largest: int
) -> Iterator[Candidate]:
    """
    Yield every way to run a model.

    Parameters
    ----------
    model : Model
        The model as ONNX.
    network : torch.nn.Module, optional
        The same network in PyTorch, in evaluation mode.
    device : torch.device
        GPU, or the CPU for testing what needs no GPU.
    modes : list of str
        Modes of PyTorch, from `MODES`.
    folder : pathlib.Path
        Folder for temporary files.
    largest : int
        Largest batch.
    """
    on_gpu = device.type == "cuda"
    content = model.content
    quantized = is_quantized(content)
    for library in NAMES:
        for precision in candidate_precisions(content):
            yield library, precision, partial(TensorRTEngine, library, model, precision, folder / "engines", largest)
    provider, threads = ("cuda", 0) if on_gpu else ("cpu", 1)
    # By default, the CUDA provider computes float32 in TF32.
    precision = "int8" if quantized else "tf32" if on_gpu else "fp32"
    yield f"onnxruntime/{provider}", precision, partial(create_backend, model, provider, threads)
    if not quantized:
        yield f"onnxruntime/{provider}", "fp16", partial(_half, model, provider, threads, folder)
    if network is None:
        return
    for precision, dtype in DTYPES.items():
        if precision == "tf32" and not on_gpu:
            continue
        eager = cache(partial(converted, network, dtype, device))
        compiled = cache(partial(_compiled, eager))
        for mode in modes:
            if "graph" in mode and not on_gpu:
                continue
            make = compiled if "compiled" in mode else eager
            yield f"pytorch {mode}", precision, partial(_torch, make, model, device, "graph" in mode, precision)


def converted(network: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Return a copy of a network that computes in ``dtype`` from the normalised image to the last convolution."""
    network = copy.deepcopy(network).to(device)
    for child in network.children():
        if isinstance(child, Normalise):
            child.register_forward_hook(lambda module, inputs, image: image.to(dtype))
        else:
            child.to(dtype=dtype, memory_format=torch.channels_last)
    return network


def _compiled(eager: Callable[[], nn.Module]) -> nn.Module:
    # All networks share the code of `forward`. Beyond this limit, torch.compile would fall back to eager.
    torch._dynamo.config.cache_size_limit = 256
    return torch.compile(eager(), fullgraph=True)


def _torch(make: Callable[[], nn.Module], model: Model, device: torch.device, graph: bool, precision: str) -> Backend:
    return TorchEngine(make(), model.outputs, device, graph, precision == "tf32")


def _half(model: Model, provider: str, threads: int, folder: Path) -> Backend:
    path = folder / f"{model.path.stem}_half.onnx"
    path.write_bytes(prepare(model.content, half=True))
    return create_backend(load_model(path), provider, threads)
