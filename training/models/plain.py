"""Pure CNN and CNN-transpose: the study's networks of 3x3 convolutions only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from training.models.image import Normalise


class PlainCNN(nn.Module):
    """
    Eight 3x3 convolutions with 2x2 max-pooling down to the depth map's size.

    Batch normalisation and ReLU follow every convolution except the last; max-pooling also follows the second, the
    fourth and so on. The last convolution outputs depth and is followed by ReLU only, because with batch normalisation
    a depth would depend on the other images of the batch.

    The study does not give the channels. With the default arguments, a 320x240 image gives an 80x60 depth map.

    Parameters
    ----------
    channels : sequence of int
        Output channels of the first seven convolutions.
    poolings : int
        Number of times the size is halved, 0 to 3.
    transpose : bool
        Build CNN-transpose: one more pooling, and a transposed 3x3 convolution as last layer that doubles the size. The
        depth map keeps its size, and each of its pixels depends on a larger part of the image.

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
