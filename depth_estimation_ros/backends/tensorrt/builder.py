"""Build a TensorRT plan from an ONNX model."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from depth_estimation_ros.backends import BackendError, EngineOptions
from depth_estimation_ros.backends.options import Progress
from depth_estimation_ros.backends.tensorrt.library import Library, is_out_of_memory
from depth_estimation_ros.backends.tensorrt.prepare import is_quantized, is_symmetric, prepare

_MEBIBYTE = 1 << 20
_MAYBE_OUT_OF_MEMORY = "Could not find any implementation for node"


@dataclass(frozen=True)
class Build:
    """
    Result of a build.

    Parameters
    ----------
    plan : bytes
        The serialised engine.
    timing_cache : bytes
        Kernel timings of the builder on this GPU, which speed up the next build; empty if there are none.
    """

    plan: bytes
    timing_cache: bytes


def build(
    library: Library,
    content: bytes,
    options: EngineOptions,
    *,
    free_memory: int,
    timing_cache: bytes = b"",
) -> Build:
    """
    Build an engine. This takes from seconds to many minutes.

    Parameters
    ----------
    library : Library
        TensorRT to build with.
    content : bytes
        ONNX file that satisfies the model contract.
    options : EngineOptions
        Options with a precision other than ``"best"``. TensorRT 8 reports only the phase of the progress, and finishes
        the build before it is cancelled.
    free_memory : int
        Free GPU memory in bytes; limits the workspace.
    timing_cache : bytes
        Timing cache of an earlier build with this TensorRT on this GPU. TensorRT ignores one that does not fit.

    Raises
    ------
    BackendError
        If TensorRT does not accept the model or cannot build it; the message says why.
    CancelledError
        If `options.cancelled` was set.
    """
    trt = library.module
    options.begin("preparing the model")
    prepared = _model_for(library, content, options.precision)
    options.begin("reading the model")
    logger = library.logger()
    builder = library.start("Builder", logger)
    network = builder.create_network(library.creation_flags())
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(prepared):
        reasons = [_parser_error(parser.get_error(i)) for i in range(parser.num_errors)]
        raise BackendError(f"{library.name} {library.version} does not accept the model: {_one_line(reasons)}")
    config = builder.create_builder_config()
    workspace = options.workspace * _MEBIBYTE or free_memory // 2
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    _set_precision(library, config, options.precision)
    _add_profile(builder, config, network, options.cameras)
    # A damaged cache may give None. TensorRT ignores a cache of another GPU.
    timings = config.create_timing_cache(timing_cache) or config.create_timing_cache(b"")
    config.set_timing_cache(timings, False)
    if hasattr(trt, "IProgressMonitor"):
        monitor = _monitor(trt, options.progress, options.cancelled)
        config.progress_monitor = monitor
    options.begin("building the engine")
    logger.errors.clear()
    plan = builder.build_serialized_network(network, config)
    if options.cancelled.is_set():
        raise CancelledError
    if plan is None:
        raise BackendError(_why(library, list(logger.errors), workspace))
    timings = config.get_timing_cache()
    return Build(bytes(plan), bytes(timings.serialize()) if timings else b"")


def _model_for(library: Library, content: bytes, precision: str) -> bytes:
    """Return the ONNX file to pass to the parser."""
    if precision == "best":
        raise ValueError("'best' selects among builds and cannot be built itself")
    quantized = is_quantized(content)
    if quantized != (precision == "int8"):
        if quantized:
            raise BackendError(f"the model is quantised (Q/DQ nodes): its precision is int8, not {precision}")
        raise BackendError("int8 needs a quantised model (Q/DQ nodes): make one with `quantize_model --symmetric`")
    if quantized and not is_symmetric(content):
        raise BackendError(
            "TensorRT supports no zero points other than 0: quantize the model with `quantize_model --symmetric`"
        )
    # In a strongly typed network, types come from the ONNX file, so half precision is written into it.
    return prepare(content, half=precision != "fp32" and library.strongly_typed)


def _set_precision(library: Library, config: Any, precision: str) -> None:
    """Set the builder flags for a precision in this TensorRT version."""
    tf32 = library.member("BuilderFlag", "TF32")
    if precision == "fp32" and tf32 is not None:
        config.clear_flag(tf32)  # on by default, with a mantissa of only ten bits
    if library.strongly_typed:
        return
    # In quantised models, the other layers may use float32 or float16.
    for name in {"fp16": ("FP16",), "int8": ("INT8", "FP16")}.get(precision, ()):
        config.set_flag(library.member("BuilderFlag", name))


def _add_profile(builder: Any, config: Any, network: Any, max_batch: int) -> None:
    """Set the range of the free dimension of the inputs, the batch."""
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
    base: Any = trt.IProgressMonitor

    class Monitor(base):
        """Progress monitor that reports the outermost phase; TensorRT calls it from its own threads."""

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
    """Return a parser error as text, with the node if this version reports it."""
    node = f"{error.node_operator()} {error.node_name()}: " if hasattr(error, "node_operator") else ""
    return f"{node}{error.desc()}"


def _why(library: Library, errors: list[str], workspace: int) -> str:
    """Return one sentence why a build failed."""
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
    """Return the first non-empty message as one line, shortened."""
    first = next((" ".join(message.split()) for message in messages if message.strip()), "it gave no reason")
    return first if len(first) <= 300 else f"{first[:297]}..."
