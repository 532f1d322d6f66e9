"""Initialisation of a network with the weights of another training that fit by name and shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from training.weights import read_weights


@dataclass(frozen=True)
class Transfer:
    """
    Report of what `transfer` copied.

    Parameters
    ----------
    source : pathlib.Path
        File of the weights.
    taken : list of str
        Names of the weights that were copied.
    reshaped : dict of str to (tuple, tuple)
        Weights of the same name but another shape, with the shapes in the file and in the network. Not copied.
    unused, fresh : list of str
        Weights only in the file, and weights only in the network, which keep their initial values.
    """

    source: Path
    taken: list[str]
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    unused: list[str]
    fresh: list[str]

    def __str__(self) -> str:
        """Return a summary to print, one line per kind."""
        total = len(self.taken) + len(self.reshaped) + len(self.fresh)
        lines = [f"{self.source}: {len(self.taken)} of the network's {total} weights taken"]
        shapes = [f"{name} {list(theirs)}, not {list(ours)}" for name, (theirs, ours) in self.reshaped.items()]
        for label, names in (
            ("not taken, of another shape", shapes),
            ("not taken, not in the network", self.unused),
            ("not in the file, left as initialised", self.fresh),
        ):
            if names:
                lines.append(f"  {label}: {', '.join(names)}")
        return "\n".join(lines)


def transfer(network: nn.Module, path: str | Path) -> Transfer:
    """
    Copy the weights of a file that fit a network into it.

    Parameters
    ----------
    network : torch.nn.Module
        Network, changed in place.
    path : path
        Checkpoint of ``python -m training fit``, or state dict.

    Returns
    -------
    Transfer

    Raises
    ------
    ValueError
        If the file is missing or damaged, or none of its weights fits. The network is unchanged then.
    """
    theirs, ours = read_weights(path), network.state_dict()
    common = [name for name in ours if name in theirs]
    reshaped = {n: (tuple(theirs[n].shape), tuple(ours[n].shape)) for n in common if theirs[n].shape != ours[n].shape}
    taken = [name for name in common if name not in reshaped]
    if not any(ours[name].is_floating_point() and ours[name].ndim > 1 for name in taken):
        raise ValueError(f"{path} holds no weights that fit this network: give one of the same family")
    with torch.no_grad():
        for name in taken:
            ours[name].copy_(theirs[name])
    unused, fresh = ([n for n in a if n not in b] for a, b in ((theirs, ours), (ours, theirs)))
    return Transfer(Path(path), taken, reshaped, unused, fresh)
