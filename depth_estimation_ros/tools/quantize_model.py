"""
``quantize_model MODEL --calibration SOURCE --output INT8.onnx``: quantise a model to 8-bit integers, faster on a CPU.

Weights and activations get Q/DQ nodes (static; one scale per output channel of a weight), from which ONNX Runtime,
OpenVINO and TensorRT derive integer arithmetic. Activation ranges are the minimum and maximum on the calibration
images, which should come from the robot's environment. The up-projection stays in float: ONNX Runtime has no int8
transposed convolution, and in several TensorRT versions it was slow or wrong.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, because a package may be missing
    from depth_estimation_ros import entry

    entry.quantize_model()

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import track

from depth_estimation_ros.backends import BackendError, create_backend
from depth_estimation_ros.backends.tensorrt.parity import relative_difference
from depth_estimation_ros.imaging.resample import shrink
from depth_estimation_ros.model import METADATA_KEY, Model, ModelInfo, load_model
from depth_estimation_ros.sources import Source, open_source
from depth_estimation_ros.support.installing import how_to_install
from depth_estimation_ros.support.sentences import choices, quoted, reason

# Weights whose names begin with these stay in float, and so do additions and the like of what they compute.
KEEP = ("decoder", "predict")
_PER_CHANNEL_OPSET = 13
# With Relu and Clip, the output of a convolution has the range after its activation, and is quantized once, not twice.
_QUANTIZABLE = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "MaxPool", "Relu", "Clip")
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# The exporter of the training package wraps the network in one module.
_WRAPPER = "network."


def calibration_frames(source: Source, info: ModelInfo, count: int) -> np.ndarray:
    """
    Return images spread evenly over a source, prepared as on the robot.

    Parameters
    ----------
    source : Source
        Finite source of images.
    info : ModelInfo
        Metadata with the model's input size.
    count : int
        Minimum number of images, if the source has as many; fewer than twice as many are returned.

    Returns
    -------
    numpy.ndarray
        uint8 [N, H, W, 3].

    Raises
    ------
    ValueError
        If the source is live, or contains no image.
    """
    if source.live:
        raise ValueError("a webcam is an endless source: record a bag or a video, and calibrate with that")
    kept, stride = [], 1
    for i, frame in enumerate(track(source, description="reading", total=None, transient=True)):
        if i % stride == 0:
            kept.append(shrink(frame.rgb, info.input_width, info.input_height))
        # The length of a source is unknown until its end.
        if len(kept) == 2 * count:
            kept, stride = kept[::2], 2 * stride
    if not kept:
        raise ValueError(f"{source.description} holds no image")
    return np.stack(kept)


def quantize(
    model: Model, frames: np.ndarray, output: Path, keep: Sequence[str] | None = None, symmetric: bool = False
) -> np.ndarray:
    """
    Write a model quantised to 8-bit integers; it satisfies the model contract.

    Parameters
    ----------
    model : Model
        Float model.
    frames : numpy.ndarray
        uint8 [N, H, W, 3], calibration images of the model's input size.
    output : pathlib.Path
        File to write, atomically. The metadata are copied from the model, with ``_int8`` appended to the name and the
        SHA-256 of the float model's file as ``source_sha256``.
    keep : sequence of str, optional
        Prefixes of the names of weights that stay in float, with the additions, activations and poolings of what they
        compute. Default: `KEEP`; an empty sequence quantizes everything.
    symmetric : bool
        Use signed activations with zero point 0, as TensorRT requires. On a CPU, ONNX Runtime runs such a model slower
        than one with zero points, because it does not fuse the ReLU.

    Returns
    -------
    numpy.ndarray
        float32 [N, h, w], absolute difference of each depth from the float model's, relative to the float model's depth
        or `ModelInfo.min_depth`, whichever is larger; NaN where one of them has no depth.

    Raises
    ------
    ValueError
        If the package onnx is missing, the model already has Q/DQ nodes, a prefix in `keep` matches no weight, or
        nothing is left to quantise.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_static
    except ImportError as error:
        raise ValueError(f"quantising needs the package onnx ({error}); install it: {how_to_install('onnx')}") from None
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        folded, draft = Path(folder) / "folded.onnx", Path(folder) / output.name
        _fold_constants(model, folded)
        _modernise(folded)
        graph = onnx.load(folded).graph
        if any("QuantizeLinear" in node.op_type or "Integer" in node.op_type for node in graph.node):
            raise ValueError(f"{model.path} is quantised already; quantise the float model that it was made from")
        quantize_static(
            folded,
            draft,
            _Reader(frames),
            per_channel=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(_QUANTIZABLE),
            nodes_to_exclude=_float_nodes(graph, keep),
            # TensorRT accepts no int32 bias, and ONNX Runtime quantises a float bias itself.
            extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True, "QuantizeBias": False},
        )
        quantized = onnx.load(draft)
        # ONNX Runtime declares every operator set it knows; older engines reject that.
        used = {node.domain for node in quantized.graph.node}
        declared = [entry for entry in quantized.opset_import if entry.domain in used]
        del quantized.opset_import[:], quantized.metadata_props[:]
        quantized.opset_import.extend(declared)
        info = replace(model.info, name=f"{model.info.name}_int8", source_sha256=model.sha256)
        quantized.metadata_props.add(key=METADATA_KEY, value=info.to_json())
        quantized.ir_version = onnx.load_model_from_string(model.content).ir_version
        onnx.checker.check_model(quantized)
        onnx.save(quantized, draft)
        difference = _difference(model, load_model(draft), frames)
        os.replace(draft, output)
    return difference


def _fold_constants(model: Model, folded: Path) -> None:
    """Write the model with constants folded: weights stored in half precision become float32 weights."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 3
    try:
        onnxruntime.InferenceSession(model.content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # ONNX Runtime's error classes have only Exception in common
        folder = folded.parent.parent.absolute()
        raise ValueError(
            f"no copy of {model.path} can be written into {folder} (is the disk full?): {reason(error)}"
        ) from None


def _modernise(path: Path) -> None:
    """Bring a file to the operator set in which weights have a scale for each output channel."""
    import onnx

    model = onnx.load(path)
    version = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if version >= _PER_CHANNEL_OPSET:
        return
    try:
        onnx.save(onnx.version_converter.convert_version(model, _PER_CHANNEL_OPSET), path)
    except Exception as error:  # C++ libraries raise many types
        raise ValueError(
            f"the model has operator set {version}, int8 needs {_PER_CHANNEL_OPSET}, and it cannot be converted "
            f"({reason(error)}): export it again"
        ) from None


def _float_nodes(graph, keep: Sequence[str] | None) -> list[str]:
    """Return the nodes that stay in float."""
    constants = {tensor.name for tensor in graph.initializer}
    weighted = [node for node in graph.node if node.op_type in _WEIGHTED]
    names = {i.removeprefix(_WRAPPER) for node in weighted for i in node.input if i in constants}
    for prefix in keep or ():
        if not any(name.startswith(prefix) for name in names):
            level = prefix.count(".") + 1
            parts = choices(sorted({".".join(name.split(".")[:level]) for name in names}), prefix)
            raise ValueError(f"no weight's name begins with {quoted(prefix)}; the model's parts are {parts}")
    prefixes = KEEP if keep is None else tuple(keep)
    floating, computed = [], set()
    for node in graph.node:  # in topological order
        weights = [i for i in node.input if i in constants] if node.op_type in _WEIGHTED else []
        named = any(name.removeprefix(_WRAPPER).startswith(prefixes) for name in weights)
        if named or (not weights and any(i in computed for i in node.input)):
            floating.append(node.name)
            computed.update(node.output)
    if all(node.name in floating for node in weighted):
        raise ValueError("with these parts in float, nothing is left to quantise")
    return floating


class _Reader:
    """Reader that passes calibration images to ONNX Runtime one at a time, with a progress bar."""

    def __init__(self, frames: np.ndarray):
        self._frames = iter(track(frames, description="calibrating", transient=True))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next image, or None after the last."""
        frame = next(self._frames, None)
        return None if frame is None else {"image": frame[None]}


def _difference(before: Model, after: Model, frames: np.ndarray) -> np.ndarray:
    engines, found = [create_backend(model, "cpu") for model in (before, after)], []
    for frame in track(frames, description="comparing", transient=True):
        expected, depth = (engine.infer(frame[None])["depth"][0, 0] for engine in engines)
        if before.info.is_relative:
            found.append(relative_difference(depth, expected))
        else:
            found.append(np.abs(depth - expected) / np.maximum(expected, before.info.min_depth))
    return np.stack(found)


def main(arguments: list[str] | None = None) -> int:
    """Quantise a model from the command line; a user's mistake ends with one sentence. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="quantize_model", description=__doc__.split("\n\n")[0].strip())
    parser.add_argument("model", help="'default', or a float ONNX file that satisfies the model contract")
    parser.add_argument("--calibration", required=True, help="images of the robot's environment: folder, video or bag")
    parser.add_argument("--output", required=True, type=Path, help="ONNX file to write")
    parser.add_argument("--frames", type=int, default=100, help="images to calibrate on (default: %(default)s)")
    parser.add_argument(
        "--keep",
        nargs="*",
        metavar="PREFIX",
        help=f"name prefixes of weights that stay in float (default: {' '.join(KEEP)}); none: quantise all",
    )
    parser.add_argument("--symmetric", action="store_true", help="zero points at 0, for TensorRT; slower on a CPU")
    options = parser.parse_args(arguments)
    # ONNX Runtime recommends a preprocessing step that has already been done.
    logging.getLogger().setLevel(logging.ERROR)
    try:
        if options.frames < 1:
            raise ValueError(f"--frames must be at least 1, got {options.frames}")
        if not options.output.parent.is_dir():
            raise ValueError(f"folder {options.output.parent} does not exist")
        if options.output.is_dir():
            raise ValueError(f"{options.output} is a folder; name the file to write")
        model = load_model(options.model)
        if options.output.exists() and options.output.samefile(model.path):
            raise ValueError(f"{options.output} is the model itself; give another name for the output")
        source = open_source(options.calibration)
        for note in source.notes:
            print(note)
        frames = calibration_frames(source, model.info, options.frames)
        for sentence in source.losses.sentences():
            print(sentence)
        difference = quantize(model, frames, options.output, options.keep, options.symmetric)
    except (ValueError, BackendError, OSError) as error:
        print(f"quantize_model: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("quantize_model: interrupted, nothing was written", file=sys.stderr)
        return 130
    before, after = (size / 1e6 for size in (len(model.known_content), options.output.stat().st_size))
    print(
        f"{options.output}: {after:.1f} MB (from {before:.1f} MB), calibrated on {len(frames)} images; there its depth "
        f"is {np.nanmean(difference):.1%} from the float model's on average, {np.nanquantile(difference, 0.99):.1%} at "
        "most for 99 of 100 pixels"
    )
    return 0
