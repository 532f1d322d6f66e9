"""The weights that Laina et al. released for NYU Depth v2, in the network of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torchvision
from torch import nn

from training.models.fcrn import FcrnUpProj, InterleavedUpProjection

# Position of the pixels of each convolution of a branch: (row, column) in a 2x2 cell.
POSITIONS = {"A": (0, 0), "B": (1, 0), "C": (0, 1), "D": (1, 1)}


def convert(weights: Mapping[str, Mapping[str, np.ndarray]]) -> FcrnUpProj:
    """Build the network in evaluation mode; the conversion is exact."""
    network = FcrnUpProj().eval()
    source = _Weights(weights)
    with torch.no_grad():
        _fill_encoder(network.encoder, source)
        source.fill_convolution(network.bottleneck[0], "layer1")
        source.fill_norm(network.bottleneck[1], "layer1_BN")
        for block, name in zip(network.decoder, ("2x", "4x", "8x", "16x"), strict=True):
            _fill_up_projection(block, f"layer{name}", source)
        source.fill_convolution(network.predict, "ConvPred")
    assert not source.left
    return network


class _Weights:
    """Arrays of the file; each is taken once."""

    def __init__(self, weights: Mapping[str, Mapping[str, np.ndarray]]):
        self._arrays = {
            f"{layer}/{entry}": array for layer, entries in weights.items() for entry, array in entries.items()
        }

    @property
    def left(self) -> list[str]:
        """Names of the arrays that were not taken."""
        return sorted(self._arrays)

    def take(self, layer: str, entry: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Return an array as float32."""
        array = self._arrays.pop(f"{layer}/{entry}")
        assert array.shape == shape
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
