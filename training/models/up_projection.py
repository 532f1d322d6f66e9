"""
Up-projection blocks of Laina et al., "Deeper Depth Prediction with Fully Convolutional Residual Networks" (3DV 2016).

A block doubles the resolution: unpooling by 2 (`unpool`), a 5x5 convolution, ReLU and a 3x3 convolution, plus a
projection branch (a 5x5 convolution of the same unpooled map). The holes of the unpooled map are filled with zeros (the
paper) or with the average of their two nearest neighbours (the study's variant, which avoids the grid pattern of
zeros).

Both variants are computed in a fast form with the same result. `NaiveUpProjection` implements the definition, for tests
and for comparing the speed. `depth_to_space` replaces the transposed convolution of the fast form, for engines that run
it slowly.

**Zeros.** Three quarters of the inputs of the 5x5 convolutions are zeros. Unpooling followed by a 5x5 convolution
equals one transposed convolution of stride 2 with the flipped kernel. Both branches have the same input, so one
transposed convolution computes both, with a quarter of the multiply-adds.

**Average.** Averaging equals unpooling with zeros followed by the fixed filter ``FILL`` on each channel. Filters
commute: the same transposed convolution runs first and ``FILL`` after it, on few channels, with 9 multiply-adds per
value. At the border, the edge values of the map are repeated, both for the holes and for the 5x5 convolution (its
padding is replication; with zeros it is zeros). Padding the small map by replication gives exactly this result.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

HOLES = ("zeros", "average")

# Copies a value, and adds half of it to each hole beside it and a quarter to each diagonal hole.
FILL = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]])


def unpool(x: torch.Tensor, holes: str = "zeros") -> torch.Tensor:
    """
    Double the resolution by putting each value into the top-left of a 2x2 cell.

    Parameters
    ----------
    x : torch.Tensor
        [N, C, H, W].
    holes : {"zeros", "average"}
        How to fill the other three pixels of a cell: with zeros, or with the average of the two nearest neighbours. The
        neighbours of the top-right hole are left and right of it, those of the bottom-left hole above and below it. The
        bottom-right hole gets the mean of the four values around it, which equals the average of its two filled
        neighbours. A hole in the last row or column has one neighbour only and takes its value.

    Returns
    -------
    torch.Tensor
        [N, C, 2H, 2W].
    """
    if holes == "zeros":
        cell = x.new_zeros(2, 2)
        cell[0, 0] = 1
        return torch.kron(x.contiguous(), cell)
    for axis in (2, 3):
        n = x.shape[axis]
        following = torch.cat([x.narrow(axis, 1, n - 1), x.narrow(axis, n - 1, 1)], dim=axis)
        x = torch.stack([x, 0.5 * (x + following)], dim=axis + 1).flatten(axis, axis + 1)
    return x


class UpProjection(nn.Module):
    """
    Up-projection block that computes both 5x5 convolutions as one transposed convolution.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and the output. [N, in, H, W] becomes [N, out, 2H, 2W].
    holes : {"zeros", "average"}
        See `unpool`. The weights are the same for both.

    Raises
    ------
    ValueError
        If ``holes`` has another value.
    """

    def __init__(self, in_channels: int, out_channels: int, holes: str = "zeros"):
        super().__init__()
        if holes not in HOLES:
            raise ValueError(f"unpooling must be zeros or average, got {holes!r}")
        self.out_channels, self.holes = out_channels, holes
        # The first out_channels channels are the residual branch, the others the projection.
        self.up = nn.ConvTranspose2d(
            in_channels, 2 * out_channels, 5, stride=2, padding=2, output_padding=1, bias=False
        )
        self.up_norm = nn.BatchNorm2d(2 * out_channels)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.conv_norm = nn.BatchNorm2d(out_channels)
        if holes == "average":
            self.register_buffer("fill", FILL.repeat(2 * out_channels, 1, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
        """
        Return the block's output at twice the resolution.

        Parameters
        ----------
        x : torch.Tensor
            [N, in, H, W].
        size : tuple of int, optional
            (height, width) of the output, each double or one less (2H - 1, 2W - 1). In that case, the last row or
            column is not computed, so no crop is needed.

        Raises
        ------
        ValueError
            If ``size`` is any other size.
        """
        size = _checked(x, size)
        up = self.up(x, size) if self.holes == "zeros" else self._up_average(x, size)
        branch, projection = self.up_norm(up).split([self.out_channels, self.out_channels], dim=1)
        branch = self.conv_norm(self.conv(F.relu(branch)))
        return F.relu(branch + projection)

    def _up_average(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        height, width = size
        # The 5x5 convolution and FILL extend 3 pixels beyond the large map: 1 value of x before, 2 after.
        up = self.up(F.pad(x, (1, 2, 1, 2), mode="replicate"))
        # The result starts at row and column -2 of the large map; FILL needs -1 to height and width.
        up = up[:, :, 1 : height + 3, 1 : width + 3]
        return F.conv2d(up, self.fill.to(up.dtype), groups=up.shape[1])


class NaiveUpProjection(nn.Module):
    """
    The same block by its definition: unpooling, then a 5x5 convolution.

    Parameters
    ----------
    block : UpProjection
        Block whose weights are used.
    """

    def __init__(self, block: UpProjection):
        super().__init__()
        self.out_channels, self.holes = block.out_channels, block.holes
        weight = block.up.weight  # [in, 2 out, 5, 5]
        edge = "zeros" if block.holes == "zeros" else "replicate"
        self.conv5 = nn.Conv2d(weight.shape[0], weight.shape[1], 5, padding=2, padding_mode=edge, bias=False)
        self.conv5.weight = nn.Parameter(weight.detach().transpose(0, 1).flip(2, 3).contiguous())
        self.up_norm, self.conv, self.conv_norm = block.up_norm, block.conv, block.conv_norm

    def forward(self, x: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
        """Return the block's output at twice the resolution, or cut to ``size``."""
        height, width = _checked(x, size)
        up = self.up_norm(self.conv5(unpool(x, self.holes)))[:, :, :height, :width]
        branch, projection = up.split([self.out_channels, self.out_channels], dim=1)
        branch = self.conv_norm(self.conv(F.relu(branch)))
        return F.relu(branch + projection)


class SubPixelConvolution(nn.Module):
    """
    The transposed convolution of an up-projection, as a 3x3 convolution to four times the channels and a pixel shuffle.

    Each value becomes a 2x2 cell of pixels. Each pixel of the cell depends on other taps of the 5x5 kernel: taps 0, 2
    and 4 for the first row or column, 1 and 3 for the second. One convolution per pixel, with zeros for the missing
    taps, gives the same sums with 36 multiply-adds instead of 25. A map that is one row or column less than double
    would have to be cropped, which some engines do not load in int8; it is computed as before.

    Parameters
    ----------
    up : torch.nn.ConvTranspose2d
        Kernel 5, stride 2, padding 2, output padding 1, no bias.
    norm : torch.nn.BatchNorm2d, optional
        Batch normalisation in evaluation mode, to be folded into the convolution.
    """

    def __init__(self, up: nn.ConvTranspose2d, norm: nn.BatchNorm2d | None = None):
        super().__init__()
        self.up, self.norm = up, norm
        # Pad to 6 taps, as the second pixel of a cell has only two. A transposed convolution flips its kernel.
        taps = F.pad(up.weight.detach(), (0, 1, 0, 1)).flip(2, 3)  # [in, out, 6, 6]
        cells = taps.unflatten(3, (3, 2)).unflatten(2, (3, 2))  # [in, out, 3, 2, 3, 2]
        # The flip also reversed the pixels of the cell.
        weight = cells.flip(3, 5).permute(1, 3, 5, 0, 2, 4).flatten(0, 2)  # [out 4, in, 3, 3]
        self.conv = nn.Conv2d(up.in_channels, 4 * up.out_channels, 3, padding=1, bias=norm is not None)
        with torch.no_grad():
            if norm is not None:
                scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
                self.conv.bias.copy_((norm.bias - scale * norm.running_mean).repeat_interleave(4))
                weight = weight * scale.repeat_interleave(4).view(-1, 1, 1, 1)
            self.conv.weight.copy_(weight)

    def forward(self, x: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
        """Return the result of the transposed convolution and the normalisation, [N, in, H, W] to [N, out, 2H, 2W]."""
        if size is None or tuple(size) == (2 * x.shape[2], 2 * x.shape[3]):
            return F.pixel_shuffle(self.conv(x), 2)
        up = self.up(x, size)
        return up if self.norm is None else self.norm(up)


def _checked(x: torch.Tensor, size: tuple[int, int] | None) -> tuple[int, int]:
    """Return the output size of a block; raise ValueError if the requested size is impossible."""
    doubled = (2 * x.shape[2], 2 * x.shape[3])
    if size is not None and any(not 0 <= d - s <= 1 for d, s in zip(doubled, size, strict=True)):
        raise ValueError(
            f"an up-projection makes {_text(doubled)} of a map, but the encoder's map beside it is {_text(size)}: "
            "choose an input size that halves evenly as often as the encoder halves it (32 for five times)"
        )
    return doubled if size is None else (size[0], size[1])


def _text(size: tuple[int, int]) -> str:
    return "{1}x{0}".format(*size)


def depth_to_space(network: nn.Module) -> nn.Module:
    """
    Replace, in place, every transposed convolution of an `UpProjection` by a `SubPixelConvolution`; same result.

    The network must be in evaluation mode.

    Raises
    ------
    ValueError
        If the network has no `UpProjection`.
    """
    blocks = [block for block in network.modules() if isinstance(block, UpProjection)]
    if not blocks:
        raise ValueError("the network has no up-projection with a transposed convolution to write as depth-to-space")
    for block in blocks:
        if block.holes == "zeros":
            block.up, block.up_norm = SubPixelConvolution(block.up, block.up_norm), nn.Identity()
        else:  # the filter that fills the holes comes before the normalisation
            block.up = SubPixelConvolution(block.up)
    return network


def naive(network: nn.Module) -> nn.Module:
    """Replace, in place, every `UpProjection` of a network by its naive form with the same weights."""
    for name, child in network.named_children():
        setattr(network, name, NaiveUpProjection(child) if isinstance(child, UpProjection) else naive(child))
    return network
