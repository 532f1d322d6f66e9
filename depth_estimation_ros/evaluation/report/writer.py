"""Writing of a report: each file is written completely or not at all, the page last."""

from __future__ import annotations

import csv
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from depth_estimation_ros.evaluation.metrics import METRICS
from depth_estimation_ros.evaluation.report.picture import Picture
from depth_estimation_ros.evaluation.result.frame_result import FrameResult
from depth_estimation_ros.evaluation.result.frame_table import FrameTable, Tables, csv_values, tabulate
from depth_estimation_ros.support.files import write_whole, written_whole
from depth_estimation_ros.support.installing import how_to_install

RECORDINGS_OVER_TIME = 6
"""Maximum number of recordings whose error over time is drawn; those with the largest errors are chosen."""

_FLICKER = ("change", "common", "truth")
COLUMNS = (
    *("recording", "model", "index", "stamp", "delay_ms", "known", "invalid", *METRICS, "scale"),
    *(f"{kind}_{metric}" for kind in ("scaled", "aligned") for metric in METRICS),
    *(f"flicker_{name}" for name in _FLICKER),
    *("inference_ms", "latency_ms", "truth_deviation"),
)
"""Columns of ``frames.csv``, as in `FrameResult`; a cell is empty if there is no value."""


def check_installed() -> None:
    """
    Check that a report can be written; called before the evaluation starts.

    Raises
    ------
    ValueError
        If matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError(f"the report needs matplotlib: {how_to_install('matplotlib')}") from None


def write_report(
    summary: Mapping[str, Any], results: Tables | Iterable[FrameResult], pictures: Sequence[Picture], output: Path
) -> None:
    """
    Write ``report.html``, ``metrics.json``, ``frames.csv`` and ``figures/*.png``.

    Parameters
    ----------
    summary : dict
        Result of `evaluation.summary.summarise`.
    results : tables, or iterable of FrameResult
        The results that were summarised.
    pictures : sequence of Picture
        Worst and best frames of each model, in the order in which to show them.
    output : pathlib.Path
        Output folder. It is created if it does not exist; an earlier report in it is replaced.

    Raises
    ------
    ValueError
        If matplotlib is not installed.
    OSError
        If the folder cannot be written to.
    """
    check_installed()
    from depth_estimation_ros.evaluation.report.page import make_page

    tables = tabulate(results)
    folder = output / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    images = _draw(summary, tables)
    shown = [(picture, f"{picture.kind}_{number:03d}.png") for number, picture in enumerate(pictures, 1)]
    images.update(_draw_pictures(shown))
    for name, (_, png) in images.items():
        write_whole(folder / name, png)
    for stale in set(folder.glob("*.png")) - {folder / name for name in images}:
        stale.unlink()
    _write_table(tables, list(summary["models"]), output / "frames.csv")
    write_whole(output / "metrics.json", (json.dumps(summary, indent=1, allow_nan=False) + "\n").encode())
    write_whole(output / "report.html", make_page(summary, images, shown).encode())


def _draw(summary: Mapping[str, Any], tables: Tables) -> dict[str, tuple[str, bytes]]:
    """Draw the figures; returns caption and PNG by file name."""
    from depth_estimation_ros.evaluation.report import figures

    models = {name: found for name, found in summary["models"].items() if found["frames"]}
    if not models:
        return {}
    caption = "AbsRel, bias and share of pixels against ground truth distance. Every frame has the same weight."
    drawn = {"distance.png": (caption, figures.draw_distances(models))}
    worst, bias = (
        max(np.nanmax(np.abs(np.array(found["by_region"][key], np.float64))) for found in models.values())
        for key in ("abs_rel", "bias")
    )
    for number, (name, found) in enumerate(models.items(), 1):
        drawn[f"region_{number:02d}.png"] = (name, figures.draw_regions(found, worst, max(bias, 0.01)))
    names = sorted({recording for found in models.values() for recording in found["by_recording"]})
    errors = {
        recording: max(found["by_recording"].get(recording, {"abs_rel": 0})["abs_rel"] for found in models.values())
        for recording in names
    }
    chosen = sorted(errors, key=lambda recording: -errors[recording])[:RECORDINGS_OVER_TIME]
    for number, recording in enumerate(sorted(chosen), 1):
        caption = recording
        if len(errors) > len(chosen):
            caption += f", one of the {len(chosen)} recordings with the largest error (of {len(errors)})"
        found = {name: tables[recording][name] for name in models if name in tables[recording]}
        series = {
            name: [table.column(column, True) for column in ("stamp", "abs_rel", "scale")]
            for name, table in found.items()
            if table.estimated
        }
        drawn[f"time_{number:02d}.png"] = (caption, figures.draw_time(series))
    return drawn


def _draw_pictures(shown: Sequence[tuple[Picture, str]]) -> dict[str, tuple[str, bytes]]:
    from depth_estimation_ros.evaluation.report.figures import draw_picture

    return {
        name: (f"{p.recording}, frame {p.index}: AbsRel {100 * p.abs_rel:.1f} %", draw_picture(p)) for p, name in shown
    }


def _write_table(tables: Tables, models: list[str], path: Path) -> None:
    """Write the frames as CSV: one line per frame and model, models in the order of the report."""
    with written_whole(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for recording, by_model in sorted(tables.items()):
            # Line by line: a long recording would not fit into memory.
            lines = [
                _lines(by_model[name], place, (recording, name))
                for place, name in enumerate(models)
                if name in by_model
            ]
            writer.writerows(line for _, line in heapq.merge(*lines, key=lambda item: item[0]))


def _lines(table: FrameTable, place: int, names: tuple[str, str]) -> Iterator[tuple[tuple[int, int], list]]:
    """Yield the lines of a model on a recording, each with its sort key (image, then model)."""
    for rows in table.chunks():
        for row in rows.tolist():
            yield (row[0], place), [*names, *csv_values(row, COLUMNS[2:])]
