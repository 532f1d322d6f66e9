"""The networks of a prepared folder in PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from depth_estimation_ros.model import ModelInfo
from training.bench_gpu.prepared import DECODERS, Prepared
from training.models import build_network
from training.models.up_projection import depth_to_space
from training.weights import read_file

RESNET50 = ModelInfo("resnet50", 304, 228, 259.6, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)
"""Metadata of the network of Laina et al. (2016) with random weights."""

RESNET50_OPTIONS = {"name": "resnet_up_projection"}


def random_network(options: dict, scale: float = 1.0) -> nn.Module:
    """
    Return a network with random weights, always the same, in evaluation mode.

    Parameters
    ----------
    options : dict
        Arguments of `training.models.build_network`.
    scale : float
        Factor of the weights of the last layer. See `fitting_scale`.
    """
    torch.manual_seed(0)
    network = build_network(**options).eval()
    with torch.inference_mode():
        network.predict.weight.mul_(scale)
    return network


@torch.inference_mode()
def fitting_scale(network: nn.Module, frames: np.ndarray) -> float:
    """
    Return the factor of the last layer with which the depth of the frames varies by half a metre.

    As initialised, depth hardly varies, which would hide differences between engines. Scaled in this way, rounding has
    about the same effect as in a trained network.
    """
    depth = network(torch.from_numpy(frames))["depth"]
    return float(0.5 / depth.std())


def open_network(prepared: Prepared, decoder: str) -> nn.Module:
    """
    Return a prepared network in evaluation mode, with its decoder written in the given way.

    Raises
    ------
    ValueError
        If its weights are missing, damaged or of another network, or the decoder cannot be written in this way.
    """
    if prepared.network is None:
        raise ValueError(f"of {prepared.name} only the ONNX file is known")
    if prepared.scale is not None:
        network = random_network(prepared.network, prepared.scale)
    else:
        network = build_network(**prepared.network).eval()
        try:
            network.load_state_dict(read_file(prepared.weights, "weights"))
        except RuntimeError as error:
            raise ValueError(f"{prepared.weights} does not fit its network: {str(error).splitlines()[0]}") from None
    return network if decoder == DECODERS[0] else depth_to_space(network)
