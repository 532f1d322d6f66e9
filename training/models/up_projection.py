"""
Up-projection blocks of Laina et al., "Deeper Depth Prediction with Fully Convolutional Residual Networks" (3DV 2016).

A block doubles the resolution: unpool x2 (each value into the top-left of a 2x2 cell, the holes zero), then a
5x5 convolution, ReLU and a 3x3 convolution, plus a projection branch (5x5 on the same unpooled map).

Three quarters of what the 5x5 convolutions read are zeros. `UpProjection` leaves them out: unpooling followed by
a 5x5 convolution is one transposed convolution of stride 2 with the kernel flipped, and both branches read the
same input, so one transposed convolution computes them together. `NaiveUpProjection` is the definition, kept to
hold the fast form against it and to measure what it saves.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def unpool(x: torch.Tensor) -> torch.Tensor:
    """
    Double the resolution by putting each value into the top-left of a 2x2 cell of zeros.

    Parameters
    ----------
    x : torch.Tensor
        [N, C, H, W].

    Returns
    -------
    torch.Tensor
        [N, C, 2H, 2W].
    """
    cell = x.new_zeros(2, 2)
    cell[0, 0] = 1
    return torch.kron(x.contiguous(), cell)


class UpProjection(nn.Module):
    """
    Up-projection block, both 5x5 convolutions as one transposed convolution.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after. [N, in, H, W] becomes [N, out, 2H, 2W].
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.out_channels = out_channels
        # The first out_channels are the residual branch, the others the projection.
        self.up = nn.ConvTranspose2d(
            in_channels, 2 * out_channels, 5, stride=2, padding=2, output_padding=1, bias=False
        )
        self.up_norm = nn.BatchNorm2d(2 * out_channels)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.conv_norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output at twice the resolution."""
        branch, projection = self.up_norm(self.up(x)).split([self.out_channels, self.out_channels], dim=1)
        branch = self.conv_norm(self.conv(F.relu(branch)))
        return F.relu(branch + projection)


class NaiveUpProjection(nn.Module):
    """
    The same block as the paper draws it: zeros, unpool, 5x5.

    Parameters
    ----------
    block : UpProjection
        The block whose weights are taken over.
    """

    def __init__(self, block: UpProjection):
        super().__init__()
        self.out_channels = block.out_channels
        weight = block.up.weight  # [in, 2 out, 5, 5]
        self.conv5 = nn.Conv2d(weight.shape[0], weight.shape[1], 5, padding=2, bias=False)
        self.conv5.weight = nn.Parameter(weight.detach().transpose(0, 1).flip(2, 3).contiguous())
        self.up_norm, self.conv, self.conv_norm = block.up_norm, block.conv, block.conv_norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output at twice the resolution."""
        branch, projection = self.up_norm(self.conv5(unpool(x))).split([self.out_channels, self.out_channels], dim=1)
        branch = self.conv_norm(self.conv(F.relu(branch)))
        return F.relu(branch + projection)


def naive(network: nn.Module) -> nn.Module:
    """Replace, in place, every `UpProjection` of a network by its naive form with the same weights."""
    for name, child in network.named_children():
        setattr(network, name, NaiveUpProjection(child) if isinstance(child, UpProjection) else naive(child))
    return network
