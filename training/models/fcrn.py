"""
The network of the TensorFlow weights that Laina et al. released.

"Deeper Depth Prediction with Fully Convolutional Residual Networks" (3DV 2016). `UpProjectionNetwork` follows the
paper; this network follows the released file, which differs from the paper in every part (see the comments).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

# Epsilon of every batch normalisation in the released network; torchvision uses 1e-5.
NORM_EPS = 1e-4


class InterleavedUpProjection(nn.Module):
    """
    Up-projection by interleaved convolutions, [N, in, H, W] to [N, out, 2H, 2W].

    In each of two branches, convolutions A (3x3), B (2x3), C (3x2) and D (2x2) of the same input give the pixels at
    (even row, even column), (odd, even), (even, odd) and (odd, odd). B, C and D extend only up and left. Here, all
    eight are computed as one convolution: each kernel lies in the top left of a 3x3 kernel whose other taps are zero,
    each position is a channel, and a pixel shuffle puts the channels into place. This equals a transposed convolution
    of kernel 6, stride 2 and padding 2 with the same number of multiplications, except that each position has its
    own bias, which a transposed convolution cannot have.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and the output.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.out_channels = out_channels
        # Channel order: branch (residual, projection), output channel, position (A, C, B, D: row by row).
        self.interleaved = nn.Conv2d(in_channels, 2 * out_channels * 4, 3, padding=1)
        # One layer for both branches; the first out_channels channels are the residual branch.
        self.up_norm = nn.BatchNorm2d(2 * out_channels, eps=NORM_EPS)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_norm = nn.BatchNorm2d(out_channels, eps=NORM_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output at twice the resolution."""
        x = self.up_norm(F.pixel_shuffle(self.interleaved(x), 2))
        branch, projection = x.split([self.out_channels, self.out_channels], dim=1)
        branch = self.conv_norm(self.conv(F.relu(branch)))
        return F.relu(branch + projection)


class FcrnUpProj(nn.Module):
    """
    ResNet-50 of the first Caffe release, a 1x1 convolution and interleaved up-projections.

    Height and width of the image must leave a remainder of 0 or 3 when divided by 4 (as 228x304 does); only then does
    the max-pooling match the original. `training.fcrn.convert` fills in the released weights.

    Parameters
    ----------
    encoder_blocks : sequence of int
        Residual blocks in each of the four stages.
    decoder_channels : sequence of int
        Channels after the 1x1 convolution and after each up-projection block.
    """

    def __init__(
        self,
        encoder_blocks: Sequence[int] = (3, 4, 6, 3),
        decoder_channels: Sequence[int] = (1024, 512, 256, 128, 64),
    ):
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=NORM_EPS)
        bottleneck = torchvision.models.resnet.Bottleneck
        self.encoder = torchvision.models.ResNet(bottleneck, list(encoder_blocks), norm_layer=norm)
        self.encoder.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        # TensorFlow's SAME padding: one more row and column, at the bottom and right only.
        self.encoder.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        for stage in (self.encoder.layer2, self.encoder.layer3, self.encoder.layer4):
            # Caffe's ResNet downsamples in the first 1x1 convolution of a stage, torchvision's in the 3x3 after it.
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
        features = self.encoder.fc.in_features
        del self.encoder.avgpool, self.encoder.fc
        self.bottleneck = nn.Sequential(
            nn.Conv2d(features, decoder_channels[0], 1), nn.BatchNorm2d(decoder_channels[0], eps=NORM_EPS)
        )
        self.decoder = nn.Sequential(*(InterleavedUpProjection(a, b) for a, b in pairwise(decoder_channels)))
        self.predict = nn.Conv2d(decoder_channels[-1], 1, 3, padding=1)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Estimate depth.

        Parameters
        ----------
        image : torch.Tensor
            uint8 [N, H, W, 3], RGB. The network uses the values 0 to 255 as they are; no mean is subtracted.

        Returns
        -------
        dict
            ``depth``: float32 [N, 1, h, w], metres along the optical axis, zero where the network estimates no depth.
        """
        net = self.encoder
        x = net.maxpool(net.relu(net.bn1(net.conv1(image.float().permute(0, 3, 1, 2)))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return {"depth": torch.relu(self.predict(self.decoder(self.bottleneck(x))).float())}
