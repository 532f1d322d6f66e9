"""``python -m training.models``: list the network of each recipe with parameters, multiply-adds and output size."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from training.models import build_network, from_scratch

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


@dataclass(frozen=True)
class Size:
    """
    Size of a network.

    Parameters
    ----------
    parameters, convolutions, fully_connected : int
        Number of all parameters, of those in convolutions and of those in fully connected layers, biases included.
    multiply_adds : int
        Multiply-adds of the convolutions and fully connected layers, for one image.
    output : tuple of int
        (height, width) of the depth map.
    """

    parameters: int
    convolutions: int
    fully_connected: int
    multiply_adds: int
    output: tuple[int, int]


def measure(network: nn.Module, input_size: tuple[int, int]) -> Size:
    """
    Count parameters and multiply-adds of a network on PyTorch's meta device, without computing anything.

    Parameters
    ----------
    network : torch.nn.Module
        One of `training.models.NETWORKS`. It is moved to the meta device.
    input_size : tuple of int
        (height, width) of the image.

    Returns
    -------
    Size
    """
    network = network.to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        depth = network(torch.empty(1, *input_size, 3, dtype=torch.uint8, device="meta"))["depth"]

    def count(*kinds: type[nn.Module]) -> int:
        return sum(p.numel() for m in network.modules() if isinstance(m, kinds) for p in m.parameters())

    return Size(
        sum(p.numel() for p in network.parameters()),
        count(nn.Conv2d, nn.ConvTranspose2d),
        count(nn.Linear),
        counter.get_total_flops() // 2,
        tuple(depth.shape[-2:]),
    )


def recipe_networks(folder: Path = RECIPES) -> Iterator[tuple[str, dict, tuple[int, int]]]:
    """Yield the name, network options (without weights) and input size of each recipe, sorted by name."""
    for path in sorted(folder.glob("*.yaml")):
        recipe = yaml.safe_load(path.read_text())
        network = from_scratch(recipe["model"]["network"])
        size = tuple(recipe["data"]["input_size"])
        yield path.stem, network, size
        if path.stem == "residual":
            yield "residual, average", {**network, "unpooling": "average"}, size


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(prog="python -m training.models", description=__doc__).parse_args()
    columns = ("recipe", "network", "input", "output", "parameters", "convolutions", "fully connected", "multiply-adds")
    table = Table(*columns)
    for column in table.columns[2:]:
        column.justify = "right"
    for name, options, input_size in recipe_networks():
        network = build_network(**options)
        size = measure(network, input_size)
        counts = (size.parameters, size.convolutions, size.fully_connected)
        table.add_row(
            name,
            options["name"],
            "{1}x{0}".format(*input_size),
            "{1}x{0}".format(*size.output),
            *(f"{n:,}" for n in counts),
            f"{size.multiply_adds / 1e9:.2f} G",
        )
        if study := getattr(network, "STUDY_COUNTS", None):
            table.add_row("", "  in the study", "", "", "", *(f"{n:,}" for n in study.values()), "")
    Console(width=None if Console().is_terminal else 140).print(table)


if __name__ == "__main__":
    main()
