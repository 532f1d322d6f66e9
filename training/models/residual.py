"""CNN+Residual: a ResNet encoder and an up-projection decoder (Laina et al. 2016; the study's best network)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torchvision
from torch import nn

from training.models.image import Normalise
from training.models.up_projection import UpProjection
from training.weights import read_weights

# Centres of the bins: 64 logarithms of depths, from a little below to a little above what a Kinect measures.
LOG_BINS = torch.linspace(math.log(0.6), math.log(10.5), 64)

# The parts of a torchvision ResNet that make the encoder, in order.
_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


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
        Name of a torchvision weights enum entry, e.g. ``"IMAGENET1K_V2"``: from torchvision's cache, downloaded by
        it on first use.
    encoder_weights : str, optional
        File of weights for the encoder instead: a torchvision state dict, as ``resnet50-0676ba61.pth``, or a
        checkpoint of this package with the same encoder.
    unpooling : {"zeros", "average"}
        What fills the holes of the up-projection's unpooling; the weights are the same for both.
    output : {"relu", "log", "bins"}
        ``"relu"``: the last convolution is depth in metres, clipped at zero (the paper); ``"log"``: it is
        the logarithm of depth; ``"bins"``: it scores `LOG_BINS`, and depth is the exponential of their mean.
    dropout : float
        Share of the encoder's output channels dropped in training.
    log_variance : bool
        Also estimate how sure each depth is, for the loss ``laplace_nll``.

    Raises
    ------
    ValueError
        If an option is not one of those above, or a file of weights is missing or does not fit.
    """

    def __init__(
        self,
        encoder: str = "resnet50",
        decoder_channels: Sequence[int] = (1024, 512, 256, 128, 64),
        encoder_blocks: Sequence[int] | None = None,
        pretrained: str | None = None,
        output: str = "relu",
        dropout: float = 0.0,
        encoder_weights: str | None = None,
        unpooling: str = "zeros",
        log_variance: bool = False,
    ):
        super().__init__()
        if output not in ("relu", "log", "bins"):
            raise ValueError(f"output must be relu, log or bins, got {output!r}")
        self.output = output
        if pretrained and encoder_weights:
            raise ValueError("give pretrained or encoder_weights, not both")
        self.encoder, features = _encoder(encoder, encoder_blocks, pretrained)
        if encoder_weights:
            load_encoder(self.encoder, encoder_weights)
        self.bottleneck = nn.Sequential(
            nn.Dropout2d(dropout),
            nn.Conv2d(features, decoder_channels[0], 1, bias=False),
            nn.BatchNorm2d(decoder_channels[0]),
        )
        self.decoder = nn.Sequential(*(UpProjection(a, b, unpooling) for a, b in pairwise(decoder_channels)))
        self.predict = nn.Conv2d(decoder_channels[-1], len(LOG_BINS) if output == "bins" else 1, 3, padding=1)
        self.predict_log_variance = nn.Conv2d(decoder_channels[-1], 1, 3, padding=1) if log_variance else None
        new = (*self.bottleneck.modules(), *self.decoder.modules(), self.predict, self.predict_log_variance)
        for layer in new:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, std=0.01)
        # Start at a typical indoor depth rather than at zero, where a ReLU has no gradient.
        nn.init.constant_(self.predict.bias, {"relu": 2.5, "log": math.log(2.5), "bins": 0.0}[output])
        if log_variance:
            # A standard deviation of one metre.
            nn.init.zeros_(self.predict_log_variance.bias)
        self.normalise = Normalise()
        self.register_buffer("log_bins", LOG_BINS.view(1, -1, 1, 1), persistent=False)

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
            float32 [N, bins, h, w], logarithms of probabilities up to a constant. With log_variance also
            ``log_variance``: float32 [N, 1, h, w], logarithm of the error's variance in square metres.
        """
        features = self.decoder(self.bottleneck(self.encoder(self.normalise(image))))
        output = self._depth(self.predict(features))
        if self.predict_log_variance is not None:
            # From 1 cm to 12 m: an exponential in a loss must not overflow.
            output["log_variance"] = self.predict_log_variance(features).float().clamp(-9.2, 5.0)
        return output

    def _depth(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        # The exponential of a half-precision logarithm would keep two digits of the depth.
        x = x.float()
        if self.output == "relu":
            return {"depth": torch.relu(x)}
        if self.output == "log":
            return {"depth": torch.exp(x.clamp(-5.0, 5.0))}
        mean = (x.softmax(dim=1) * self.log_bins).sum(dim=1, keepdim=True)
        return {"depth": torch.exp(mean), "bin_scores": x}


def load_encoder(encoder: nn.Sequential, path: str | Path) -> None:
    """
    Load weights of the same encoder from a file.

    Parameters
    ----------
    encoder : torch.nn.Sequential
        Of a `ResNetUpProjection`.
    path : path
        A torchvision state dict (its classifier is not used) or a checkpoint of this package.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or of another network.
    """
    weights = read_weights(path)
    if any(name.startswith("encoder.") for name in weights):
        own = {name.removeprefix("encoder."): v for name, v in weights.items() if name.startswith("encoder.")}
    else:
        own = {}
        for name, value in weights.items():
            part, _, rest = name.partition(".")
            if part in _PARTS:
                own[f"{_PARTS.index(part)}.{rest}"] = value
    expected = encoder.state_dict()
    # Files of old PyTorch versions do not count batches.
    missing = [n for n in expected if n not in own and not n.endswith("num_batches_tracked")]
    wrong = [n for n in own if n not in expected or own[n].shape != expected[n].shape]
    if missing or wrong:
        raise ValueError(
            f"{path} does not hold the weights of this encoder ({len(missing)} are missing, {len(wrong)} are of "
            "another shape or name): choose the encoder that it was made for, and leave out encoder_blocks"
        )
    encoder.load_state_dict(own, strict=False)


def _encoder(name: str, blocks: Sequence[int] | None, pretrained: str | None) -> tuple[nn.Module, int]:
    """Return a torchvision ResNet up to its last feature map, and that map's channels."""
    if name not in ("resnet18", "resnet34", "resnet50"):
        raise ValueError(f"encoder must be resnet18, resnet34 or resnet50, got {name!r}")
    if blocks is None:
        net = _torchvision(name, pretrained)
    elif pretrained:
        raise ValueError(f"{pretrained} weights fit the full {name} only: leave out encoder_blocks")
    else:
        block = torchvision.models.resnet.Bottleneck if name == "resnet50" else torchvision.models.resnet.BasicBlock
        net = torchvision.models.ResNet(block, list(blocks))
    return nn.Sequential(*(getattr(net, part) for part in _PARTS)), net.fc.in_features


def _torchvision(name: str, pretrained: str | None) -> nn.Module:
    try:
        return torchvision.models.get_model(name, weights=pretrained)
    except KeyError:
        known = ", ".join(torchvision.models.get_model_weights(name).__members__)
        raise ValueError(f"torchvision has no {pretrained} weights of {name}; it has {known}") from None
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"the {pretrained} weights of {name} are not in torchvision's cache and could not be downloaded ({error}): "
            "give a file of them as encoder_weights, or set pretrained to null"
        ) from None
