"""Model card: MODEL.md beside MODEL.onnx, with the origin of a model."""

from __future__ import annotations

import math
from pathlib import Path

from depth_estimation_ros.model import load_model
from depth_estimation_ros.support.files import write_whole

TEMPLATE = """\
# {name}

| | |
|---|---|
| Network | {network} |
| Size | {parameters:,} parameters, {megabytes:.3g} MB |
| Input, output | {width}x{height} RGB, {output} metres |
| Metric for | focal length {focal:.1f} px at {width}x{height} ({degrees:.0f}° across); others are corrected for |
| Depth range | {near:g} to {far:g} m |
| Trained on | {data} |
| Recipe | {recipe} |
| Licence | {licence} |
| sha256 | {sha256}, of the weights it was made from {source} |
"""


def place_of_card(model: Path) -> Path:
    """
    Return the path of the card of a model.

    Raises
    ------
    ValueError
        If the path exists and is not a model card.
    """
    card = model.with_suffix(".md")
    if card.exists() and (not card.is_file() or "| sha256 |" not in card.read_text()):
        raise ValueError(f"{card} is there and is not the card of a model: move it, or give the model another name")
    return card


def write_card(model: Path, network: str, parameters: int, output: tuple[int, int], recipe: str = "") -> Path:
    """
    Write the card of a model, without accuracy.

    Parameters
    ----------
    model : pathlib.Path
        The ONNX file. The card is the ``.md`` file beside it.
    network : str
        Name of the network, in Markdown.
    parameters : int
        Number of its weights.
    output : tuple of int
        (height, width) of its depth.
    recipe : str
        How it was trained; empty if that is not known.

    Returns
    -------
    pathlib.Path
        Path of the card.

    Raises
    ------
    ValueError
        If the path of the card exists and is not a model card.
    """
    card, known = place_of_card(model), load_model(model)
    info = known.info
    content = TEMPLATE.format(
        name=info.name,
        network=network,
        parameters=parameters,
        megabytes=model.stat().st_size / 1e6,
        width=info.input_width,
        height=info.input_height,
        output="{1}x{0}".format(*output),
        focal=info.focal_length,
        degrees=math.degrees(2 * math.atan(info.input_width / 2 / info.focal_length)),
        near=info.min_depth,
        far=info.max_depth,
        data=_cell(info.training_data),
        recipe=recipe or "not known",
        licence=_cell(info.licence),
        sha256=known.sha256,
        source=info.source_sha256,
    )
    write_whole(card, content)
    return card


def accuracy_in(card: Path) -> dict[str, float]:
    """
    Return the accuracy that a card states.

    Parameters
    ----------
    card : pathlib.Path
        Path of a card, which may not exist.

    Returns
    -------
    dict
        First row of its table of accuracy: ``absrel``, ``delta1`` and so on, in small letters without underscores;
        empty if it has none.
    """
    rows = [line.strip("| ").split("|") for line in _lines(card) if line.startswith("|")]
    names: list[str] = []
    for first, *cells in rows:
        if not names and "absrel" in (found := [cell.strip().lower().replace("_", "") for cell in (first, *cells)]):
            names = found
        elif names and first.strip("- "):
            return dict(zip(names, map(_number, cells), strict=False))
    return {}


def _lines(card: Path) -> list[str]:
    try:
        return card.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
