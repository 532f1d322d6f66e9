"""Metadata and model card of an adapted model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from depth_estimation_ros import model_card
from depth_estimation_ros.model import Model, ModelInfo
from depth_estimation_ros.support.files import write_whole
from training.adapt.measure import Comparison
from training.adapt.site import Site
from training.adapt.tune import REPLAY_BATCH, SITE_BATCH, Tuned

SHOWN = ("abs_rel", "rmse", "log10", "delta1", "delta2", "delta3")
"""Metrics of the card."""

_TERMS = "; and the terms of the recordings it was adapted to"
_MOST_NAMES = 5
_LONGEST = 100  # characters of a name


def adapted_info(start: Model, site: Site, name: str) -> ModelInfo:
    """
    Return the metadata of a model after its adaptation.

    Parameters
    ----------
    start : Model
        The model before.
    site : Site
        What it was adapted to.
    name : str
        Name of the new model.
    """
    recordings = ", ".join(split.recording.name for split in site.splits[:_MOST_NAMES])
    more = len(site.splits) - _MOST_NAMES
    recordings += f" and {more} more" if more > 0 else ""
    nearest = min(float(frame.truth[frame.truth > 0].min()) for frame in site.trained)
    return replace(
        start.info,
        name="".join(c for c in name if c.isprintable())[:_LONGEST],
        training_data=f"{start.info.training_data}; adapted to {len(site.trained)} frames of {recordings}",
        licence=start.info.licence.removesuffix(_TERMS) + _TERMS,
        source_sha256=start.sha256,
        min_depth=min(start.info.min_depth, max(0.01, round(nearest, 2))),
    )


def write_card(model: Path, start: Model, site: Site, tuned: Tuned, replay: str, found: Sequence[Comparison]) -> None:
    """
    Write the card of an adapted model.

    Parameters
    ----------
    model : pathlib.Path
        The model file; the card is the ``.md`` file beside it.
    start : Model
        The model before the adaptation.
    site : Site
        What it was adapted to.
    tuned : Tuned
        Result of the training.
    replay : str
        Frames that it was trained on along with the site.
    found : sequence of Comparison
        Accuracy before and after.
    """
    kinds = ", ".join(dict.fromkeys(split.recording.kind for split in site.splits))
    card = model_card.write_card(
        model,
        f"that of `{start.info.name}`",
        sum(weight.numel() for weight in tuned.weights),
        site.trained[0].truth.shape,
        f"`python -m training.adapt`: {tuned.at} steps of {SITE_BATCH} frames of the site (ground truth: {kinds}) and "
        f"{REPLAY_BATCH} of {replay}; {len(site.held_out)} held-out frames of the site chose the step",
    )
    rows = [
        f"| {c.frames} images of the {c.what}, {when} | {' | '.join(f'{figures[name]:.3f}' for name in SHOWN)} |"
        for c in found
        for when, figures in (("after", c.after), ("before", c.before))
    ]
    table = [f"| Mean over images | {' | '.join(SHOWN)} |", f"|---|{'---|' * len(SHOWN)}", *rows]
    write_whole(card, card.read_text() + "\n## Before and after\n\n" + "\n".join(table) + "\n")
