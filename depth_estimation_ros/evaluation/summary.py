"""From the results of frames to the figures of a report: means with intervals, differences, where and when it fails."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.evaluation.bootstrap import block_length, mean_interval
from depth_estimation_ros.evaluation.frame_result import DISTANCES, REGIONS, FrameResult
from depth_estimation_ros.evaluation.metrics import METRICS

EXTREMES = 10
"""Worst and best frames that are listed for each model."""

_FLICKER = ("change", "common", "truth", "share")
_PACKAGES = ("depth_estimation_ros", "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino")


def summarise(
    results: Iterable[FrameResult],
    models: Mapping[str, Mapping[str, Any]] | None = None,
    recordings: Sequence[Mapping[str, Any]] = (),
    machine: Mapping[str, str] | None = None,
    interrupted: bool = False,
) -> dict[str, Any]:
    """
    Return the figures of an evaluation: what ``metrics.json`` holds.

    Figures of a model are means over its frames, of all recordings. They do not depend on the order of the results.

    Parameters
    ----------
    results : iterable of FrameResult
        Each frame of a recording at most once for a model.
    models : mapping, optional
        Facts of each model by its name, in the order in which the report shows them, as from `describe_model`; they
        come before figures of the same name. Where it ran in the node also ``live``: its counts ``received``,
        ``published``, ``superseded``, ``failed`` and ``rate_hz``.
    recordings : sequence of mapping, optional
        Of each: ``name``, and what is known of ``images`` and ``images_done`` (numbers), ``kind`` (of the truth),
        ``topics`` (by use), ``clock_offset`` (seconds), ``notes`` (sentences), ``problems`` (images not compared, by
        reason), ``error`` (why it ends early), ``triangulated`` (medians over frames where the truth is: its ``points``
        and their relative standard ``deviation``).
    machine : mapping, optional
        Facts of the machine, as from `describe_machine`.
    interrupted : bool
        Whether frames are left to do.

    Returns
    -------
    dict
        Strict JSON: no infinity, no NaN; None where there is no figure.
    """
    models = dict(models or {})
    by_model: dict[str, dict[str, list[FrameResult]]] = {name: {} for name in models}
    for result in sorted(results, key=lambda r: (r.recording, r.index)):
        by_model.setdefault(result.model, {}).setdefault(result.recording, []).append(result)
    return {
        "interrupted": interrupted,
        "averaging": "mean over frames; nothing is scaled to fit, except under 'scaled'",
        "models": {name: {**_model_figures(frames), **models.get(name, {})} for name, frames in by_model.items()},
        "paired": [_paired(a, b, by_model[a], by_model[b]) for a, b in combinations(by_model, 2)],
        "recordings": [dict(recording) for recording in recordings],
        "machine": dict(machine or {}),
    }


def describe_model(estimator: DepthEstimator) -> dict[str, Any]:
    """Return the facts of a model and of the engine that runs it."""
    model, info = estimator.model, estimator.model.info
    return {
        "about": {
            "model": info.name,
            "file": Path(model.path).name,
            "sha256": model.sha256,
            "input": f"{info.input_width}x{info.input_height}",
            "focal_length": info.focal_length,
            "depth_range": [info.min_depth, info.max_depth],
            "training_data": info.training_data,
            "licence": info.licence,
            "backend": estimator.backend.name,
        }
    }


def describe_machine() -> dict[str, str]:
    """Return what figures of speed depend on, and the versions of what computed the rest."""
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


def _model_figures(by_recording: dict[str, list[FrameResult]]) -> dict[str, Any]:
    every = [frame for frames in by_recording.values() for frame in frames]
    good = {name: [f for f in frames if f.raw] for name, frames in by_recording.items()}
    good = {name: frames for name, frames in good.items() if frames}
    frames = [frame for group in good.values() for frame in group]
    errors = np.array([frame.raw["abs_rel"] for frame in frames])
    order = np.argsort(errors, kind="stable").tolist()
    blocks = {name: block_length(np.array([f.raw["abs_rel"] for f in group])) for name, group in good.items()}
    times = {
        name: [value for f in every if (value := getattr(f, name)) is not None]
        for name in ("inference_ms", "latency_ms")
    }
    return {
        "frames": len(frames),
        "without_estimate": len(every) - len(frames),
        "invalid": _mean([f.invalid for f in every]),
        **_means(good, blocks, "raw"),
        "scaled": _means(good, blocks, "scaled"),
        "bias": _mean([float(np.expm1(f.by_distance["log"].sum())) for f in frames]),
        "scale": _percentiles([f.scale for f in frames], (5, 50, 95)),
        "delay_ms": _percentiles([f.delay_ms for f in every], (5, 50, 95)),
        "by_distance": _by_distance(frames),
        "by_region": _by_region(frames),
        "by_recording": {
            name: {
                "frames": len(group),
                "block": blocks[name],
                **{metric: _mean([f.raw[metric] for f in group]) for metric in METRICS},
            }
            for name, group in good.items()
        },
        "flicker": _flicker(every),
        **{name: _percentiles(values, (50, 95)) for name, values in times.items()},
        "worst": [_place(frames[i]) for i in order[::-1][:EXTREMES]],
        "best": [_place(frames[i]) for i in order[:EXTREMES]],
    }


def _means(good: dict[str, list[FrameResult]], blocks: dict[str, int], kind: str) -> dict[str, Any]:
    """Return the metrics, and their intervals by name."""
    if not good:
        return {**dict.fromkeys(METRICS), "intervals": {}}
    tables = [np.array([[getattr(f, kind)[m] for m in METRICS] for f in frames]) for frames in good.values()]
    found = dict(zip(METRICS, mean_interval(tables, list(blocks.values())), strict=True))
    return {
        **{metric: interval.mean for metric, interval in found.items()},
        "intervals": {metric: [interval.low, interval.high] for metric, interval in found.items()},
    }


def _paired(
    reference: str, model: str, first: dict[str, list[FrameResult]], second: dict[str, list[FrameResult]]
) -> dict[str, Any]:
    """Return the differences, the second model less the first, over the frames that both have."""
    apart, blocks = [], []
    for name in sorted(set(first) & set(second)):
        before = {f.index: f.raw for f in first[name] if f.raw}
        pairs = [(before[f.index], f.raw) for f in second[name] if f.raw and f.index in before]
        if pairs:
            apart.append(np.array([[b[m] - a[m] for m in METRICS] for a, b in pairs]))
            blocks.append(block_length(apart[-1][:, METRICS.index("abs_rel")]))
    found = dict(zip(METRICS, mean_interval(apart, blocks), strict=True)) if apart else {}
    return {
        "model": model,
        "reference": reference,
        "frames": sum(map(len, apart)),
        "differences": {
            metric: {"mean": i.mean, "low": i.low, "high": i.high, "decided": i.decided} for metric, i in found.items()
        },
    }


def _by_distance(frames: list[FrameResult]) -> list[dict[str, Any]]:
    """Return a row for each range of distance that has pixels."""
    if not frames:
        return []
    groups = _groups(frames, "by_distance")
    edges = zip(DISTANCES, (*DISTANCES[1:], None), strict=True)
    return [
        {"from": float(a), "to": None if b is None else float(b), **group}
        for (a, b), group in zip(edges, groups, strict=True)
        if group
    ]


def _by_region(frames: list[FrameResult]) -> dict[str, Any] | None:
    """Return the figures of every cell of the image, row by row; None in cells without truth."""
    if not frames:
        return None
    groups, (rows, columns) = _groups(frames, "by_region"), REGIONS
    return {
        name: [[group.get(name) for group in groups[r * columns : (r + 1) * columns]] for r in range(rows)]
        for name in ("share", "abs_rel", "bias")
    }


def _groups(frames: list[FrameResult], name: str) -> list[dict[str, float]]:
    """
    Return the figures of every group of pixels; empty for groups without any.

    Frames count the same, whatever their size: ``share`` is the mean share of a frame's pixels. ``bias`` is the typical
    share by which depth is too far (negative: too near).
    """
    # One frame at a time: a stack of all would not fit into memory for long recordings.
    sums: dict[str, Any] = {}
    for frame in frames:
        for key, row in getattr(frame, name).items():
            sums[key] = sums.get(key, 0.0) + row / len(frames)
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


def _flicker(frames: list[FrameResult]) -> dict[str, float] | None:
    """Return the mean over pairs of frames, every static pixel counting the same."""
    found = [frame.flicker for frame in frames if frame.flicker]
    if not found:
        return None
    pixels = [row["pixels"] for row in found]
    means = {name: float(np.average([row[name] for row in found], weights=pixels)) for name in _FLICKER}
    return {"pairs": len(found), **means}


def _place(frame: FrameResult) -> dict[str, Any]:
    return {"recording": frame.recording, "index": frame.index, "stamp": frame.stamp, **frame.raw, "scale": frame.scale}


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _percentiles(values: list[float], which: tuple[int, ...]) -> dict[str, float] | None:
    if not values:
        return None
    found = np.percentile(np.array(values, np.float64), which)
    return {f"p{p}": float(value) for p, value in zip(which, found, strict=True)}


def _processor() -> str:
    """Return the processor's name; Linux tells it, elsewhere its kind has to do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
