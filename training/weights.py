"""Weights from files. Files may hold only tensors and plain values; no code in them is executed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

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
    return _with_dropout(tensors)


def _with_dropout(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the bottleneck's tensors in a file written before the network had dropout there."""
    if getattr(tensors.get("bottleneck.0.weight"), "ndim", 0) != 4 or "bottleneck.2.weight" in tensors:
        return tensors
    later = {f"bottleneck.{n}.": f"bottleneck.{n + 1}." for n in range(2)}
    return {
        next((new + n[len(old) :] for old, new in later.items() if n.startswith(old)), n): v for n, v in tensors.items()
    }
