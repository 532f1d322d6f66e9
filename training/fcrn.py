"""Conversion of the weights that Laina et al. released for NYU Depth v2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

from depth_estimation_ros.backends.tensorrt.parity import calibration_frames
from depth_estimation_ros.model import ModelInfo
from training.card import place_of_card, write_card
from training.checkpoint import Checkpoint
from training.data.kinect import COLOUR_CAMERA
from training.export import export
from training.files import sha256_of
from training.models.fcrn import FcrnUpProj, InterleavedUpProjection
from training.restricted_pickle import load_array_dict

URL = "http://campar.in.tum.de/files/rupprecht/depthpred/NYU_ResNet-UpProj.npy"

# Position of the pixels of each convolution of a branch: (row, column) in a 2x2 cell.
POSITIONS = {"A": (0, 0), "B": (1, 0), "C": (0, 1), "D": (1, 1)}

INPUT_WIDTH, INPUT_HEIGHT = 304, 228
# fx and fy of the toolbox at 640x480, halved with the image. The crop to 304x228 does not change them.
FOCAL_LENGTH = COLOUR_CAMERA.focal_length / 2

Weights = Mapping[str, Mapping[str, np.ndarray]]


def convert(weights: Weights) -> FcrnUpProj:
    """
    Build the network with the released weights; the conversion is exact.

    Parameters
    ----------
    weights : mapping
        Arrays by layer and entry as in the file: ``weights`` [height, width, in, out] and ``biases`` of convolutions,
        ``mean``, ``variance``, ``scale`` and ``offset`` of batch normalisations.

    Returns
    -------
    FcrnUpProj
        Network in evaluation mode.

    Raises
    ------
    ValueError
        If a layer or entry is missing or has another shape, or the file has one that the network does not have.
    """
    network = FcrnUpProj().eval()
    source = _Weights(weights)
    with torch.no_grad():
        _fill_encoder(network.encoder, source)
        source.fill_convolution(network.bottleneck[0], "layer1")
        source.fill_norm(network.bottleneck[1], "layer1_BN")
        for block, name in zip(network.decoder, ("2x", "4x", "8x", "16x"), strict=True):
            _fill_up_projection(block, f"layer{name}", source)
        source.fill_convolution(network.predict, "ConvPred")
    if source.left:
        raise ValueError(f"it has {source.left[0]}, which the network does not")
    return network


def load(path: Path) -> Checkpoint:
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
        network = convert(weights)
    except ValueError as error:
        raise ValueError(f"{path} does not hold the weights of FCRN's ResNet-UpProj: {error}") from None
    return Checkpoint(network, {}, sha256_of(path))


def write_model(checkpoint: Checkpoint, path: Path) -> float:
    """
    Write the network as an ONNX file of the model contract, and its model card.

    Parameters
    ----------
    checkpoint : Checkpoint
        From `load`.
    path : pathlib.Path
        Output file.

    Returns
    -------
    float
        Largest relative difference between ONNX Runtime and PyTorch, on views of rendered rooms.

    Raises
    ------
    ValueError
        If they differ by more than `training.export.export` allows, or the path of the card exists and is not a card.
        Nothing is written then.
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
        source_sha256=checkpoint.sha256,
    )
    difference = export(checkpoint, info, path, half_weights=False, frames=calibration_frames(info, count=2))
    write_card(path, checkpoint)
    return difference


class _Weights:
    """Arrays of the file; each is taken once, and its shape is checked."""

    def __init__(self, weights: Weights):
        self._arrays = {
            f"{layer}/{entry}": array for layer, entries in weights.items() for entry, array in entries.items()
        }

    @property
    def left(self) -> list[str]:
        """Names of the arrays that were not taken."""
        return sorted(self._arrays)

    def take(self, layer: str, entry: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Return an array as float32."""
        array = self._arrays.pop(f"{layer}/{entry}", None)
        if array is None:
            raise ValueError(f"it lacks {layer}/{entry}")
        if array.shape != shape:
            raise ValueError(f"its {layer}/{entry} has shape {array.shape}, the network needs {shape}")
        return torch.from_numpy(array.astype(np.float32))

    def kernel(self, layer: str, in_channels: int, out_channels: int, height: int, width: int) -> torch.Tensor:
        """Return the weights of a convolution in PyTorch's order, [out, in, height, width]."""
        return self.take(layer, "weights", (height, width, in_channels, out_channels)).permute(3, 2, 0, 1)

    def fill_convolution(self, layer: nn.Conv2d, name: str) -> None:
        """Fill a convolution, and its bias if it has one."""
        layer.weight.copy_(self.kernel(name, layer.in_channels, layer.out_channels, *layer.kernel_size))
        if layer.bias is not None:
            layer.bias.copy_(self.take(name, "biases", tuple(layer.bias.shape)))

    def fill_norm(self, layer: nn.BatchNorm2d, *names: str) -> None:
        """Fill a batch normalisation from one or several layers of the file, concatenated in this order."""
        shape = (layer.num_features // len(names),)
        for own, entry in (
            ("running_mean", "mean"),
            ("running_var", "variance"),
            ("weight", "scale"),
            ("bias", "offset"),
        ):
            getattr(layer, own).copy_(torch.cat([self.take(name, entry, shape) for name in names]))


def _fill_encoder(encoder: torchvision.models.ResNet, source: _Weights) -> None:
    source.fill_convolution(encoder.conv1, "conv1")
    source.fill_norm(encoder.bn1, "bn_conv1")
    for number, stage in enumerate((encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4), start=2):
        for block, letter in zip(stage, "abcdef", strict=False):
            pairs = {"2a": (block.conv1, block.bn1), "2b": (block.conv2, block.bn2), "2c": (block.conv3, block.bn3)}
            if block.downsample is not None:
                pairs["1"] = tuple(block.downsample)
            for branch, (convolution, norm) in pairs.items():
                source.fill_convolution(convolution, f"res{number}{letter}_branch{branch}")
                source.fill_norm(norm, f"bn{number}{letter}_branch{branch}")


def _fill_up_projection(block: InterleavedUpProjection, name: str, source: _Weights) -> None:
    layer, out = block.interleaved, block.out_channels
    layer.weight.zero_()
    weight = layer.weight.view(2, out, 2, 2, layer.in_channels, 3, 3)
    bias = layer.bias.view(2, out, 2, 2)
    for branch in (0, 1):
        for letter, (row, column) in POSITIONS.items():
            part = f"{name}_br{branch + 1}_Conv{letter}"
            height, width = 3 - row, 3 - column
            weight[branch, :, row, column, :, :height, :width] = source.kernel(
                part, layer.in_channels, out, height, width
            )
            bias[branch, :, row, column] = source.take(part, "biases", (out,))
    source.fill_norm(block.up_norm, f"{name}_br1_BN", f"{name}_br2_BN")
    source.fill_convolution(block.conv, f"{name}_Conv")
    source.fill_norm(block.conv_norm, f"{name}_BN")
