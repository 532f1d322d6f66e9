"""Card of a trained model, and its accuracy in the card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from depth_estimation_ros import model_card
from depth_estimation_ros.evaluation.metrics import METRICS
from depth_estimation_ros.model import load_model
from depth_estimation_ros.support.files import write_whole

if TYPE_CHECKING:
    from training.checkpoint import Checkpoint

FIGURES = f"""
## Accuracy

By `python -m training.evaluate`; nothing is scaled to fit the truth. Protocols do not compare with each other.

| | {" | ".join(METRICS)} |
|---|{"---|" * len(METRICS)}
"""


def write_card(model: Path, checkpoint: Checkpoint) -> Path:
    """
    Write the card of a model, without accuracy.

    Parameters
    ----------
    model : pathlib.Path
        The ONNX file. The card is the ``.md`` file beside it.
    checkpoint : Checkpoint
        Checkpoint that the model was exported from.

    Returns
    -------
    pathlib.Path
        Path of the card.
    """
    network, info = checkpoint.network, load_model(model).info
    with torch.inference_mode():
        depth = network(torch.zeros(1, info.input_height, info.input_width, 3, dtype=torch.uint8))["depth"]
    parameters = sum(p.numel() for p in network.parameters())
    return model_card.write_card(model, _network(checkpoint), parameters, depth.shape[2:], _recipe(checkpoint))


def enter_figures(card: Path, sha256: str, what: str, figures: dict[str, float]) -> None:
    """
    Add the results of an evaluation to a card; they replace earlier ones of the same kind.

    Parameters
    ----------
    card : pathlib.Path
        From `write_card`.
    sha256 : str
        sha256 of the evaluated model.
    what : str
        Description of the frames and the protocol.
    figures : dict
        Metrics by name.

    Raises
    ------
    ValueError
        If there is no card, or it belongs to another model.
    """
    check_card(card, sha256)
    content = card.read_text()
    if FIGURES not in content:
        content += FIGURES
    start = content.index(FIGURES) + len(FIGURES)
    rows, *rest = content[start:].split("\n\n", 1)
    kept = [row for row in rows.splitlines() if row and not row.startswith(f"| {what} |")]
    kept.append(f"| {what} | {' | '.join(f'{figures[name]:.3f}' for name in METRICS)} |")
    write_whole(card, content[:start] + "\n".join(kept) + "\n" + "".join("\n" + part for part in rest))


def check_card(card: Path, sha256: str) -> None:
    """Raise a ValueError if a file is not the card of the model with that sha256."""
    if not card.is_file():
        raise ValueError(f"there is no card {card}; `python -m training.export` writes it beside the model")
    if f"| sha256 | {sha256}" not in card.read_text():
        raise ValueError(f"{card} is not the card of this model, whose sha256 is {sha256}: export it again")


def _network(checkpoint: Checkpoint) -> str:
    options = dict(checkpoint.recipe.get("network", {}))
    name = options.pop("name", type(checkpoint.network).__name__)
    # The folder of a file of weights is of no use to a reader.
    options = {k: v for k, v in options.items() if v is not None and k != "encoder_weights"}
    told = ", ".join(f"{k} {' '.join(map(str, v)) if isinstance(v, list | tuple) else v}" for k, v in options.items())
    return f"`{name}`" + (f" ({told})" if told else "")


def _recipe(checkpoint: Checkpoint) -> str:
    known, data = checkpoint.recipe, checkpoint.data
    parts = []
    if losses := known.get("losses"):
        parts.append(" + ".join(f"{weight:g} {name}" for name, weight in losses.items()))
    for optimiser, options in known.get("optimizers", {}).items():
        rate = options.get("max_lr", options.get("initial_lr", options["lr"]))
        parts.append(
            f"{optimiser}, learning rate {rate:g} ({known['schedule']}), weight decay {options['weight_decay']:g}"
        )
    if (factor := known.get("encoder_rate", 1)) != 1:
        parts.append(f"encoder at {factor:g} times that rate")
    if "epochs" in known:
        parts.append(f"{known['epochs']} epochs ({known['steps']} steps), batches of {data['batch_size']} a process")
    if known.get("averaged"):
        parts.append("averaged weights")
    if data.get("held_out"):
        parts.append(f"{data['held_out']:.0%} of the training frames held out")
    return "; ".join(parts)
