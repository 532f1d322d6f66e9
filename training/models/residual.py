"""CNN+Residual: a ResNet encoder and an up-projection decoder (Laina et al. 2016; the study's best network)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torchvision
from torch import nn

from training.models.up_projection import UpProjection

# Statistics of ImageNet, which torchvision's encoders expect.
IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)

# Centres of the bins: 64 logarithms of depths, from a little below to a little above what a Kinect measures.
LOG_BINS = torch.linspace(math.log(0.6), math.log(10.5), 64)


class ResNetUpProjection(nn.Module):
    """
    ResNet without pooling and classifier, a 1x1 convolution, and up-projection blocks to the depth map.

    ``ResNetUpProjection("resnet50")`` is the paper's network: 63.6 M parameters, 228x304 in, 128x160 out.

    Parameters
    ----------
    encoder : {"resnet18", "resnet34", "resnet50"}
        The torchvision encoder.
    decoder_channels : sequence of int
        Width after the 1x1 convolution and after each up-projection block.
    encoder_blocks : sequence of int, optional
        Residual blocks in each of the encoder's four stages, where a smaller encoder is wanted.
    pretrained : str, optional
        Name of a torchvision weights enum entry, e.g. ``"IMAGENET1K_V2"``; downloaded by torchvision on first use.
    output : {"relu", "log", "bins"}
        ``"relu"``: the last convolution is depth in metres, clipped at zero (the paper); ``"log"``: it is
        the logarithm of depth; ``"bins"``: it scores `LOG_BINS`, and depth is the exponential of their mean.
    dropout : float
        Share of the encoder's output channels dropped in training.
    """

    def __init__(
        self,
        encoder: str = "resnet50",
        decoder_channels: Sequence[int] = (1024, 512, 256, 128, 64),
        encoder_blocks: Sequence[int] | None = None,
        pretrained: str | None = None,
        output: str = "relu",
        dropout: float = 0.0,
    ):
        super().__init__()
        if output not in ("relu", "log", "bins"):
            raise ValueError(f"output must be relu, log or bins, got {output!r}")
        self.output = output
        self.encoder, features = _encoder(encoder, encoder_blocks, pretrained)
        self.bottleneck = nn.Sequential(
            nn.Dropout2d(dropout),
            nn.Conv2d(features, decoder_channels[0], 1, bias=False),
            nn.BatchNorm2d(decoder_channels[0]),
        )
        self.decoder = nn.Sequential(*(UpProjection(a, b) for a, b in pairwise(decoder_channels)))
        self.predict = nn.Conv2d(decoder_channels[-1], len(LOG_BINS) if output == "bins" else 1, 3, padding=1)
        for layer in (*self.bottleneck.modules(), *self.decoder.modules(), self.predict):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, std=0.01)
        # Start at a typical indoor depth rather than at zero, where a ReLU has no gradient.
        nn.init.constant_(self.predict.bias, {"relu": 2.5, "log": math.log(2.5), "bins": 0.0}[output])
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("log_bins", LOG_BINS.view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(1, 3, 1, 1), persistent=False)

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
            ``depth``: float32 [N, 1, h, w], metres along the optical axis. With bins also ``bin_scores``:
            float32 [N, bins, h, w], logarithms of probabilities up to a constant.
        """
        x = (image.permute(0, 3, 1, 2).float() - self.mean) / self.std
        x = self.predict(self.decoder(self.bottleneck(self.encoder(x))))
        # The exponential of a half-precision logarithm would keep two digits of the depth.
        x = x.float()
        if self.output == "relu":
            return {"depth": torch.relu(x)}
        if self.output == "log":
            return {"depth": torch.exp(x.clamp(-5.0, 5.0))}
        mean = (x.softmax(dim=1) * self.log_bins).sum(dim=1, keepdim=True)
        return {"depth": torch.exp(mean), "bin_scores": x}


def _encoder(name: str, blocks: Sequence[int] | None, pretrained: str | None) -> tuple[nn.Module, int]:
    """Return a torchvision ResNet up to its last feature map, and that map's channels."""
    if name not in ("resnet18", "resnet34", "resnet50"):
        raise ValueError(f"encoder must be resnet18, resnet34 or resnet50, got {name!r}")
    if blocks is None:
        net = torchvision.models.get_model(name, weights=pretrained)
    elif pretrained:
        raise ValueError(f"{pretrained} weights fit the full {name} only: leave out encoder_blocks")
    else:
        block = torchvision.models.resnet.Bottleneck if name == "resnet50" else torchvision.models.resnet.BasicBlock
        net = torchvision.models.ResNet(block, list(blocks))
    features = net.fc.in_features
    stem = (net.conv1, net.bn1, net.relu, net.maxpool)
    return nn.Sequential(*stem, net.layer1, net.layer2, net.layer3, net.layer4), features
