"""Comparison of one estimated frame with its ground truth; the result has metrics and small sums but no images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.evaluation.alignment import aligned_metrics, drawn, inverse_values
from depth_estimation_ros.evaluation.metrics import PixelErrors

if TYPE_CHECKING:
    from depth_estimation_ros.evaluation.result.sample import Sample

DISTANCES = (0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 80)
"""Lower edges of the ranges of ground truth depth, metres; the last range is open."""

REGIONS = (9, 12)
"""Number of rows and columns of the grid that divides the image into regions."""

STATIC = 0.02
"""A pixel is static if its ground truth changes by less than this share from one frame to the next."""

# Beyond these limits, equal ground truth is a coincidence: the camera has moved on, or the scene was cut.
_LONGEST_STEP = 500_000_000  # ns
_LEAST_STATIC = 0.25
_LEAST_PIXELS = 30


@dataclass(frozen=True, eq=False)
class FrameResult:
    """
    Result of one model on one frame of a recording.

    Metrics are over the pixels that have both ground truth and an estimate; `invalid` is the share without an estimate.

    Parameters
    ----------
    recording, model : str
        Names of the recording and the model.
    index : int
        Index of the image among all images of the recording.
    stamp : int
        Stamp of the image, nanoseconds.
    delay_ms : float
        Stamp of the ground truth minus that of the image, milliseconds.
    known : int
        Number of pixels with ground truth.
    invalid : float
        Share of them without an estimate, 0 to 1.
    raw : dict
        Metrics of the unscaled estimate, see `metrics.depth_metrics`; empty if no pixel has ground truth and estimate,
        or depth is relative.
    scale : float or None
        Median of the ground truth divided by the median of the estimate; None if ``raw`` is empty.
    scaled : dict
        Metrics of the estimate times ``scale``, which show the error of the shape only; a diagnostic.
    aligned : dict
        Metrics after the affine alignment of inverse depth, see `evaluation.alignment`.
    pixels : numpy.ndarray
        Some pixels for the alignment of the sequence, see `alignment.drawn`.
    by_distance, by_region : dict of numpy.ndarray
        Sums of the unscaled estimate, see `metrics.PixelErrors.grouped`, divided by the number of compared pixels: for
        the ranges between `DISTANCES` (the last is open), and for the cells of `REGIONS`, row by row.
    flicker : dict or None
        See `flicker`.
    inference_ms : float or None
        Time of the estimate, if known.
    latency_ms : float or None
        Time from the image's stamp to the receipt of its depth; live runs only.
    truth_deviation : float or None
        Relative standard deviation of triangulated ground truth.
    """

    recording: str
    model: str
    index: int
    stamp: int
    delay_ms: float
    known: int
    invalid: float
    raw: dict[str, float]
    scale: float | None
    scaled: dict[str, float]
    aligned: dict[str, float]
    pixels: np.ndarray = field(repr=False)
    by_distance: dict[str, np.ndarray] = field(repr=False)
    by_region: dict[str, np.ndarray] = field(repr=False)
    flicker: dict[str, float] | None
    inference_ms: float | None
    latency_ms: float | None = None
    truth_deviation: float | None = None


def compare(
    sample: Sample,
    depth: np.ndarray,
    recording: str,
    model: str,
    inference_ms: float | None = None,
    latency_ms: float | None = None,
    previous: tuple[Sample, np.ndarray] | None = None,
    kind: str = "metric",
) -> FrameResult:
    """
    Compare an estimate with the ground truth at each pixel of the ground truth.

    Parameters
    ----------
    sample : Sample
        Image and ground truth, [H, W] metres, NaN where unknown.
    depth : numpy.ndarray
        Estimate, [h, w] metres at any size, NaN where invalid; it is interpolated to the size of the ground truth.
    recording, model : str
        Names of the recording and the model.
    inference_ms : float, optional
        Time of the estimate.
    latency_ms : float, optional
        Time from the image's stamp to the receipt of its depth.
    previous : tuple of (Sample, numpy.ndarray), optional
        The preceding frame and this model's estimate of it, for the flicker.
    kind : str
        Kind of the depth, see `ModelInfo`. Relative depth has only ``aligned`` metrics.

    Returns
    -------
    FrameResult

    Raises
    ------
    ValueError
        If no pixel has positive ground truth.
    """
    truth = sample.truth
    known = _is_depth(truth)
    if not known.any():
        raise ValueError("no pixel has a known true depth: there is nothing to compare")
    depth = _resized(depth, truth)
    values = inverse_values(depth, kind)
    comparable = known & np.isfinite(values)
    p, true = values[comparable], truth[comparable].astype(np.float64)
    metric = kind == "metric"
    estimated = known & _is_depth(depth) if metric else np.zeros_like(known)
    d, g = depth[estimated].astype(np.float64), truth[estimated].astype(np.float64)
    errors, scale, raw, scaled = PixelErrors(d, g), None, {}, {}
    if g.size:
        scale = float(np.median(g) / np.median(d))
        raw, scaled = errors.metrics(), PixelErrors(d * scale, g).metrics()
    rows, columns = ((np.arange(n) * parts) // n for n, parts in zip(truth.shape, REGIONS, strict=True))
    cells = (rows[:, None] * REGIONS[1] + columns)[estimated]
    ranges = np.searchsorted(DISTANCES, g, side="right") - 1
    pixels = int(known.sum())
    return FrameResult(
        recording=recording,
        model=model,
        index=sample.index,
        stamp=sample.stamp,
        delay_ms=sample.delay * 1e-6,
        known=pixels,
        invalid=1.0 - true.size / pixels,
        raw=raw,
        scale=scale,
        scaled=scaled,
        aligned=aligned_metrics(p, true) if true.size else {},
        pixels=drawn(p, true),
        by_distance=_shares(errors.grouped(ranges, len(DISTANCES)), g.size),
        by_region=_shares(errors.grouped(cells, REGIONS[0] * REGIONS[1]), g.size),
        flicker=None if previous is None or not metric else flicker(sample, depth, *previous),
        inference_ms=None if inference_ms is None or math.isnan(inference_ms) else inference_ms,
        latency_ms=latency_ms,
        truth_deviation=sample.deviation,
    )


def flicker(sample: Sample, depth: np.ndarray, before: Sample, depth_before: np.ndarray) -> dict[str, float] | None:
    """
    Measure how much an estimate changes from one frame to the next where the ground truth does not change.

    The change is the logarithm of the ratio of the two estimates, over static pixels (see `STATIC`). The definition is
    specific to this package: measures in the literature need optical flow or more than two frames.

    Parameters
    ----------
    sample, before : Sample
        A frame and the preceding one.
    depth, depth_before : numpy.ndarray
        Their estimates, [h, w] metres at any size, NaN where invalid.

    Returns
    -------
    dict or None
        ``pixels``: number of compared static pixels. ``share``: share of static pixels among those with ground truth in
        both frames. ``change``: mean absolute change of the estimate. ``common``: absolute value of the mean change,
        which the whole image shares. ``truth``: mean absolute change of the ground truth, its noise. None if the frames
        are too far apart, have different sizes, or have too few static pixels.
    """
    if not 0 < sample.stamp - before.stamp <= _LONGEST_STEP or sample.truth.shape != before.truth.shape:
        return None
    known = _is_depth(sample.truth) & _is_depth(before.truth)
    moved = np.full(known.shape, np.inf)
    moved[known] = np.abs(np.log(sample.truth[known].astype(np.float64) / before.truth[known]))
    static = moved < STATIC
    if static.sum() < _LEAST_STATIC * known.sum():
        return None
    depth, depth_before = (_resized(d, sample.truth) for d in (depth, depth_before))
    compared = static & _is_depth(depth) & _is_depth(depth_before)
    if compared.sum() < _LEAST_PIXELS:
        return None
    change = np.log(depth[compared].astype(np.float64) / depth_before[compared])
    return {
        "pixels": int(compared.sum()),
        "share": float(static.sum() / known.sum()),
        "change": float(np.abs(change).mean()),
        "common": float(abs(change.mean())),
        "truth": float(moved[compared].mean()),
    }


def _shares(sums: dict[str, np.ndarray], pixels: int) -> dict[str, np.ndarray]:
    return {name: row / max(pixels, 1) for name, row in sums.items()}


def _resized(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return DepthMap(depth).resized(truth.shape[1], truth.shape[0]).depth


def _is_depth(depth: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.isfinite(depth) & (depth > 0)
