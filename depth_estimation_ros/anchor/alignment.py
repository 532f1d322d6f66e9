"""
Alignment of relative depth with true depths: a scale and a shift, in inverse depth or in depth.

The values p of a relative network are 1/Z = scale p + shift (``inverse_relative``; Ranftl et al. 2020, MiDaS) or
Z = scale p + shift (``depth_relative``). Fits minimise errors of log depth, because a network's errors are relative.
They start from the best of many lines through two points each, as in MLESAC (Torr and Zisserman 2000), and continue
with reweighted Gauss-Newton steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.anchor.matching import Pairs
from depth_estimation_ros.anchor.robust import (
    OUTLIER_RANGE,
    OUTLIER_SHARE,
    PRIOR_POINTS,
    SPREAD,
    patches,
    robust_location,
    trust,
)
from depth_estimation_ros.estimator import DepthMap

FARTHEST = 1000.0
"""Maximum aligned depth in metres; an inverse depth below its reciprocal, or below zero, is as far."""

LEAST_SPREAD = 1.5
"""Minimum ratio of far to near true depths from which scale and shift in inverse depth can be told apart."""

LEAST_POINTS = 5
"""Minimum number of inliers of the first fit."""

CONTRAST = 0.5
"""Expected error of the far-to-near ratio that past fits predict, as a share of that of the scale."""

_SURE = 2.0  # standard deviations by which both ends of the first fit must differ
_NEAREST_END = 0.1  # least predicted (inverse) depth at an edge, as a share of the least at a point
_LINES = 300
_ITERATIONS = 10
_EDGES = (5.0, 95.0)  # percentiles of the image's values, the near and far end of its depth
_SAMPLED = 8192  # values of which percentiles are taken
_TAIL = 4.0  # degrees of freedom of the prediction's errors (Student's t): sometimes they are much larger than usual
_LEAST = 1e-6  # ratio of estimated to true (inverse) depth below which a point has no logarithm


@dataclass(frozen=True)
class Alignment:
    """
    Scale and shift of relative depth.

    Parameters
    ----------
    inverse : bool
        Whether they apply in inverse depth.
    scale, shift : float
        1/Z or Z = scale * value + shift, in 1/metres or metres.
    """

    inverse: bool
    scale: float
    shift: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return 1/Z or Z of values of the model, in 1/metres or metres."""
        return self.scale * values + self.shift

    def apply(self, depth_map: DepthMap) -> DepthMap:
        """Return a relative depth map in metres, at most `FARTHEST`; NaN where depth would be 0 or less."""
        aligned = np.float32(self.scale) * depth_map.depth + np.float32(self.shift)
        if self.inverse:
            depth = 1.0 / np.maximum(aligned, np.float32(1.0 / FARTHEST))
        else:
            depth = np.where(aligned > 0.0, np.minimum(aligned, np.float32(FARTHEST)), np.float32(np.nan))
        return DepthMap(depth.astype(np.float32, copy=False), depth_map.camera)

    def towards(self, other: Alignment, share: float) -> Alignment:
        """Return the alignment that is a share of the way to another one."""
        return Alignment(
            self.inverse,
            self.scale + share * (other.scale - self.scale),
            self.shift + share * (other.shift - self.shift),
        )


@dataclass(frozen=True)
class AlignmentFit:
    """
    Result of a fit.

    Parameters
    ----------
    alignment : Alignment or None
        None if the points do not determine one.
    deviation : float
        Relative standard deviation of depth at the points; infinite without an alignment.
    points, inliers : int
        Number of points, and of inliers among them.
    fault : str
        Why there is no alignment, for example "they span ..."; empty if there is one.
    """

    alignment: Alignment | None
    deviation: float
    points: int
    inliers: int
    fault: str = ""


def value_range(depth_map: DepthMap) -> tuple[float, float]:
    """Return low and high percentiles of the finite values of a map; NaN if there are none."""
    values = depth_map.depth.reshape(-1)[:: depth_map.depth.size // _SAMPLED + 1]
    values = values[np.isfinite(values)].astype(np.float64)
    return tuple(np.percentile(values, _EDGES).tolist()) if values.size else (math.nan, math.nan)


def fit_alignment(
    pairs: Pairs, edges: tuple[float, float], inverse: bool, with_shift: bool, expected: Alignment | None, prior: float
) -> AlignmentFit:
    """
    Fit a scale, or a scale and a shift, to points of which a third may be wrong.

    The unknowns are (inverse) depth at two values, `edges` or the points' own. Past fits predict them: their common
    error has the standard deviation `prior` in log depth, and half the error of their ratio has `CONTRAST` times that.
    So points at a single depth change the scale only. Without past fits, depth is predicted by the best scale alone,
    and inverse depth needs points that span `LEAST_SPREAD`.

    Parameters
    ----------
    pairs : Pairs
        The points.
    edges : tuple of float
        From `value_range`.
    inverse : bool
        Whether the alignment is in inverse depth.
    with_shift : bool
        Fit a shift too; without it, the shift is 0.
    expected : Alignment or None
        Prediction by past fits.
    prior : float
        See above.

    Returns
    -------
    AlignmentFit
    """
    low, high = edges
    points = len(pairs)
    nothing = AlignmentFit(None, math.inf, points, 0)
    if not high - low > 1e-6 * max(abs(low), abs(high)):
        return _without(nothing, "the model's values are the same all over the image")
    target = 1.0 / pairs.depth if inverse else pairs.depth
    by_scale = _fit_factor(pairs, target, expected or Alignment(inverse, 1.0, 0.0), prior if expected else math.inf)
    if not with_shift:
        return by_scale
    if expected is None:
        if points < LEAST_POINTS:
            return _without(nothing, f"scale and shift need {LEAST_POINTS} points or more")
        if not inverse:
            if by_scale.alignment is None:
                return by_scale
            expected, prior = by_scale.alignment, 2.0 * prior
    if expected is None:
        low, high = np.percentile(pairs.value, _EDGES)
    else:
        # Not where the sky is, of which the prediction says that it is beyond all measure.
        low = max(low, (_NEAREST_END * target.min() - expected.shift) / expected.scale)
    if not high > low:
        return by_scale if expected else _without(nothing, "the model's values are the same at all of them")
    place = (pairs.value - low) / (high - low)
    rows = np.stack([1.0 - place, place], axis=1)
    predicted = None if expected is None else expected(np.array([low, high]))
    ends = _best_line(rows, target, predicted, prior)
    if ends is None:
        return by_scale if expected else _without(nothing, "true depth does not rise and fall with the model's")
    information = _prior_information(prior) if predicted is not None else np.zeros((2, 2))
    variance, weights = SPREAD**2, np.ones(points)
    for _ in range(_ITERATIONS):
        aligned = rows @ ends
        usable = aligned > _LEAST * target
        residuals = np.where(usable, np.log(np.maximum(aligned / target, _LEAST)), 0.0)
        weights = np.where(usable, trust(residuals, variance), 0.0)
        variance = (PRIOR_POINTS * SPREAD**2 + weights @ residuals**2) / (PRIOR_POINTS + weights.sum())
        inliers = weights > 0.5
        if not inliers.any():
            return _without(nothing, "they contradict each other")
        # Points in one patch count as one, because a network's errors are alike there.
        weighed = weights * (patches(pairs.rays[inliers]) / np.count_nonzero(inliers) / variance)
        slopes = rows / np.where(usable, aligned, 1.0)[:, None]
        normal, gradient = (slopes * weighed[:, None]).T @ slopes, (slopes * weighed[:, None]).T @ residuals
        if predicted is not None:
            off = np.log(ends / predicted)
            believed = information * (_TAIL + 2.0) / (_TAIL + off @ information @ off)
            normal += believed / np.outer(ends, ends)
            gradient += believed @ off / ends
        try:
            covariance = np.linalg.inv(normal)
        except np.linalg.LinAlgError:
            return _without(nothing, "they lie at one depth")
        # Both ends stay positive; a step over a tenth of them is a sign of points that say nothing about one.
        ends = np.maximum(ends - covariance @ gradient, 0.1 * ends)
    inliers = weights > 0.5
    found = AlignmentFit(None, math.inf, points, int(inliers.sum()))
    if expected is None:
        if found.inliers < max(LEAST_POINTS, points // 2):
            return _without(found, "they contradict each other")
        near, far = np.percentile(pairs.depth[inliers], (10, 90))
        if inverse and far < LEAST_SPREAD * near:
            return _without(
                found, f"they span depths of 1 to {far / near:.2f}, and scale and shift need 1 to {LEAST_SPREAD:g}"
            )
        relative = covariance / np.outer(ends, ends)
        if math.log(ends[1] / ends[0]) < _SURE * math.sqrt(relative[0, 0] + relative[1, 1] - 2.0 * relative[0, 1]):
            return _without(found, "true depth does not rise and fall with the model's")
    scale = (ends[1] - ends[0]) / (high - low)
    if not scale > 0.0:
        return by_scale if expected else _without(found, "true depth does not rise and fall with the model's")
    at = np.median(rows[inliers], axis=0)
    at = at / (at @ ends)
    deviation = math.sqrt(max(at @ covariance @ at, 0.0) + pairs.deviation**2)
    return AlignmentFit(Alignment(inverse, scale, ends[0] - scale * low), deviation, points, found.inliers)


def _without(found: AlignmentFit, fault: str) -> AlignmentFit:
    return AlignmentFit(None, math.inf, found.points, found.inliers, fault)


def _fit_factor(pairs: Pairs, target: np.ndarray, basis: Alignment, prior: float) -> AlignmentFit:
    """Fit one factor on an alignment; its logarithm is expected to be 0 with the standard deviation `prior`."""
    aligned = basis(pairs.value)
    usable = aligned > _LEAST * target
    nothing = AlignmentFit(None, math.inf, len(pairs), 0)
    if not usable.any():
        return _without(nothing, "the model's values there are not positive, so no scale alone makes them depth")
    centre, variance, weights = robust_location(np.log(target[usable] / aligned[usable]))
    inliers = weights > 0.5
    if not inliers.any():
        return _without(nothing, "they contradict each other")
    variance = variance / patches(pairs.rays[usable][inliers]) + pairs.deviation**2
    share = 1.0 / (1.0 + variance / prior**2)
    factor = math.exp(share * centre)
    alignment = Alignment(basis.inverse, factor * basis.scale, factor * basis.shift)
    return AlignmentFit(alignment, math.sqrt(share * variance), len(pairs), int(inliers.sum()))


def _prior_information(prior: float) -> np.ndarray:
    """Return the inverse covariance of the logarithms of both ends, [2, 2]."""
    common, contrast = prior**2, (CONTRAST * prior) ** 2
    return np.linalg.inv([[common + contrast, common - contrast], [common - contrast, common + contrast]])


def _best_line(rows: np.ndarray, target: np.ndarray, predicted: np.ndarray | None, prior: float) -> np.ndarray | None:
    """
    Return the ends of the most likely line among lines through two points, and scalings of the predicted one.

    Parameters
    ----------
    rows : numpy.ndarray
        [N, 2], weights of the two ends at each point.
    target : numpy.ndarray
        [N], true (inverse) depth.
    predicted : numpy.ndarray or None
        [2], positive, predicted ends.
    prior : float
        As for `fit_alignment`.

    Returns
    -------
    numpy.ndarray or None
        [2], positive and rising; None if no line is.
    """
    first, second = np.random.default_rng(0).integers(0, len(target), (2, _LINES))
    place, apart = rows[:, 1], rows[first, 1] - rows[second, 1]
    first, second, apart = first[apart != 0.0], second[apart != 0.0], apart[apart != 0.0]
    slope = (target[first] - target[second]) / apart
    low = target[first] - slope * place[first]
    # An end may lie beyond zero by the error of two points; it is then almost there.
    lines = np.stack([low, low + slope])
    lines = np.maximum(lines, 0.02 * np.median(target))[:, slope > 0.0]
    if predicted is not None:
        scales = target / np.maximum(rows @ predicted, _LEAST * target)
        lines = np.concatenate([lines, np.outer(predicted, scales[(scales > 0.1) & (scales < 10.0)])], axis=1)
        lines = np.concatenate([lines, predicted[:, None]], axis=1)
    lines = lines[:, lines[1] > lines[0]]
    if not lines.size:
        return None
    residuals = np.log(np.maximum(rows @ lines / target[:, None], _LEAST))
    right = np.exp(-0.5 * (residuals / SPREAD) ** 2) / (math.sqrt(2.0 * math.pi) * SPREAD) * (1.0 - OUTLIER_SHARE)
    likelihood = np.log(right + OUTLIER_SHARE / OUTLIER_RANGE).sum(axis=0)
    if predicted is not None:
        off = np.log(lines / predicted[:, None])
        distance = np.einsum("ik,ij,jk->k", off, _prior_information(prior), off)
        likelihood -= 0.5 * (_TAIL + 2.0) * np.log1p(distance / _TAIL)
    return lines[:, np.argmax(likelihood)]
