"""What the comparison of one estimated frame with its truth leaves: figures and small sums, never the images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.evaluation.metrics import PixelErrors

if TYPE_CHECKING:
    from depth_estimation_ros.evaluation.result.sample import Sample

DISTANCES = (0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 80)
"""Edges in metres of true depth; the last range is open."""

REGIONS = (9, 12)
"""Rows and columns of the grid that divides the image into regions."""

STATIC = 0.02
"""A pixel whose true depth changes by less than this share of it from one frame to the next is static."""

# Between frames further apart, and where less of the truth stays as it was, equal truth is chance: a camera that has
# moved on, or a scene that was cut.
_LONGEST_STEP = 500_000_000  # ns
_LEAST_STATIC = 0.25
_LEAST_PIXELS = 30


@dataclass(frozen=True, eq=False)
class FrameResult:
    """
    One frame of a recording, estimated by one model.

    Metrics are over the pixels that have both a truth and an estimate; `invalid` says how many have no estimate.

    Parameters
    ----------
    recording, model : str
        Their names.
    index : int
        Of the image among all images of the recording.
    stamp : int
        Of the image, nanoseconds.
    delay_ms : float
        Stamp of the truth less that of the image.
    known : int
        Pixels with a truth.
    invalid : float
        Share of them without an estimate, 0 to 1.
    raw : dict
        As from `metrics.depth_metrics`, nothing scaled; empty where no pixel has both truth and estimate.
    scale : float or None
        Median of the truth over median of the estimate; None where ``raw`` is empty.
    scaled : dict
        Metrics of the estimate times ``scale``: of its shape alone, a diagnostic.
    by_distance, by_region : dict of numpy.ndarray
        Sums as from `metrics.PixelErrors.grouped`, raw, over the number of all pixels compared: of the ranges between
        `DISTANCES` (the last open), and of the cells of `REGIONS`, row by row.
    flicker : dict or None
        See `flicker`.
    inference_ms : float or None
        What the estimate took, where that is known.
    latency_ms : float or None
        From the image's stamp to the receipt of depth, live only.
    truth_deviation : float or None
        Relative standard deviation of the truth, where it is estimated itself.
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
) -> FrameResult:
    """
    Compare an estimate with the truth, pixel by pixel of the truth.

    Parameters
    ----------
    sample : Sample
        The image and its truth, [H, W] metres, NaN where unknown.
    depth : numpy.ndarray
        The estimate, [h, w] metres at any size, NaN where invalid; interpolated to the truth's.
    recording, model : str
        Their names.
    inference_ms : float, optional
        What the estimate took.
    latency_ms : float, optional
        From the image's stamp to the receipt of depth.
    previous : tuple of (Sample, numpy.ndarray), optional
        The frame before in the recording and this model's estimate of it, for the flicker.

    Returns
    -------
    FrameResult

    Raises
    ------
    ValueError
        If no pixel's truth is a positive number.
    """
    truth = sample.truth
    known = _is_depth(truth)
    if not known.any():
        raise ValueError("no pixel has a known true depth: there is nothing to compare")
    depth = _resized(depth, truth)
    estimated = known & _is_depth(depth)
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
        invalid=1.0 - g.size / pixels,
        raw=raw,
        scale=scale,
        scaled=scaled,
        by_distance=_shares(errors.grouped(ranges, len(DISTANCES)), g.size),
        by_region=_shares(errors.grouped(cells, REGIONS[0] * REGIONS[1]), g.size),
        flicker=None if previous is None else flicker(sample, depth, *previous),
        inference_ms=None if inference_ms is None or math.isnan(inference_ms) else inference_ms,
        latency_ms=latency_ms,
        truth_deviation=sample.deviation,
    )


def flicker(sample: Sample, depth: np.ndarray, before: Sample, depth_before: np.ndarray) -> dict[str, float] | None:
    """
    Measure how much an estimate changes where the truth does not, from one frame to the next.

    Over the static pixels (see `STATIC`), the change being the logarithm of the ratio of the two estimates. The
    definition is this package's own; measures in the literature ask for optical flow, or for more than two frames.

    Parameters
    ----------
    sample, before : Sample
        A frame and the one before it.
    depth, depth_before : numpy.ndarray
        Their estimates, [h, w] metres at any size, NaN where invalid.

    Returns
    -------
    dict or None
        ``pixels`` that are static, their ``share`` of those with truth in both frames, the mean absolute ``change``
        of the estimate, the part of it that the whole image does at once (``common``, the absolute mean), and the
        mean absolute change of the truth itself (``truth``: its noise). None where the frames are too far apart, of
        different sizes, or hold too few static pixels for them to be more than chance.
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
