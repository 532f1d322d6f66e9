"""Summary of the results of frames: means with intervals, differences between models, and where errors are largest."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from depth_estimation_ros.evaluation.alignment import ALIGNED, sequence_metrics
from depth_estimation_ros.evaluation.metrics import METRICS
from depth_estimation_ros.evaluation.result.bootstrap import block_length, mean_interval
from depth_estimation_ros.evaluation.result.frame_result import DISTANCES, REGIONS, FrameResult
from depth_estimation_ros.evaluation.result.frame_table import FrameTable, Tables, tabulate
from depth_estimation_ros.model import Model

EXTREMES = 10
"""Number of worst and of best frames listed for each model."""

_FLICKER = ("change", "common", "truth", "share")
_PACKAGES = ("depth_estimation_ros", "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino")


def summarise(
    results: Tables | Iterable[FrameResult],
    models: Mapping[str, Mapping[str, Any]] | None = None,
    recordings: Sequence[Mapping[str, Any]] = (),
    machine: Mapping[str, str] | None = None,
    interrupted: bool = False,
) -> dict[str, Any]:
    """
    Return the summary of an evaluation, the content of ``metrics.json``.

    Values of a model are means over its frames of all recordings. They do not depend on the order of the results.

    Parameters
    ----------
    results : tables, or iterable of FrameResult
        Results, each frame of a recording at most once per model.
    models : mapping, optional
        Facts of each model by name, see `describe_model`, in the order of the report. They override computed values of
        the same name. For a live run also ``live`` with ``received``, ``published``, ``superseded``, ``failed`` and
        ``rate_hz`` of the node.
    recordings : sequence of mapping, optional
        Facts of each recording: ``name`` and, if known, ``images`` and ``images_done`` (numbers), ``kind`` (of the
        ground truth), ``topics`` (by use), ``clock_offset`` (seconds), ``notes`` (sentences), ``problems`` (number of
        images that were not compared, by reason), ``error`` (why it is incomplete), and ``triangulated`` (for
        triangulated ground truth, medians over frames of the number of ``points`` and of their relative standard
        ``deviation``).
    machine : mapping, optional
        Facts of the machine, see `describe_machine`.
    interrupted : bool
        Whether the evaluation ended before all frames were done.

    Returns
    -------
    dict
        Values for strict JSON: without infinity and NaN; None where there is no value.
    """
    models = dict(models or {})
    by_model: dict[str, dict[str, FrameTable]] = {name: {} for name in models}
    for recording, tables in sorted(tabulate(results).items()):
        for model, table in tables.items():
            by_model.setdefault(model, {})[recording] = table
    return {
        "interrupted": interrupted,
        "averaging": "mean over frames; nothing is scaled to fit, except under 'scaled' and 'aligned'",
        "models": {name: {**_model_figures(tables), **models.get(name, {})} for name, tables in by_model.items()},
        "paired": [_paired(a, b, by_model[a], by_model[b]) for a, b in combinations(by_model, 2)],
        "recordings": [dict(recording) for recording in recordings],
        "machine": dict(machine or {}),
    }


def describe_model(model: Model, backend: str) -> dict[str, Any]:
    """Return facts about a model, and the name of the engine that runs it."""
    info = model.info
    return {
        "about": {
            "model": info.name,
            "file": Path(model.path).name,
            "sha256": model.sha256,
            "input": f"{info.input_width}x{info.input_height}",
            "focal_length": info.focal_length,
            "depth_range": [info.min_depth, info.max_depth],
            "kind": info.kind,
            "training_data": info.training_data,
            "licence": info.terms,
            "backend": backend,
        }
    }


def describe_machine() -> dict[str, str]:
    """Return facts about the machine that affect speed, and the versions of the packages used."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions,
    }


def _model_figures(tables: dict[str, FrameTable]) -> dict[str, Any]:
    # Column by column: all columns of a long recording would not fit into memory.
    def every(name: str) -> np.ndarray:
        return _joined([table.column(name) for table in tables.values()])

    good = {name: table for name, table in tables.items() if table.estimated}
    errors = {name: table.column("abs_rel", True) for name, table in good.items()}
    blocks = {name: block_length(series) for name, series in errors.items()}
    order = np.argsort(_joined(list(errors.values())), kind="stable")
    frames = sum(table.estimated for table in good.values())
    aligned = _aligned(tables)
    compared = aligned["frames"] if aligned else 0
    return {
        "frames": frames,
        "without_estimate": sum(map(len, tables.values())) - max(frames, compared),
        "invalid": _mean(every("invalid")),
        **_means(good, blocks),
        "scaled": _means(good, blocks, "scaled_"),
        "aligned": aligned,
        "bias": _mean(np.expm1(_known(every("log_bias")))),
        "scale": _percentiles(_known(every("scale")), (5, 50, 95)),
        "delay_ms": _percentiles(every("delay_ms"), (5, 50, 95)),
        "by_distance": _by_distance(good, frames),
        "by_region": _by_region(good, frames),
        "by_recording": {
            name: {
                "frames": table.estimated,
                "block": blocks[name],
                **{metric: _mean(table.column(metric, True)) for metric in METRICS},
            }
            for name, table in good.items()
        },
        "flicker": _flicker({name: _known(every(f"flicker_{name}")) for name in ("pixels", *_FLICKER)}),
        **{name: _percentiles(_known(every(name)), (50, 95)) for name in ("inference_ms", "latency_ms")},
        "worst": [_place(good, i) for i in order[::-1][:EXTREMES].tolist()],
        "best": [_place(good, i) for i in order[:EXTREMES].tolist()],
    }


def _means(good: dict[str, FrameTable], blocks: dict[str, int], prefix: str = "") -> dict[str, Any]:
    """Return the mean metrics, and under ``intervals`` the interval of each metric."""
    if not good:
        return {**dict.fromkeys(METRICS), "intervals": {}}
    found = {}
    for metric in METRICS:
        columns = [table.column(prefix + metric, True)[:, None] for table in good.values()]
        (found[metric],) = mean_interval(columns, list(blocks.values()))
    return {
        **{metric: interval.mean for metric, interval in found.items()},
        "intervals": {metric: [interval.low, interval.high] for metric, interval in found.items()},
    }


def _aligned(tables: dict[str, FrameTable]) -> dict[str, Any] | None:
    """Return the metrics after affine alignment of inverse depth, per image and once per recording; None without."""
    known = {name: table for name, table in tables.items() if len(table.aligned("aligned_abs_rel"))}
    if not known:
        return None
    columns = {metric: [t.aligned(f"aligned_{metric}") for t in known.values()] for metric in METRICS}
    blocks = [block_length(series) for series in columns["abs_rel"]]
    intervals = {name: mean_interval([c[:, None] for c in found], blocks)[0] for name, found in columns.items()}
    counts = [len(series) for series in columns["abs_rel"]]
    sequences = [sequence_metrics(table.drawn) for table in known.values()]
    return {
        "frames": sum(counts),
        "per_image": {
            **{name: interval.mean for name, interval in intervals.items()},
            "intervals": {name: [interval.low, interval.high] for name, interval in intervals.items()},
        },
        "per_sequence": {
            name: float(np.average([found[name] for found in sequences if found], weights=counts)) for name in ALIGNED
        },
    }


def _paired(reference: str, model: str, first: dict[str, FrameTable], second: dict[str, FrameTable]) -> dict[str, Any]:
    """Return the differences, second model minus the first, over their common frames."""
    pairs = {}
    for name in sorted(set(first) & set(second)):
        images, others = first[name].column("index", True), second[name].column("index", True)
        common, *places = np.intersect1d(images, others, assume_unique=True, return_indices=True)
        if len(common):
            pairs[name] = places

    def apart(name: str, metric: str) -> np.ndarray:
        of_first, of_second = pairs[name]
        return second[name].column(metric, True)[of_second] - first[name].column(metric, True)[of_first]

    blocks = [block_length(apart(name, "abs_rel")) for name in pairs]
    found = {}
    for metric in METRICS if pairs else ():
        (found[metric],) = mean_interval([apart(name, metric)[:, None] for name in pairs], blocks)
    return {
        "model": model,
        "reference": reference,
        "frames": sum(len(places[0]) for places in pairs.values()),
        "differences": {
            metric: {"mean": i.mean, "low": i.low, "high": i.high, "decided": i.decided} for metric, i in found.items()
        },
    }


def _by_distance(good: dict[str, FrameTable], frames: int) -> list[dict[str, Any]]:
    """Return one row for each range of distances that has pixels."""
    if not good:
        return []
    groups = _groups(good, frames, "by_distance")
    edges = zip(DISTANCES, (*DISTANCES[1:], None), strict=True)
    return [
        {"from": float(a), "to": None if b is None else float(b), **group}
        for (a, b), group in zip(edges, groups, strict=True)
        if group
    ]


def _by_region(good: dict[str, FrameTable], frames: int) -> dict[str, Any] | None:
    """Return the values of every cell of the image, row by row; None for cells without ground truth."""
    if not good:
        return None
    groups, (rows, columns) = _groups(good, frames, "by_region"), REGIONS
    return {
        name: [[group.get(name) for group in groups[r * columns : (r + 1) * columns]] for r in range(rows)]
        for name in ("share", "abs_rel", "bias")
    }


def _groups(good: dict[str, FrameTable], frames: int, name: str) -> list[dict[str, float]]:
    """
    Return the values of every group of pixels; empty for a group without pixels.

    Frames have equal weight, independent of their size: ``share`` is the mean share of the pixels of a frame. ``bias``
    is the geometric mean of estimate / ground truth, minus one: positive if too far, negative if too near.
    """
    tables = [table.sums[name] for table in good.values()]
    sums = {key: np.sum([table[key] for table in tables], axis=0) / frames for key in tables[0]}
    return [
        {
            "share": float(n),
            "abs_rel": float(sums["abs_rel"][i] / n),
            "rmse": float(np.sqrt(sums["sq"][i] / n)),
            "bias": float(np.expm1(sums["log"][i] / n)),
            "delta1": float(sums["delta1"][i] / n),
        }
        if n
        else {}
        for i, n in enumerate(sums["pixels"])
    ]


def _flicker(columns: dict[str, np.ndarray]) -> dict[str, float] | None:
    """Return the mean over pairs of frames, weighted by the number of static pixels."""
    if not len(columns["pixels"]):
        return None
    means = {name: float(np.average(columns[name], weights=columns["pixels"])) for name in _FLICKER}
    return {"pairs": len(columns["pixels"]), **means}


def _place(good: dict[str, FrameTable], number: int) -> dict[str, Any]:
    """Return the facts of a frame by its number among all frames with an estimate."""
    for recording, table in good.items():
        if number < table.estimated:
            row = table.row(number)
            metrics = {metric: float(row[metric]) for metric in METRICS}
            facts = {"index": int(row["index"]), "stamp": int(row["stamp"])}
            return {
                "recording": recording,
                **facts,
                **metrics,
                "pixels": int(row["pixels"]),
                "scale": row["scale"].item(),
            }
        number -= table.estimated
    raise IndexError("no such frame")


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0)


def _known(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _percentiles(values: np.ndarray, which: tuple[int, ...]) -> dict[str, float] | None:
    if not len(values):
        return None
    found = np.percentile(values, which)
    return {f"p{p}": float(value) for p, value in zip(which, found, strict=True)}


def _processor() -> str:
    """Return the name of the processor on Linux, elsewhere its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
