"""Networks by name, one module per family."""

from __future__ import annotations

from typing import Any

from torch import nn

from training.models.eigen_coarse import EigenCoarse
from training.models.fcrn import FcrnUpProj
from training.models.plain import PlainCNN
from training.models.residual import UpProjectionNetwork

NETWORKS: dict[str, type[nn.Module]] = {
    "up_projection": UpProjectionNetwork,
    # Former name of the same network, in recipes and checkpoints from when all encoders were ResNets.
    "resnet_up_projection": UpProjectionNetwork,
    "eigen_coarse": EigenCoarse,
    "plain": PlainCNN,
    "fcrn": FcrnUpProj,
}


def from_scratch(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a network without those that load weights."""
    return {name: value for name, value in options.items() if name not in ("pretrained", "encoder_weights")}


def build_network(name: str, **options) -> nn.Module:
    """
    Build a network by name.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`.
    **options
        Arguments of the class of the network.

    Raises
    ------
    ValueError
        If the name or an option is not known.
    """
    if name not in NETWORKS:
        raise ValueError(f"network {name!r} is unknown; known are {', '.join(NETWORKS)}")
    try:
        return NETWORKS[name](**options)
    except TypeError as error:
        raise ValueError(f"network {name!r}: {error}") from None
