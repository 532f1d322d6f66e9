"""CNN+FC: the coarse network of Eigen et al. (NIPS 2014), as the study builds it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from training.models.image import Normalise

KERNELS = (11, 5, 3, 3, 3, 3)
POOLINGS = 5


class EigenCoarse(nn.Module):
    """
    Six convolutions and two fully connected layers. Every pixel of the depth map depends on the whole image.

    Batch normalisation and ReLU follow each convolution, 2x2 max-pooling the first five, and ReLU and dropout the first
    fully connected layer. The depth map is not resized to the ground truth here.

    The study gives the kernels and the numbers of parameters (`STUDY_COUNTS`), but not the widths and sizes. With the
    default arguments, the convolutions (biases included) have exactly the study's 27,232 parameters. The fully
    connected layers have 7,329,524, which is 142 (0.002 %) more than the study's 7,329,382: 2,800 features of a 320x240
    image, 1,000 hidden units, a 78x58 map.

    Parameters
    ----------
    input_size, output_size : sequence of int
        (height, width) of the image and of the depth map, in pixels. Fixed, because of the fully connected layers.
    channels : sequence of int
        Output channels of the six convolutions.
    hidden : int
        Units of the first fully connected layer.
    dropout : float
        Dropout probability of these units.

    Raises
    ------
    ValueError
        If there are not six widths, or the image is too small for five poolings.
    """

    STUDY_COUNTS: ClassVar[dict[str, int]] = {"convolutions": 27_232, "fully connected": 7_329_382}

    def __init__(
        self,
        input_size: Sequence[int] = (240, 320),
        output_size: Sequence[int] = (58, 78),
        channels: Sequence[int] = (12, 12, 12, 16, 32, 40),
        hidden: int = 1000,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.input_size, self.output_size = tuple(input_size), tuple(output_size)
        if len(channels) != len(KERNELS):
            raise ValueError(f"channels must be {len(KERNELS)} widths, got {len(channels)}")
        height, width = (side >> POOLINGS for side in self.input_size)
        if not height or not width:
            raise ValueError(f"input_size must be at least {1 << POOLINGS} pixels a side, got {list(input_size)}")
        layers: list[nn.Module] = []
        for i, (kernel, (a, b)) in enumerate(zip(KERNELS, pairwise((3, *channels)), strict=True)):
            layers += [nn.Conv2d(a, b, kernel, padding=kernel // 2), nn.BatchNorm2d(b), nn.ReLU()]
            if i < POOLINGS:
                layers.append(nn.MaxPool2d(2))
        self.normalise = Normalise()
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Linear(channels[-1] * height * width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.predict = nn.Linear(hidden, self.output_size[0] * self.output_size[1])
        nn.init.normal_(self.predict.weight, std=0.01)
        # Start at a typical indoor depth rather than at zero, where a ReLU has no gradient.
        nn.init.constant_(self.predict.bias, 2.5)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Estimate depth.

        Parameters
        ----------
        image : torch.Tensor
            uint8 [N, H, W, 3], RGB, of ``input_size``.

        Returns
        -------
        dict
            ``depth``: float32 [N, 1, h, w] of ``output_size``, metres along the optical axis.

        Raises
        ------
        ValueError
            If the image has another size.
        """
        if tuple(image.shape[1:3]) != self.input_size:
            raise ValueError(
                f"the network takes images of {list(self.input_size)}, not {list(image.shape[1:3])}: "
                "give data.input_size and model.network.input_size the same value"
            )
        x = self.convolutions(self.normalise(image)).flatten(1)
        x = self.predict(self.dropout(torch.relu(self.hidden(x))))
        return {"depth": torch.relu(x.float()).view(-1, 1, *self.output_size)}
