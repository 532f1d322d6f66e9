"""Read a training's checkpoint: weights and plain values only, nothing in it is executed."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from training.models import build_network


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and the data it was trained on."""

    network: nn.Module
    data: dict
    sha256: str


def load_checkpoint(path: str | Path) -> Checkpoint:
    """
    Read a checkpoint of ``python -m training fit``.

    Parameters
    ----------
    path : path
        The ``.ckpt`` file. Where weights were averaged in training, it holds the average.

    Returns
    -------
    Checkpoint
        The network in evaluation mode.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or not of this package's training.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"checkpoint {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        network = build_network(**content["hyper_parameters"]["network"])
        prefix = "network."
        state = {k[len(prefix) :]: v for k, v in content["state_dict"].items() if k.startswith(prefix)}
        network.load_state_dict(state)
        data = content["datamodule_hyper_parameters"]
    except (RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or "it is cut short").splitlines()[0]
        raise ValueError(f"checkpoint {path} is damaged or not from `python -m training fit`: {reason}") from None
    return Checkpoint(network.eval(), data, hashlib.sha256(path.read_bytes()).hexdigest())
