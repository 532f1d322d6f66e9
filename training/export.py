"""
``python -m training.export CHECKPOINT MODEL.onnx``: write a trained network as an ONNX file of the model contract.

The model card, MODEL.md, is written beside it.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.model import METADATA_KEY, OUTPUTS, ModelInfo
from depth_estimation_ros.model_card import place_of_card
from depth_estimation_ros.support.files import refuse_missing_folder
from training.card import write_card
from training.checkpoint import Checkpoint, load_checkpoint
from training.data.frames import camera_of
from training.data.module import DepthData
from training.models.up_projection import depth_to_space

# The newest operator set that TensorRT 8.5 (JetPack 5) reads.
OPSET = 17
# The file format of the same time, because older runtimes refuse newer formats.
IR_VERSION = 8
MIN_DEPTH = 0.5  # metres, nearest depth of a Kinect
DECODERS = ("conv_transpose", "depth_to_space")


def export(
    checkpoint: Checkpoint,
    info: ModelInfo,
    path: Path,
    half_weights: bool,
    frames: np.ndarray,
    decoder: str = "conv_transpose",
) -> float:
    """
    Write an ONNX file of the model contract, after comparing it with the network in PyTorch.

    Parameters
    ----------
    checkpoint : Checkpoint
        The trained network.
    info : ModelInfo
        Metadata of the file.
    path : pathlib.Path
        Output file; written only if the comparison succeeds.
    half_weights : bool
        Store weights in half precision, which halves the file. Computation stays in single precision.
    frames : numpy.ndarray
        Real images for the comparison, uint8 [N, H, W, 3].
    decoder : {"conv_transpose", "depth_to_space"}
        How up-projections are written: with transposed convolutions, or with convolutions and depth-to-space.

    Returns
    -------
    float
        Largest difference between ONNX Runtime and PyTorch relative to the depth, or to the model's nearest depth where
        the depth is smaller (a network that ends in a ReLU can give zeros).

    Raises
    ------
    ValueError
        If depths differ by more than 1e-3 (1e-2 with half weights, which are rounded) or ``log_variance`` by ten times
        as much, if ``decoder`` is unknown, or if the network has no up-projection to write as depth-to-space.
    """
    if decoder not in DECODERS:
        raise ValueError(f"decoder must be one of {', '.join(DECODERS)}, got {decoder!r}")
    network = _Outputs(checkpoint.network.to(memory_format=torch.contiguous_format), frames).eval()
    written = network if decoder == "conv_transpose" else depth_to_space(copy.deepcopy(network))
    with torch.inference_mode():
        written(torch.from_numpy(frames[:1]))  # raises a clear error if this input size is impossible
    # A batch of two, because the exporter treats a batch size of one as a constant.
    program = torch.onnx.export(
        written,
        (torch.from_numpy(frames[:1].repeat(2, axis=0)),),
        dynamo=True,
        opset_version=OPSET + 1,  # the oldest that PyTorch writes
        input_names=["image"],
        output_names=network.names,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    model = _in_opset(program.model_proto)
    model.ir_version = IR_VERSION
    if half_weights:
        _halve_weights(model.graph)
    model.metadata_props.add(key=METADATA_KEY, value=info.to_json())
    onnx.checker.check_model(model)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        onnx.save(model, draft)
        exported = DepthEstimator.load(draft, backend="cpu").backend.infer(frames)
        with torch.inference_mode():
            expected, *variance = (output.numpy() for output in network(torch.from_numpy(frames)))
        difference = float((np.abs(exported["depth"] - expected) / np.maximum(expected, info.min_depth)).max())
        if not difference <= (1e-2 if half_weights else 1e-3):
            raise ValueError(f"ONNX Runtime and PyTorch differ by up to {difference:.2%}: {path} was not written")
        if variance:
            apart = float(np.abs(exported["log_variance"] - variance[0]).max())
            if not apart <= (1e-1 if half_weights else 1e-2):
                raise ValueError(f"log_variance differs by up to {apart:.3f} from PyTorch's: {path} was not written")
        os.replace(draft, path)
    return difference


def model_info(
    checkpoint: Checkpoint, name: str, training_data: str, licence: str, min_depth: float = MIN_DEPTH
) -> ModelInfo:
    """
    Return the metadata of the model file for a network that ``python -m training fit`` trained.

    Parameters
    ----------
    checkpoint : Checkpoint
        From `load_checkpoint`.
    name, training_data, licence, min_depth
        As in `ModelInfo`; a checkpoint does not contain them.
    """
    data = checkpoint.data
    height, width = data["input_size"]
    return ModelInfo(
        name=name,
        input_width=width,
        input_height=height,
        focal_length=camera_of(data["camera"]).resized(width, height).focal_length,
        min_depth=min_depth,
        max_depth=data["depth_limit"],
        training_data=training_data,
        licence=licence,
        source_sha256=checkpoint.sha256,
    )


def training_frames(data: dict, root: Path | None = None, count: int = 8) -> np.ndarray:
    """
    Return frames that a network was trained on, from the storage that the training used.

    Parameters
    ----------
    data : dict
        ``data`` of a `Checkpoint`.
    root : path, optional
        Folder of the frames; by default the one that the training used.
    count : int
        Maximum number of frames.

    Returns
    -------
    numpy.ndarray
        uint8 [N, H, W, 3], not augmented.

    Raises
    ------
    ValueError
        If the frames are not there.
    """
    options = {name: value for name, value in data.items() if not name.startswith("_")}
    plain = {"root": str(root or data["root"]), "extra": None, "held_out": 0.0, "device": "cpu"}
    module = DepthData(**{**options, **plain})
    module.setup()
    return np.stack([frame["image"].numpy() for frame in itertools.islice(module.train_frames, count)])


class _Outputs(torch.nn.Module):
    """A network reduced to the outputs of the model contract, in order: depth and, if present, log_variance."""

    def __init__(self, network: torch.nn.Module, frames: np.ndarray):
        super().__init__()
        self.network = network
        with torch.inference_mode():
            output = network(torch.from_numpy(frames[:1]))
        self.names = [name for name in OUTPUTS if name in output]

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.network(image)
        return tuple(output[name] for name in self.names)


def _in_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Convert a model from operator set 18, which PyTorch writes, to 17.

    The operators of 18 accept more than those of 17; what both accept has the same meaning, except that reductions take
    their axes in another way. ONNX's own converter fails on padding, although both sets have it.
    """
    model = copy.deepcopy(model)
    model.opset_import[0].version = OPSET
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum" and len(node.input) == 2:
            kept = [attribute for attribute in node.attribute if attribute.name != "noop_with_empty_axes"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("axes", constants[node.input.pop()].tolist())])
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"the network does what ONNX's operator set {OPSET} does not know: {reason}") from None
    return model


def _halve_weights(graph: onnx.GraphProto) -> None:
    """Store every large float initializer as float16, followed by a cast to float32 that engines fold at load."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or math.prod(tensor.dims) < 1024:
            continue
        name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, name + "_half"))
        casts.append(helper.make_node("Cast", [name + "_half"], [name], name=name + "_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def main() -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument(
        "checkpoint", type=Path, help="checkpoint of `python -m training fit`, or weights (.pth) with --recipe"
    )
    parser.add_argument("--recipe", type=Path, help="YAML recipe of the network of the weights")
    parser.add_argument("output", type=Path)
    parser.add_argument("--name", help="model name (default: the name of the output file)")
    parser.add_argument(
        "--data", type=Path, help="folder of real frames for the comparison (default: that of the training)"
    )
    parser.add_argument("--training-data", required=True, help="description of the training data")
    parser.add_argument("--licence", required=True, help="licence of the weights, and terms of the training data")
    parser.add_argument("--min-depth", type=float, default=MIN_DEPTH, help="nearest depth of the training data, metres")
    parser.add_argument(
        "--decoder",
        choices=DECODERS,
        default=DECODERS[0],
        help="how up-projections are written; some engines are slow at one form (default: %(default)s)",
    )
    parser.add_argument("--half-weights", action="store_true", help="store weights as float16, which halves the file")
    arguments = parser.parse_args()
    try:
        refuse_missing_folder(arguments.output)
        place_of_card(arguments.output)
        checkpoint = load_checkpoint(arguments.checkpoint, arguments.recipe)
        name = arguments.name or arguments.output.stem
        info = model_info(checkpoint, name, arguments.training_data, arguments.licence, arguments.min_depth)
        frames = training_frames(checkpoint.data, arguments.data)
        difference = export(checkpoint, info, arguments.output, arguments.half_weights, frames, arguments.decoder)
        card = write_card(arguments.output, checkpoint)
    except (ValueError, OSError, BackendError) as error:
        sys.exit(f"export: {error}")
    size = arguments.output.stat().st_size / 1e6
    print(f"{arguments.output}: {size:.1f} MB, ONNX Runtime within {difference:.1e} of PyTorch on {len(frames)} frames")
    print(f"{card}: model card; `python -m training.evaluate {arguments.output} --card {card} ...` adds the accuracy")


if __name__ == "__main__":
    main()
