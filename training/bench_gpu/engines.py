"""Engines of the benchmark: a network in the modes of PyTorch, and its ONNX file in every engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from depth_estimation_ros.backends import Backend, BackendError, EngineOptions, create_backend
from depth_estimation_ros.backends.tensorrt.cuda import open_cuda
from depth_estimation_ros.backends.tensorrt.engine import EngineFactory
from depth_estimation_ros.backends.tensorrt.library import NAMES, find_library
from depth_estimation_ros.backends.tensorrt.prepare import is_quantized, prepare
from depth_estimation_ros.model import Model, load_model
from training.bench_gpu.networks import open_network
from training.bench_gpu.peaks import DTYPES, allow_tf32, elapsed
from training.bench_gpu.prepared import Prepared
from training.models.image import Normalise

UNTUNED = "pytorch graph, untuned"
"""PyTorch's CUDA graph with the convolutions that cuDNN's heuristics choose, without trying which are the fastest."""

# Engines and precisions that tell most, in this order; the others follow.
_FIRST = (
    ("pytorch graph", "fp16"),
    *((library, "fp16") for library in NAMES),
    ("onnxruntime/cuda", "fp16"),
    ("pytorch compiled graph", "fp16"),
    ("pytorch graph", "bf16"),
    ("pytorch graph", "tf32"),
    ("pytorch graph", "fp32"),
    ("pytorch eager", "fp16"),
    ("pytorch eager", "fp32"),
)
_PRECISIONS = {"cuda": tuple(DTYPES), "cpu": ("fp32", "bf16")}  # half precision crawls on a CPU


@dataclass(frozen=True)
class Candidate:
    """
    Engine that may run on this machine.

    Parameters
    ----------
    prepared : Prepared
        Network that it runs.
    engine, precision, decoder : str
        Description of the engine.
    make : callable
        Function that makes it, or raises an error that says why there is none.
    batches : list of int
        Batch sizes to measure.
    """

    prepared: Prepared
    engine: str
    precision: str
    decoder: str
    make: Callable[[], Backend]
    batches: list[int]

    @property
    def name(self) -> str:
        """Name with everything that distinguishes it from other candidates."""
        return f"{self.prepared.name}, {self.engine}, {self.precision}, {self.decoder}"


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
    tuned : bool
        Let cuDNN try which convolutions are the fastest. This takes seconds for each batch size.
    """

    name, concurrent, max_batch = "pytorch", False, 1

    def __init__(
        self,
        network: nn.Module,
        outputs: tuple[str, ...],
        device: torch.device,
        graph: bool,
        tf32: bool,
        tuned: bool = True,
    ):
        self._network, self._names, self._device = network, outputs, device
        self._recorded, self._tf32, self._tuned = graph, tf32, tuned
        # Engines that share a network also share its memory; it counts for each of them.
        self.weight_bytes = sum(p.numel() * p.element_size() for p in network.parameters())
        self.release()

    def release(self) -> None:
        """Free the memory of a batch size."""
        self._batch, self._graph = 0, None
        self._found: dict[str, torch.Tensor] = {}
        self._host: Any = None  # the images of a batch: tensors, while it is prepared
        self._image: Any = None
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
        torch.backends.cudnn.benchmark = self._tuned
        found = self._network(self._image)
        self._found = {name: found[name] for name in self._names}

    def _prepare(self, images: np.ndarray) -> None:
        """Prepare for a batch size: choose the convolutions, allocate, record."""
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

    name, concurrent, max_batch = "tensorrt", False, 1

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
    networks: list[Prepared],
    device: torch.device,
    modes: list[str],
    batches: list[int],
    folder: Path,
    skip: Callable[[str], None],
) -> list[Candidate]:
    """
    Return every way to run the networks, the most telling first.

    Parameters
    ----------
    networks : list of Prepared
        Networks; the first is the most telling.
    device : torch.device
        GPU, or the CPU for testing what needs no GPU.
    modes : list of str
        Modes of PyTorch, from `task.MODES`.
    batches : list of int
        Batch sizes.
    folder : pathlib.Path
        Folder for temporary files.
    skip : callable
        Function called with one sentence (str) about each engine that cannot be measured here.
    """
    runtimes = list(_runtimes(device, skip))
    found: list[Candidate] = []
    for prepared in networks:
        for decoder in prepared.decoders:
            if prepared.onnx(decoder).is_file():
                found += _of_onnx(prepared, decoder, runtimes, batches, folder / prepared.folder.name / decoder)
            elif runtimes:
                skip(
                    f"{prepared.name}, {decoder}, {' and '.join(runtimes)}: `prepare` wrote no ONNX file without --onnx"
                )
            if prepared.network:
                found += _of_pytorch(prepared, decoder, device, modes, batches)
    order = {pair: position for position, pair in enumerate(_FIRST)}
    found.sort(key=lambda candidate: order.get((candidate.engine, candidate.precision), len(order)))
    # Of the untuned ones, only the very first is worth its time: it answers before cuDNN has tried anything.
    untuned = [candidate for candidate in found if candidate.engine == UNTUNED]
    return untuned[:1] + [candidate for candidate in found if candidate.engine != UNTUNED]


def _runtimes(device: torch.device, skip: Callable[[str], None]) -> Iterator[str]:
    """Yield the engines of this machine that run ONNX files."""
    on_gpu = device.type == "cuda"
    for library in NAMES if on_gpu else ():
        try:
            find_library(library)
            yield library
        except BackendError as error:
            skip(str(error))
    try:
        import onnxruntime
    except ImportError as error:
        skip(f"onnxruntime: {error}")
        return
    if not on_gpu:
        yield "onnxruntime/cpu"
    elif "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        yield "onnxruntime/cuda"
    else:
        skip("onnxruntime/cuda: the installed ONNX Runtime has no CUDA provider; onnxruntime-gpu has one")


def _of_onnx(
    prepared: Prepared, decoder: str, runtimes: list[str], batches: list[int], folder: Path
) -> Iterator[Candidate]:
    """Yield the engines that run an ONNX file."""
    path = prepared.onnx(decoder)
    quantized = is_quantized(path.read_bytes())
    load = cache(partial(load_model, path))
    for engine in runtimes:
        # By default, the CUDA provider computes float32 in TF32.
        single = "tf32" if engine == "onnxruntime/cuda" else "fp32"
        for precision in ("int8",) if quantized else ("fp16", single):
            make = partial(_tensorrt, engine, load, precision, folder / "engines", max(batches))
            if engine not in NAMES:
                make = partial(_onnxruntime, engine, load, folder if precision == "fp16" else None)
            yield Candidate(prepared, engine, precision, decoder, make, batches)


def _of_pytorch(
    prepared: Prepared, decoder: str, device: torch.device, modes: list[str], batches: list[int]
) -> Iterator[Candidate]:
    """Yield the modes of PyTorch."""
    network = cache(partial(open_network, prepared, decoder))
    for precision in _PRECISIONS[device.type]:
        eager = partial(_converted, network, DTYPES[precision], device)
        compiled = cache(partial(_compiled, eager))
        for mode in modes:
            if "graph" in mode and device.type != "cuda":
                continue
            kind = compiled if "compiled" in mode else eager
            make = partial(_torch, prepared, kind, device, "graph" in mode, precision == "tf32")
            yield Candidate(prepared, f"pytorch {mode}", precision, decoder, make, batches)
            if mode == "graph" and precision == "fp16":
                make = partial(_torch, prepared, kind, device, True, False, tuned=False)
                yield Candidate(prepared, UNTUNED, precision, decoder, make, [1])


def _tensorrt(library: str, load: Callable[[], Model], precision: str, folder: Path, largest: int) -> Backend:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return TensorRTEngine(library, load(), precision, folder, largest)


def _onnxruntime(engine: str, load: Callable[[], Model], half: Path | None) -> Backend:
    model, provider = load(), engine.partition("/")[2]
    if half is not None:
        half.mkdir(parents=True, exist_ok=True)
        path = half / "half.onnx"
        path.write_bytes(prepare(model.known_content, half=True))
        model = load_model(path)
    return create_backend(model, provider, threads=0 if provider == "cuda" else 1)


def _converted(make: Callable[[], nn.Module], dtype: torch.dtype, device: torch.device) -> nn.Module:
    return converted(make(), dtype, device)


def _torch(
    prepared: Prepared, make: Callable[[], nn.Module], device: torch.device, graph: bool, tf32: bool, tuned: bool = True
) -> Backend:
    return TorchEngine(make(), prepared.outputs, device, graph, tf32, tuned)


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
