"""From an ONNX model to a TensorRT plan."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from depth_estimation_ros.backends import PRECISIONS, BackendError
from depth_estimation_ros.backends.tensorrt.library import Library, is_out_of_memory
from depth_estimation_ros.backends.tensorrt.prepare import is_quantized, is_symmetric, prepare

Progress = Callable[[str, float], None]
"""Takes what is being done, and the fraction of it that is done, 0 to 1; called from the building thread."""

_MEBIBYTE = 1 << 20
_MAYBE_OUT_OF_MEMORY = "Could not find any implementation for node"


@dataclass(frozen=True)
class BuildOptions:
    """
    What a user can choose of an engine.

    Parameters
    ----------
    precision : {"fp32", "fp16", "int8", "best"}
        int8 takes a model that was quantized before (Q/DQ nodes); best is the fastest that computes the model's depth.
    max_batch : int
        Largest number of images in one run of the engine.
    workspace : int
        MiB of GPU memory that the builder's tactics may use; 0 takes half of what is free.

    Raises
    ------
    BackendError
        If a value is not allowed.
    """

    precision: str = "fp16"
    max_batch: int = 1
    workspace: int = 0

    def __post_init__(self):
        """Refuse values that are not allowed."""
        if self.precision not in PRECISIONS:
            raise BackendError(f"precision {self.precision!r} is unknown; choose one of: {', '.join(PRECISIONS)}")
        if self.max_batch < 1:
            raise BackendError(f"the largest batch must be at least 1, got {self.max_batch}")
        if self.workspace < 0:
            raise BackendError(
                f"the workspace must be a number of MiB, or 0 for half of what is free, got {self.workspace}"
            )


@dataclass(frozen=True)
class Build:
    """
    What a build gives.

    Parameters
    ----------
    plan : bytes
        The serialized engine.
    timing_cache : bytes
        What the builder learned about this GPU, which makes the next build faster; empty where it kept nothing.
    """

    plan: bytes
    timing_cache: bytes


def build(
    library: Library,
    content: bytes,
    options: BuildOptions,
    *,
    free_memory: int,
    timing_cache: bytes = b"",
    progress: Progress = lambda *_: None,
    cancelled: threading.Event | None = None,
) -> Build:
    """
    Build an engine; it takes seconds to many minutes.

    Parameters
    ----------
    library : Library
        The TensorRT to build with.
    content : bytes
        An ONNX file that keeps the model contract.
    options : BuildOptions
        With a precision other than ``"best"``.
    free_memory : int
        Free bytes of the GPU's memory, the measure of the workspace.
    timing_cache : bytes
        Of an earlier build with this TensorRT on this GPU; one that does not fit is passed over by TensorRT.
    progress : callable
        See `Progress`. TensorRT 8 cannot say how far it is; there the phase alone is reported.
    cancelled : threading.Event, optional
        Breaks the build off once it is set. TensorRT 8 ends the build first.

    Raises
    ------
    BackendError
        If TensorRT refuses the model or cannot build it; the text says why.
    CancelledError
        If `cancelled` was set.
    """
    trt = library.module
    cancelled = cancelled or threading.Event()

    def begin(doing: str) -> None:
        if cancelled.is_set():
            raise CancelledError
        progress(doing, 0.0)

    begin("preparing the model")
    prepared = _model_for(library, content, options.precision)
    begin("reading the model")
    logger = library.logger()
    builder = library.start("Builder", logger)
    network = builder.create_network(library.creation_flags())
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(prepared):
        reasons = [_parser_error(parser.get_error(i)) for i in range(parser.num_errors)]
        raise BackendError(f"{library.name} {library.version} does not take the model: {_one_line(reasons)}")
    config = builder.create_builder_config()
    workspace = options.workspace * _MEBIBYTE or free_memory // 2
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    _set_precision(library, config, options.precision)
    _add_profile(builder, config, network, options.max_batch)
    # Of a damaged one there may come none; one of another GPU is not taken.
    timings = config.create_timing_cache(timing_cache) or config.create_timing_cache(b"")
    config.set_timing_cache(timings, False)
    if hasattr(trt, "IProgressMonitor"):
        monitor = _monitor(trt, progress, cancelled)
        config.progress_monitor = monitor
    begin("building the engine")
    logger.errors.clear()
    plan = builder.build_serialized_network(network, config)
    if cancelled.is_set():
        raise CancelledError
    if plan is None:
        raise BackendError(_why(library, list(logger.errors), workspace))
    timings = config.get_timing_cache()
    return Build(bytes(plan), bytes(timings.serialize()) if timings else b"")


def _model_for(library: Library, content: bytes, precision: str) -> bytes:
    """Return the ONNX file that the parser is given."""
    if precision == "best":
        raise ValueError("'best' is a choice between builds, not one")
    quantized = is_quantized(content)
    if quantized != (precision == "int8"):
        if quantized:
            raise BackendError(f"the model is quantized (Q/DQ nodes): its precision is int8, not {precision}")
        raise BackendError("int8 takes a quantized model (Q/DQ nodes): make one with `quantize_model --symmetric`")
    if quantized and not is_symmetric(content):
        raise BackendError("TensorRT takes no zero points but 0: quantize the model with `quantize_model --symmetric`")
    # Where types are the ONNX file's, half precision is written into it.
    return prepare(content, half=precision != "fp32" and library.strongly_typed)


def _set_precision(library: Library, config: Any, precision: str) -> None:
    """Set the flags that a precision takes in this version."""
    tf32 = library.member("BuilderFlag", "TF32")
    if precision == "fp32" and tf32 is not None:
        config.clear_flag(tf32)  # on by default, with ten bits of mantissa
    if library.strongly_typed:
        return
    # Quantized models leave the other layers a choice between float32 and float16.
    for name in {"fp16": ("FP16",), "int8": ("INT8", "FP16")}.get(precision, ()):
        config.set_flag(library.member("BuilderFlag", name))


def _add_profile(builder: Any, config: Any, network: Any, max_batch: int) -> None:
    """Say how large the free dimension of the inputs, the batch, gets."""
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        batch, *size = tensor.shape
        if -1 in size:
            raise BackendError(
                f"the model's input {tensor.name} has the shape {list(tensor.shape)}: only the batch may be free"
            )
        if batch != -1 and batch < max_batch:
            raise BackendError(f"the model takes batches of {batch}, not of {max_batch}; export it with a free batch")
        shapes = [(1 if batch == -1 else batch, *size)] + [(max_batch if batch == -1 else batch, *size)] * 2
        profile.set_shape(tensor.name, *shapes)
    config.add_optimization_profile(profile)


def _monitor(trt: Any, progress: Progress, cancelled: threading.Event) -> Any:
    base = trt.IProgressMonitor

    class Monitor(base):
        """Reports the outermost phase and how much of it is done; TensorRT calls it from threads of its own."""

        def __init__(self):
            base.__init__(self)
            self._steps: dict[str, int] = {}
            self._outermost = ""

        def phase_start(self, phase_name, parent_phase, num_steps):
            self._steps[phase_name] = max(1, num_steps)
            if parent_phase is None:
                self._outermost = phase_name
            progress(phase_name, 0.0)

        def step_complete(self, phase_name, step):
            progress(phase_name, min(1.0, (step + 1) / self._steps.get(phase_name, 1)))
            return not cancelled.is_set()

        def phase_finish(self, phase_name):
            self._steps.pop(phase_name, None)

    return Monitor()


def _parser_error(error: Any) -> str:
    """Return what a parser says of a node, and which node, where this version knows."""
    node = f"{error.node_operator()} {error.node_name()}: " if hasattr(error, "node_operator") else ""
    return f"{node}{error.desc()}"


def _why(library: Library, errors: list[str], workspace: int) -> str:
    """Say in one sentence why a build gave nothing."""
    text = _one_line(errors)
    limit = f"the builder's workspace was {workspace // _MEBIBYTE} MiB"
    if is_out_of_memory(errors):
        return f"the GPU ran out of memory during the build ({limit}): close other programs, or lower it; {text}"
    if any(_MAYBE_OUT_OF_MEMORY in error for error in errors):
        return (
            f"{library.name} found no implementation for a part of the model, which most often means too little GPU "
            f"memory ({limit}): free some or raise it; {text}"
        )
    return f"{library.name} {library.version} could not build the engine: {text}"


def _one_line(messages: list[str]) -> str:
    """Return the first message that says something, in one line of bearable length."""
    first = next((" ".join(message.split()) for message in messages if message.strip()), "it gave no reason")
    return first if len(first) <= 300 else f"{first[:297]}..."
