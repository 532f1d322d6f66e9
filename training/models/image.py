"""Conversion of the model contract's image (bytes, channels last) to the input of a convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

# Statistics of ImageNet, which torchvision's encoders expect.
IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)


class Normalise(nn.Module):
    """
    Conversion of uint8 [N, H, W, 3] RGB to float32 [N, 3, H, W] of about zero mean and unit variance.

    It has no learned parameters.

    Parameters
    ----------
    mean, std : sequence of float
        Mean and standard deviation of the encoder's images per channel, in grey levels (0 to 255).
    """

    def __init__(self, mean: Sequence[float] = IMAGE_MEAN, std: Sequence[float] = IMAGE_STD):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the normalised image."""
        # Cast first: TensorRT does not transpose uint8.
        return (image.float().permute(0, 3, 1, 2) - self.mean) / self.std
