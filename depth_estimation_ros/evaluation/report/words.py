"""Verdict of a report: the main results of a summary as sentences of plain text."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

# A range of distances or a part of the image is named if it has at least this share of the pixels, and an error this
# many times that of the whole.
_WORTH_NAMING = 0.01
_WORSE = 1.15
_PARTS = (
    ("upper left", "upper centre", "upper right"),
    ("left", "centre", "right"),
    ("lower left", "lower centre", "lower right"),
)


def verdict(summary: Mapping[str, Any]) -> str:
    """
    Describe how accurate the models are, where they fail, and which one is the most accurate.

    Parameters
    ----------
    summary : dict
        Result of `evaluation.summary.summarise`.

    Returns
    -------
    str
        One paragraph.
    """
    models = {name: figures for name, figures in summary["models"].items() if figures["frames"]}
    if not models:
        said = _relative(summary) or "No frame could be compared with ground truth, so the accuracy is unknown."
        return said + _left(summary)
    best = min(models, key=lambda name: models[name]["abs_rel"])
    figures = models[best]
    sentences = [
        f"On {_frames(figures)}, the depth of model {best} has a mean relative error (AbsRel) of "
        f"{percent(figures['abs_rel'])}{_interval(figures)} and an RMSE of {figures['rmse']:.2f} m. "
        f"{percent(figures['delta1'])} of the pixels are within 25 % of the ground truth.",
        _truth(summary),
        _usual(figures),
        _scale(figures),
        _worst_place(figures),
        _live(figures),
        _against(summary, best, [name for name in models if name != best]),
        _relative(summary),
    ]
    return " ".join(filter(None, sentences)) + _left(summary)


def percent(share: float) -> str:
    """Format a share as a percentage with two or three digits."""
    return f"{100 * share:.1f} %" if abs(share) < 0.0995 else f"{100 * share:.0f} %"


def distance_range(row: Mapping[str, Any]) -> str:
    """Format a range of distances."""
    return f"beyond {row['from']:g} m" if row["to"] is None else f"{row['from']:g} to {row['to']:g} m"


def decision(difference: Mapping[str, Any], higher_is_better: bool = False) -> str:
    """Return what a paired difference means for the model: better, worse, or not decided."""
    if not difference["decided"]:
        return "not decided"
    return "better" if (difference["mean"] > 0) == higher_is_better else "worse"


def _relative(summary: Mapping[str, Any]) -> str:
    """Describe the models of relative depth."""
    return " ".join(
        f"The depth of model {name} is relative. On {found['frames']} frames, after alignment with the ground truth "
        f"by a scale and a shift of inverse depth, its AbsRel is {percent(found['per_image']['abs_rel'])} if every "
        f"image is aligned, and {percent(found['per_sequence']['abs_rel'])} if every recording is aligned once."
        for name, figures in summary["models"].items()
        if not figures["frames"] and (found := figures["aligned"])
    )


def _frames(figures: Mapping[str, Any]) -> str:
    names = list(figures["by_recording"])
    count = f"{figures['frames']} frame{'s' * (figures['frames'] > 1)}"
    return f"{count} of {names[0]}" if len(names) == 1 else f"{count} of {len(names)} recordings"


def _interval(figures: Mapping[str, Any]) -> str:
    low, high = figures["intervals"]["abs_rel"]
    return f" (95 % interval {percent(low)} to {percent(high)})"


def _truth(summary: Mapping[str, Any]) -> str:
    """Describe the accuracy of the ground truth where it is triangulated."""
    found = [r["triangulated"] for r in summary["recordings"] if r.get("triangulated")]
    if not found:
        return ""
    points = " to ".join(f"{n:.0f}" for n in sorted({min(r["points"] for r in found), max(r["points"] for r in found)}))
    worst = max(r["deviation"] for r in found)
    part = "" if len(found) == len(summary["recordings"]) else f" of {len(found)} of the recordings"
    return (
        f"The ground truth{part} is not measured but triangulated from the images and the camera's poses: {points} "
        f"points per frame, at corners only, with a standard deviation of about {percent(worst)} each. Errors below "
        "that say nothing about a model. A wrong scale of the poses adds to the error."
    )


def _usual(figures: Mapping[str, Any]) -> str:
    """Describe the error at the most common distance."""
    row = max(figures["by_distance"], key=lambda row: row["share"])
    where = f"At {distance_range(row)}".replace("At beyond", "Beyond")
    return f"{where}, the most common distance, the RMSE is {row['rmse']:.2f} m."


def _scale(figures: Mapping[str, Any]) -> str:
    """Describe the bias, and the error that remains after the scale of every frame is corrected."""
    shape = figures["scaled"]["abs_rel"]
    tendency = f"Depths are typically {percent(abs(figures['bias']))} too {'far' if figures['bias'] > 0 else 'near'}"
    if abs(figures["bias"]) < 0.02:
        tendency = "On average, depths are neither too far nor too near"
    return (
        f"{tendency}. With the correct scale for every frame, which a robot does not know, the AbsRel would be "
        f"{percent(shape)}."
    )


def _worst_place(figures: Mapping[str, Any]) -> str:
    """Describe where the error is largest: distance, part of the image, recording and frame."""
    places = []
    rows = [row for row in figures["by_distance"] if row["share"] >= _WORTH_NAMING]
    row = max(rows, key=lambda row: row["abs_rel"])
    if row["abs_rel"] > _WORSE * figures["abs_rel"]:
        places.append(f"at {distance_range(row)} ({percent(row['abs_rel'])})".replace("at beyond", "beyond"))
    name, error = _worst_part(figures["by_region"])
    if error > _WORSE * figures["abs_rel"]:
        places.append(f"in the {name} of the image ({percent(error)})")
    recordings = figures["by_recording"]
    recording = max(recordings, key=lambda name: recordings[name]["abs_rel"])
    if recordings[recording]["abs_rel"] > _WORSE * figures["abs_rel"]:
        places.append(f"in {recording} ({percent(recordings[recording]['abs_rel'])})")
    frame = figures["worst"][0]
    of = f" of {frame['recording']}" if len(recordings) > 1 else ""
    worst = f"the worst frame is number {frame['index']}{of} ({percent(frame['abs_rel'])})"
    if not places:
        return f"No distance and no part of the image stands out; {worst}."
    return f"The error is largest {_listed(places)}; {worst}."


def _worst_part(by_region: Mapping[str, Any]) -> tuple[str, float]:
    """Return the part of the image (of 3 x 3) with the largest error, and that error."""
    error, share = (np.array(by_region[key], np.float64) for key in ("abs_rel", "share"))
    rows, columns = (np.array_split(np.arange(n), 3) for n in error.shape)
    parts = {}
    for i, j in product(range(3), range(3)):
        part = np.ix_(rows[i], columns[j])
        weights = np.nan_to_num(share[part])
        if weights.sum() >= _WORTH_NAMING:
            parts[_PARTS[i][j]] = float(np.average(np.nan_to_num(error[part]), weights=weights))
    name = max(parts, key=lambda part: parts[part])
    return name, parts[name]


def _against(summary: Mapping[str, Any], best: str, others: list[str]) -> str:
    """Compare the best model with each of the others, frame by frame."""
    sentences, undecided = [], []
    for other in others:
        pair = next(p for p in summary["paired"] if {p["model"], p["reference"]} == {best, other})
        if not pair["frames"]:
            sentences.append(f"It has no frame in common with {other}.")
            continue
        found = pair["differences"]["abs_rel"]
        if not found["decided"]:
            undecided.append(other)
            continue
        # The order may be reversed on the common frames.
        more = "more" if (found["mean"] > 0) == (pair["reference"] == best) else "less"
        low, high = sorted(100 * abs(found[end]) for end in ("low", "high"))
        sentences.append(
            f"Frame by frame, it is {more} accurate than {other}, by {100 * abs(found['mean']):.1f} percentage points "
            f"(95 % interval {low:.1f} to {high:.1f}; {pair['frames']} frames)."
        )
    if undecided:
        sentences.append(f"These frames do not show whether it is more accurate than {_listed(undecided)}.")
    return " ".join(sentences)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _live(figures: Mapping[str, Any]) -> str:
    """Describe the latency of the node and the frames that it skipped."""
    counts, latency = figures.get("live"), figures["latency_ms"]
    if not counts or not latency:
        return ""
    return (
        f"In the live run, depth arrived {latency['p50']:.0f} ms after the image (median; 95th percentile "
        f"{latency['p95']:.0f} ms). {counts.get('superseded', 0)} of {counts.get('received', 0)} images were "
        "superseded by newer ones before they were processed."
    )


def _left(summary: Mapping[str, Any]) -> str:
    """Describe the part of the recordings that was not evaluated."""
    sentences = [
        f"{name} gave no valid depth in any of {figures['without_estimate']} frames."
        for name, figures in summary["models"].items()
        if figures["without_estimate"] and not (figures["frames"] or figures["aligned"])
    ]
    problems = sum(sum(r.get("problems", {}).values()) for r in summary["recordings"])
    incomplete = sum(bool(r.get("error")) for r in summary["recordings"])
    found = []
    if problems:
        found.append(f"{problems} image{'s' * (problems > 1)} could not be compared")
    if incomplete:
        found.append(f"{incomplete} recording{'s are' if incomplete > 1 else ' is'} incomplete")
    if found:
        sentences.append(f'{" and ".join(found)}. See "What is missing".')
    if summary["interrupted"]:
        sentences.append("The run was interrupted: the report covers the frames that were done until then.")
    return "".join(f" {sentence}" for sentence in sentences)
