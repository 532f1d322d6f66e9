"""HTML page of a report: one file with embedded figures, without scripts and without access to the network."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from depth_estimation_ros.evaluation.alignment import SAMPLES
from depth_estimation_ros.evaluation.report import tables
from depth_estimation_ros.evaluation.report.picture import Picture
from depth_estimation_ros.evaluation.report.tables import text
from depth_estimation_ros.evaluation.report.words import percent, verdict
from depth_estimation_ros.evaluation.result.bootstrap import RESAMPLES
from depth_estimation_ros.evaluation.result.frame_result import STATIC

TITLE = "Accuracy of estimated depth"

_UNFOLDED = 12  # a list of more recordings is folded
_PAGE = Path(__file__).with_name("page.html")
_INTERVALS = (
    "The 95 % interval is below each value: percentile bootstrap over frames, {resamples} resamples. Consecutive "
    "frames of a video are correlated, so each recording is resampled in blocks as long as the correlation of its "
    "AbsRel (here {blocks}). The interval covers the choice of these frames only; other places and cameras may differ "
    "by more."
)
_FLICKER = (
    "Flicker is the change of the estimate from one frame to the next where the ground truth does not change: the mean "
    "absolute change of the logarithm of depth, in percent, over static pixels. A pixel is static if its ground truth "
    "changes by less than {static}. The common part is the change that the whole image shares, that is of its scale. "
    "The row of the ground truth shows the noise of the ground truth itself."
)
_DEFINITIONS = {
    "AbsRel": "mean of |estimate − ground truth| / ground truth over the pixels",
    "RMSE": "root mean squared error, metres; RMSE log: of the natural logarithms",
    "SqRel": "mean of (estimate − ground truth)² / ground truth, metres",
    "log10": "mean absolute difference of the decimal logarithms",
    "SILog": "standard deviation of the difference of natural logarithms, × 100; independent of the scale",
    "δ < 1.25": "share of pixels with max(estimate / ground truth, ground truth / estimate) below 1.25",
    "too near, too far": "bias: geometric mean of estimate / ground truth, minus one",
}


def make_page(
    summary: Mapping[str, Any], images: Mapping[str, tuple[str, bytes]], pictures: Sequence[tuple[Picture, str]]
) -> str:
    """
    Build the page.

    Parameters
    ----------
    summary : dict
        Result of `evaluation.summary.summarise`.
    images : dict
        Caption and PNG of each figure by file name. Names start with ``distance``, ``region`` or ``time``.
    pictures : sequence of (Picture, str)
        Frames to show, with their file names in ``images``.

    Returns
    -------
    str
        HTML.
    """
    models = {name: figures for name, figures in summary["models"].items() if figures["frames"]}
    # No line break between a number and its unit.
    said = re.sub(r"(?<=\d) (?=%|(?:m|ms)\b)", "\u00a0", verdict(summary))
    parts = [f'<p class="verdict">{text(said)}</p>']
    compared = {name: figures for name, figures in summary["models"].items() if figures["aligned"]}
    if models:
        parts += [_tiles(models), _accuracy(models)]
        if len(models) > 1:
            parts.append(_differences(summary, models))
        parts.append(_aligned(compared))
        parts += [
            _section(
                "Error against distance",
                _side_by_side(models, _figures(images, "distance"), tables.distance_table(models)),
            ),
            _section("Error over the image", _figures(images, "region", "wide")),
            _section(
                "Error over time",
                '<p class="note">The lower plot shows the median of the ground truth divided by the median of the '
                "estimate; it is 1 where the scale is correct.</p>" + _figures(images, "time", "wide"),
            ),
            _frames(images, pictures),
            _section("Flicker", f'<p class="note">{_FLICKER.format(static=percent(STATIC))}</p>' + _flicker(models)),
            _section("Speed", _speed(compared)),
        ]
    elif compared:
        parts += [_aligned(compared), _section("Speed", _speed(compared))]
    parts += [_about(summary), _missing(summary)]
    if compared:
        definitions = "".join(f"<dt>{text(name)}</dt><dd>{text(said)}</dd>" for name, said in _DEFINITIONS.items())
        parts.append(_section("How to read the figures", f"<dl>{definitions}</dl>"))
    names = sorted({name for figures in models.values() for name in figures["by_recording"]})
    subtitle = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    template = Template(_PAGE.read_text(encoding="utf-8"))
    return template.substitute(title=TITLE, subtitle=text(subtitle), body="\n".join(parts))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>\n{content}</section>" if content else ""


def _side_by_side(models: Mapping[str, Any], left: str, right: str) -> str:
    """Place two elements side by side on a wide screen; one above the other if many models make the tables wide."""
    return f'<div class="twin">{left}{right}</div>' if len(models) < 3 else left + right


def _tiles(models: Mapping[str, Any]) -> str:
    best = min(models, key=lambda name: models[name]["abs_rel"])
    figures = models[best]
    tiles = {
        "AbsRel, mean relative error": percent(figures["abs_rel"]),
        "RMSE": f"{figures['rmse']:.2f} m",
        "pixels within 25 %": percent(figures["delta1"]),
        "frames": str(figures["frames"]),
    }
    for name in ("inference", "latency"):
        if found := figures[f"{name}_ms"]:
            tiles[f"{name}, median"] = f"{found['p50']:.1f} ms"
    boxes = "".join(f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for name, value in tiles.items())
    of = f'<p class="note">Results of {text(best)}, the most accurate model:</p>' if len(models) > 1 else ""
    return f'{of}<div class="tiles">{boxes}</div>'


def _accuracy(models: Mapping[str, Any]) -> str:
    blocks = [row["block"] for figures in models.values() for row in figures["by_recording"].values()]
    length = f"{min(blocks)}" if min(blocks) == max(blocks) else f"{min(blocks)} to {max(blocks)}"
    intervals = _INTERVALS.format(resamples=RESAMPLES, blocks=f"{length} frame{'s' * (max(blocks) > 1)}")
    content = '<p class="note">Mean over frames. Estimates are not scaled to fit: a wrong scale counts as an error. '
    content += f"↑: higher is better; otherwise lower is better. {intervals}</p>"
    if any(figures["invalid"] or figures["without_estimate"] for figures in models.values()):
        said = (
            f"{name} has no estimate for {percent(figures['invalid'])} of the pixels with ground truth"
            + (f", and no estimate in {figures['without_estimate']} frames" if figures["without_estimate"] else "")
            for name, figures in models.items()
        )
        content += (
            f'<p class="warning">Pixels without an estimate are not part of the metrics: {text("; ".join(said))}.</p>'
        )
    scaled = {name: figures["scaled"] for name, figures in models.items()}
    scales = "; ".join(
        f"{name} {figures['scale']['p50']:.2f} ({figures['scale']['p5']:.2f} to {figures['scale']['p95']:.2f})"
        for name, figures in models.items()
    )
    raw = f"<div><h3>As estimated</h3>{tables.metrics_table(models)}</div>"
    diagnostic = (
        '<div class="diagnostic"><h3>Diagnostic only: after median scaling</h3><p class="note">Every frame is '
        "multiplied by median ground truth / median estimate, which needs the ground truth. The remaining error is "
        "that of the shape; the difference to the metrics as estimated is the error of the scale. Median factor (5th "
        f"to 95th percentile of frames): {text(scales)}.</p>"
        f"{tables.metrics_table(scaled)}</div>"
    )
    content += _side_by_side(models, raw, diagnostic)
    names = {name for figures in models.values() for name in figures["by_recording"]}
    if len(names) > 1:
        content += f"<h3>By recording</h3>{_folded(tables.recordings_table(models), len(names))}"
    return _section("Accuracy", content)


def _aligned(models: Mapping[str, Any]) -> str:
    found = {name: figures["aligned"] for name, figures in models.items()}
    relative = [name for name, figures in models.items() if not figures["frames"]]
    names = f" {text(', '.join(relative))} has only these figures, because its depth is relative." if relative else ""
    note = (
        '<p class="note">Inverse depth is aligned with the ground truth by a scale and a shift (least squares), as '
        "relative models are compared in the literature. This needs the ground truth, so these figures say nothing "
        f"about metres, and cannot be compared with those as estimated.{names}</p>"
    )
    images = {name: aligned["per_image"] for name, aligned in found.items()}
    sequences = {name: aligned["per_sequence"] for name, aligned in found.items()}
    content = (
        f"<div><h3>Every image aligned</h3>{tables.metrics_table(images)}</div>",
        f'<div><h3>Every recording aligned once</h3><p class="note">From {SAMPLES} pixels of every frame.</p>'
        f"{tables.sequence_table(sequences)}</div>",
    )
    return _section("After affine alignment", note + _side_by_side(models, *content))


def _differences(summary: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    note = (
        '<p class="note">Difference of the first model minus the second, frame by frame over the frames that both '
        "have. It is more precise than a comparison of two separate intervals. Not decided: the 95 % interval of the "
        "difference contains zero.</p>"
    )
    content = ""
    for pair in summary["paired"]:
        if pair["model"] in models and pair["reference"] in models:
            title = f"{text(pair['model'])} minus {text(pair['reference'])}, {pair['frames']} frames"
            content += f"<div><h3>{title}</h3>{tables.paired_table(pair) if pair['frames'] else ''}</div>"
    return _section("Model against model", f'{note}<div class="grid wide">{content}</div>')


def _frames(images: Mapping[str, tuple[str, bytes]], pictures: Sequence[tuple[Picture, str]]) -> str:
    content = ""
    for kind in ("worst", "best"):
        for model in dict.fromkeys(picture.model for picture, _ in pictures):
            shown = [name for picture, name in pictures if (picture.kind, picture.model) == (kind, model)]
            if shown:
                content += f"<h3>{kind.capitalize()} of {text(model)}</h3>"
                content += f'<div class="grid">{"".join(_figure(*images[name]) for name in shown)}</div>'
    return _section("Worst and best frames", content)


def _flicker(models: Mapping[str, Any]) -> str:
    if not any(figures["flicker"] for figures in models.values()):
        return "<p>Not measured: no two consecutive frames within half a second share enough static pixels.</p>"
    return tables.flicker_table(models)


def _speed(models: Mapping[str, Any]) -> str:
    live = any("live" in figures for figures in models.values())
    note = "Latency: from an image's stamp to the receipt of its depth." if live else "Measured frame by frame."
    return f'<p class="note">{note} Times were measured on the machine below.</p>{tables.speed_table(models)}'


def _about(summary: Mapping[str, Any]) -> str:
    content = ""
    for name, figures in summary["models"].items():
        about = dict(figures.get("about", {}))
        if about:
            about["focal_length"] = f"{about['focal_length']:.2f} pixels at {about['input']}"
            about["depth_range"] = "{:g} to {:g} m".format(*about["depth_range"])
            shown = {key.replace("_", " "): value for key, value in about.items()}
            content += f"<h3>Model {text(name)}</h3>{tables.facts(shown)}"
    described = ""
    for recording in summary["recordings"]:
        topics = ", ".join(f"{use} {topic}" for use, topic in recording.get("topics", {}).items() if topic)
        images, done = recording.get("images"), recording.get("images_done")
        if done is not None and done != images:
            images = f"{images}, of which {done} were processed"
        shown = {"ground truth": recording.get("kind"), "images": images, "topics": topics}
        if truth := recording.get("triangulated"):
            points, deviation = f"{truth['points']:.0f}", percent(truth["deviation"])
            shown["points"] = f"{points} per frame (median), standard deviation {deviation} each"
        if recording.get("clock_offset") is not None:
            shown["clock offset"] = f"{1e3 * recording['clock_offset']:+.1f} ms (ground truth minus image)"
        shown = {key: value for key, value in shown.items() if value not in (None, "")}
        described += f"<h3>Recording {text(recording['name'])}</h3>{tables.facts(shown)}"
        described += tables.items(recording.get("notes", ()))
    content += _folded(described, len(summary["recordings"]))
    if summary["machine"]:
        content += f"<h3>Machine</h3>{tables.facts(summary['machine'])}"
    return _section("Models, recordings, machine", content)


def _missing(summary: Mapping[str, Any]) -> str:
    content = ""
    for recording in summary["recordings"]:
        sentences = [f"{count} image{'s' * (count > 1)}: {why}" for why, count in recording.get("problems", {}).items()]
        if recording.get("error"):
            sentences.insert(0, str(recording["error"]))
        if sentences:
            content += f"<h3>{text(recording['name'])}</h3>{tables.items(sentences)}"
    content = _folded(content, len(summary["recordings"]))
    if summary["interrupted"]:
        content += "<p>The run was interrupted: the frames after the last processed one are missing.</p>"
    if not content and summary["recordings"]:
        content = "<p>Nothing: every image of every recording was compared.</p>"
    return _section("What is missing", content)


def _folded(content: str, count: int) -> str:
    """Fold content about many recordings, so that the reader can open it."""
    return content if count <= _UNFOLDED else f"<details><summary>{count} recordings</summary>{content}</details>"


def _figures(images: Mapping[str, tuple[str, bytes]], start: str, kind: str = "") -> str:
    shown = [_figure(*image) for name, image in images.items() if name.startswith(start)]
    return f'<div class="{"grid " + kind if kind else ""}">{"".join(shown)}</div>' if shown else ""


def _figure(caption: str, png: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    return f'<figure><img src="{source}" alt="{text(caption)}"><figcaption>{text(caption)}</figcaption></figure>'
