"""
The network that Laina et al. released for NYU Depth v2, from its weights to a model.

"Deeper Depth Prediction with Fully Convolutional Residual Networks" (3DV 2016). The graph follows the released
TensorFlow weights, which differ from the paper in the details that the comments name.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.fetching.restricted_pickle import load_array_dict
from depth_estimation_ros.model_card import place_of_card, write_card
from depth_estimation_ros.model_info import METADATA_KEY, ModelInfo
from depth_estimation_ros.support.files import sha256_of
from depth_estimation_ros.wrapping.nodes import Nodes

URL = "http://campar.in.tum.de/files/rupprecht/depthpred/NYU_ResNet-UpProj.npy"

INPUT_WIDTH, INPUT_HEIGHT = 304, 228
OUTPUT_WIDTH, OUTPUT_HEIGHT = 160, 128
# Geometric mean of fx and fy of the toolbox of NYU Depth v2 at 640x480, halved with the image. The crop to 304x228
# keeps the focal length.
FOCAL_LENGTH = math.sqrt(518.85790117450188 * 519.46961112127485) / 2

STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))  # of ResNet-50: blocks, and channels within a block
UP_PROJECTIONS = {"2x": (1024, 512), "4x": (512, 256), "8x": (256, 128), "16x": (128, 64)}  # channels in and out
# Position of the pixels of each convolution of a branch: (row, column) in a 2x2 cell.
POSITIONS = {"A": (0, 0), "B": (1, 0), "C": (0, 1), "D": (1, 1)}
# Added to the variance of every batch normalisation.
NORM_EPS = 1e-4

# The newest operator set that TensorRT 8.5 (JetPack 5) reads, and the file format of the same time.
OPSET, IR_VERSION = 17, 8

Weights = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Network:
    """
    The network with its weights.

    Parameters
    ----------
    graph : onnx.GraphProto
        Input and output as in the model contract.
    parameters : int
        Number of weights, without the statistics of batch normalisations.
    sha256 : str
        sha256 of the file that they come from.
    """

    graph: onnx.GraphProto
    parameters: int
    sha256: str


def load(path: Path) -> Network:
    """
    Read the released file.

    Parameters
    ----------
    path : pathlib.Path
        ``NYU_ResNet-UpProj.npy``. Nothing in it is executed.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or holds other weights.
    """
    weights = load_array_dict(path)
    try:
        # Weights that are not finite are found by their depth, in `write_model`.
        with np.errstate(all="ignore"):
            graph = build(weights)
    except ValueError as error:
        raise ValueError(f"{path} does not hold the weights of FCRN's ResNet-UpProj: {error}") from None
    learned = (
        array.size for layer in weights.values() for entry, array in layer.items() if entry not in ("mean", "variance")
    )
    return Network(graph, sum(learned), sha256_of(path))


def write_model(network: Network, path: Path) -> None:
    """
    Write the network as an ONNX file of the model contract, and its model card.

    Parameters
    ----------
    network : Network
        From `load`.
    path : pathlib.Path
        Output file.

    Raises
    ------
    ValueError
        If the depth that it gives is not finite, or the path of the card exists and is not a card. Nothing is
        written then.
    """
    place_of_card(path)
    info = ModelInfo(
        name="fcrn_nyu",
        input_width=INPUT_WIDTH,
        input_height=INPUT_HEIGHT,
        focal_length=FOCAL_LENGTH,
        min_depth=0.5,
        max_depth=10.0,
        training_data="NYU Depth v2, raw frames of the training scenes (Laina et al. 2016); encoder from ImageNet",
        licence="BSD-2-Clause (Iro Laina), from images of NYU Depth v2 and ImageNet, whose terms ask for research use",
        source_sha256=network.sha256,
    )
    model = helper.make_model(network.graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.metadata_props.add(key=METADATA_KEY, value=info.to_json())
    onnx.checker.check_model(model)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        onnx.save(model, draft)
        noise = np.random.default_rng(0).integers(0, 256, (1, INPUT_HEIGHT, INPUT_WIDTH, 3), np.uint8)
        depth = DepthEstimator.load(draft, backend="cpu").backend.infer(noise)["depth"]
        if not np.isfinite(depth).all():
            raise ValueError(f"the depth that these weights give is not finite: {path} was not written")
        os.replace(draft, path)
    write_card(path, "`FcrnUpProj`", network.parameters, depth.shape[2:])


def build(weights: Weights) -> onnx.GraphProto:
    """
    Build the network; batch normalisations are folded into the convolutions before them.

    Parameters
    ----------
    weights : mapping
        Arrays by layer and entry as in the file: ``weights`` [height, width, in, out] and ``biases`` of convolutions,
        ``mean``, ``variance``, ``scale`` and ``offset`` of batch normalisations.

    Returns
    -------
    onnx.GraphProto
        ``image``, uint8 [N, 228, 304, 3], to ``depth``, float32 [N, 1, 128, 160].

    Raises
    ------
    ValueError
        If a layer or entry is missing or has another shape, or the file has one that the network does not have.
    """
    builder = _Builder(weights)
    nodes = builder.nodes
    # The network uses the values 0 to 255 as they are; no mean is subtracted.
    image = nodes.add("Transpose", nodes.cast("image", TensorProto.FLOAT), perm=[0, 3, 1, 2])
    x = builder.up_projections(builder.encoder(image))
    kernel, bias = builder.arrays.convolution("ConvPred", 3, 3, 64, 1)
    nodes.add("Relu", builder.convolution(x, kernel, bias), output="depth")
    if builder.arrays.left:
        raise ValueError(f"it has {builder.arrays.left[0]}, which the network does not")
    return helper.make_graph(
        nodes.nodes,
        "fcrn",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ("batch", INPUT_HEIGHT, INPUT_WIDTH, 3))],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, ("batch", 1, OUTPUT_HEIGHT, OUTPUT_WIDTH))],
        nodes.weights,
    )


class _Arrays:
    """Arrays of the file; each is taken once, and its shape is checked."""

    def __init__(self, weights: Weights):
        self._arrays = {
            f"{layer}/{entry}": array for layer, entries in weights.items() for entry, array in entries.items()
        }

    @property
    def left(self) -> list[str]:
        """Names of the arrays that were not taken."""
        return sorted(self._arrays)

    def take(self, layer: str, entry: str, *shape: int) -> np.ndarray:
        """Return an array as float64."""
        array = self._arrays.pop(f"{layer}/{entry}", None)
        if array is None:
            raise ValueError(f"it lacks {layer}/{entry}")
        if array.shape != shape:
            raise ValueError(f"its {layer}/{entry} has shape {array.shape}, the network needs {shape}")
        return array.astype(np.float64)

    def kernel(self, layer: str, *shape: int) -> np.ndarray:
        """Return the kernel of a convolution, [height, width, in, out] in the file, in ONNX's order [out, in, h, w]."""
        return self.take(layer, "weights", *shape).transpose(3, 2, 0, 1)

    def convolution(self, layer: str, *shape: int) -> tuple[np.ndarray, np.ndarray]:
        """Return kernel and bias of a convolution."""
        return self.kernel(layer, *shape), self.take(layer, "biases", shape[-1])

    def norm(self, layer: str, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Return factor and summand of a batch normalisation."""
        mean, variance, scale, offset = (
            self.take(layer, entry, channels) for entry in ("mean", "variance", "scale", "offset")
        )
        factor = scale / np.sqrt(variance + NORM_EPS)
        return factor, offset - factor * mean


class _Builder:
    """The graph under construction."""

    def __init__(self, weights: Weights):
        self.arrays = _Arrays(weights)
        self.nodes = Nodes(OPSET, "fcrn")

    def convolution(self, x: str, kernel: np.ndarray, bias: np.ndarray, stride: int = 1) -> str:
        """Append a convolution with half of its kernel as padding."""
        pads = [side // 2 for side in kernel.shape[2:]] * 2
        constants = (self.nodes.constant(kernel), self.nodes.constant(bias))
        return self.nodes.add("Conv", x, *constants, kernel_shape=kernel.shape[2:], pads=pads, strides=[stride] * 2)

    def normalised(self, x: str, layer: str, norm: str, *shape: int, biased: bool = False, stride: int = 1) -> str:
        """Append a convolution of the file and the batch normalisation after it."""
        kernel, bias = self.arrays.convolution(layer, *shape) if biased else (self.arrays.kernel(layer, *shape), 0.0)
        factor, summand = self.arrays.norm(norm, shape[-1])
        return self.convolution(x, kernel * factor[:, None, None, None], bias * factor + summand, stride)

    def encoder(self, x: str) -> str:
        """Append ResNet-50 of the first Caffe release, and the 1x1 convolution after it."""
        add = self.nodes.add
        x = add("Relu", self.normalised(x, "conv1", "bn_conv1", 7, 7, 3, 64, biased=True, stride=2))
        # TensorFlow's SAME padding: one more row and column, at the bottom and right only.
        x = add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
        before = 64
        for number, (blocks, width) in enumerate(STAGES, start=2):
            for letter in "abcdef"[:blocks]:
                x = add("Relu", self.residual(x, f"{number}{letter}", before, width))
                before = 4 * width
        return self.normalised(x, "layer1", "layer1_BN", 1, 1, before, 1024, biased=True)

    def residual(self, x: str, block: str, before: int, width: int) -> str:
        """Append a bottleneck block, without its last ReLU."""

        def layer(x: str, branch: str, *shape: int, stride: int = 1) -> str:
            return self.normalised(x, f"res{block}_branch{branch}", f"bn{block}_branch{branch}", *shape, stride=stride)

        first = block.endswith("a")
        # Caffe's ResNet downsamples in the first 1x1 convolution of a stage, others in the 3x3 after it.
        stride = 2 if first and block != "2a" else 1
        inner = self.nodes.add("Relu", layer(x, "2a", 1, 1, before, width, stride=stride))
        inner = self.nodes.add("Relu", layer(inner, "2b", 3, 3, width, width))
        inner = layer(inner, "2c", 1, 1, width, 4 * width)
        return self.nodes.add("Add", inner, layer(x, "1", 1, 1, before, 4 * width, stride=stride) if first else x)

    def up_projections(self, x: str) -> str:
        """Append the decoder."""
        for block, (before, after) in UP_PROJECTIONS.items():
            inner, projection = (self.interleaved(x, f"layer{block}_br{branch}", before, after) for branch in (1, 2))
            inner = self.nodes.add("Relu", inner)
            inner = self.normalised(inner, f"layer{block}_Conv", f"layer{block}_BN", 3, 3, after, after, biased=True)
            x = self.nodes.add("Relu", self.nodes.add("Add", inner, projection))
        return x

    def interleaved(self, x: str, branch: str, before: int, after: int) -> str:
        """
        Append a branch of an up-projection, [N, in, H, W] to [N, out, 2H, 2W], and its batch normalisation.

        Convolutions A (3x3), B (2x3), C (3x2) and D (2x2) of the same input give the pixels at (even row, even column),
        (odd, even), (even, odd) and (odd, odd). B, C and D extend only up and left. Here, all four are computed as one
        convolution: each kernel lies in the top left of a 3x3 kernel whose other taps are zero, each position is a
        channel, and depth-to-space puts the channels into place.
        """
        kernel, bias = np.zeros((after, 2, 2, before, 3, 3)), np.zeros((after, 2, 2))
        for letter, (row, column) in POSITIONS.items():
            height, width = 3 - row, 3 - column
            taps, bias[:, row, column] = self.arrays.convolution(f"{branch}_Conv{letter}", height, width, before, after)
            kernel[:, row, column, :, :height, :width] = taps
        factor, summand = (values[:, None, None] for values in self.arrays.norm(f"{branch}_BN", after))
        kernel, bias = kernel * factor[..., None, None, None], bias * factor + summand
        x = self.convolution(x, kernel.reshape(-1, before, 3, 3), bias.reshape(-1))
        return self.nodes.add("DepthToSpace", x, blocksize=2, mode="CRD")
