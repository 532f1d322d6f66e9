"""Weights from files. Files may hold only tensors and plain values; no code in them is executed."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

BINS = 64
# Depths of the first and last bin, metres, in files that do not hold the bins.
FORMER_BINS = (0.6, 10.5)
_PREFIX = "network."


def read_file(path: str | Path, what: str = "file") -> dict[str, Any]:
    """
    Read a file written by ``torch.save`` that holds a dictionary of tensors and plain values.

    Parameters
    ----------
    path : path
        The file.
    what : str
        Kind of file, for error messages.

    Raises
    ------
    ValueError
        If it is missing or damaged, or holds anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{what} {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or "it is cut short").splitlines()[0]
        raise ValueError(
            f"{what} {path} is damaged or holds more than weights: {reason}. Use another, e.g. the one before it"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{what} {path} holds no weights by name")
    return content


def of_network(state: dict) -> dict:
    """Return the weights of the network in the state dict of a checkpoint, by the names in the network."""
    return {name.removeprefix(_PREFIX): v for name, v in state.items() if str(name).startswith(_PREFIX)}


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """
    Read the weights of a network by name.

    Parameters
    ----------
    path : path
        State dict, or checkpoint of ``python -m training fit``, of which the network is read.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or holds no weights.
    """
    content = read_file(path, "weights")
    state = content.get("state_dict", content)
    if isinstance(state, dict):
        state = of_network(state) or state
    tensors = {name: v for name, v in state.items() if isinstance(v, torch.Tensor)} if isinstance(state, dict) else {}
    if not tensors:
        raise ValueError(f"weights {path} holds no weights by name")
    tensors = _with_dropout(tensors)
    add_bins(tensors)
    return tensors


def log_bins(depths: Sequence[float]) -> torch.Tensor:
    """
    Return the logarithms of the depths of the bins, float32 [1, bins, 1, 1].

    Parameters
    ----------
    depths : pair of float
        Those of the first and the last bin, metres.

    Raises
    ------
    ValueError
        If they are anything else.
    """
    try:
        near, far = map(float, depths)
    except (TypeError, ValueError):
        near = far = math.nan
    if not 0 < near < far < math.inf:
        raise ValueError(f"depth_bins must be two depths in metres, the smaller first and above 0, got {depths}")
    return torch.linspace(math.log(near), math.log(far), BINS).view(1, -1, 1, 1)


def add_bins(state: dict[str, torch.Tensor], prefix: str = "") -> None:
    """Add the bins to the state dict of a network with bins, if it was written before files held them."""
    weight, bias = (state.get(f"{prefix}predict.{name}") for name in ("weight", "bias"))
    # EigenCoarse's last layer is no convolution, and that of the others has one output.
    if getattr(weight, "ndim", 0) == 4 and bias is not None and len(bias) == BINS:
        state.setdefault(f"{prefix}log_bins", log_bins(FORMER_BINS))


def _with_dropout(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the bottleneck's tensors in a file written before the network had dropout there."""
    if getattr(tensors.get("bottleneck.0.weight"), "ndim", 0) != 4 or "bottleneck.2.weight" in tensors:
        return tensors
    later = {f"bottleneck.{n}.": f"bottleneck.{n + 1}." for n in range(2)}
    return {
        next((new + n[len(old) :] for old, new in later.items() if n.startswith(old)), n): v for n, v in tensors.items()
    }
