"""Pure CNN and CNN-transpose: the study's networks of 3x3 convolutions alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from training.models.image import Normalise


class PlainCNN(nn.Module):
    """
    Eight 3x3 convolutions with 2x2 max-pooling down to the depth map's size.

    All but the last are followed by batch normalisation and ReLU, the second, fourth, ... by max-pooling as well. The
    last gives depth and has a ReLU only: normalised, a depth would depend on the other images of its batch.

    The study gives no widths. With the defaults, 320x240 becomes 80x60.

    Parameters
    ----------
    channels : sequence of int
        Widths of the first seven convolutions.
    poolings : int
        How often the size is halved, 0 to 3.
    transpose : bool
        CNN-transpose: one pooling more, and the last layer a transposed 3x3 convolution that doubles the size, so
        that the depth map keeps its size and each of its pixels sees more of the image.

    Raises
    ------
    ValueError
        If there are not seven widths or too many poolings.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 32, 64, 64, 128, 128, 128),
        poolings: int = 2,
        transpose: bool = False,
    ):
        super().__init__()
        if len(channels) != 7:
            raise ValueError(f"channels must be 7 widths, got {len(channels)}")
        most = 2 if transpose else 3
        if not 0 <= poolings <= most:
            raise ValueError(f"poolings must lie between 0 and {most}, got {poolings}")
        poolings += transpose
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise((3, *channels))):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
            if i % 2 and i // 2 < poolings:
                layers.append(nn.MaxPool2d(2))
        self.normalise = Normalise()
        self.convolutions = nn.Sequential(*layers)
        if transpose:
            self.predict = nn.ConvTranspose2d(channels[-1], 1, 3, stride=2, padding=1, output_padding=1)
        else:
            self.predict = nn.Conv2d(channels[-1], 1, 3, padding=1)
        nn.init.normal_(self.predict.weight, std=0.01)
        # Start at a typical indoor depth rather than at zero, where a ReLU has no gradient.
        nn.init.constant_(self.predict.bias, 2.5)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Estimate depth.

        Parameters
        ----------
        image : torch.Tensor
            uint8 [N, H, W, 3], RGB.

        Returns
        -------
        dict
            ``depth``: float32 [N, 1, h, w], metres along the optical axis.
        """
        x = self.predict(self.convolutions(self.normalise(image)))
        return {"depth": torch.relu(x.float())}
