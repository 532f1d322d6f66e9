"""Robust fit of one scale, or of a scale and a shift, to log ratios with outliers."""

from __future__ import annotations

import math

import numpy as np

from depth_estimation_ros.anchor.gain import LOG_DEPTHS, LogGain, constant_nodes
from depth_estimation_ros.anchor.matching import Matches

OUTLIER_SHARE = 0.2
"""Expected share of outliers."""

OUTLIER_RANGE = 3.0
"""Width of the uniform distribution assumed for the log ratios of outliers."""

SPREAD = 0.2
"""Prior standard deviation of log ratios over an image; it has the weight of `PRIOR_POINTS` points."""

PRIOR_POINTS = 20
PATCH = 0.2
"""Size of a patch in x/z and y/z. Points in one patch count as one, because a network's errors are alike there."""

SHIFT_DEVIATION = 0.5
"""Prior standard deviation of the shift, metres."""

LARGEST_GAIN = math.log(10.0)
_ITERATIONS = 10
_LEAST_TRUST = 1e-3


def trust(
    residual: np.ndarray, variance: np.ndarray | float, share: float = OUTLIER_SHARE, spread: float = OUTLIER_RANGE
) -> np.ndarray:
    """
    Return the probability that each point is an inlier, by Bayes' rule.

    Parameters
    ----------
    residual : numpy.ndarray
        [N], residuals of log ratios: normally distributed for inliers, uniformly over `spread` for outliers.
    variance : numpy.ndarray or float
        Variance of the residuals of inliers.
    share, spread : float
        As for `OUTLIER_SHARE` and `OUTLIER_RANGE`.

    Returns
    -------
    numpy.ndarray
        [N], probabilities in (0, 1].
    """
    right = np.exp(-0.5 * residual**2 / variance) / np.sqrt(2.0 * np.pi * variance) * (1.0 - share)
    return np.maximum(right / (right + share / spread), _LEAST_TRUST)


def robust_location(values: np.ndarray) -> tuple[float, float, np.ndarray]:
    """
    Return the centre of log ratios with less than half outliers: a mean weighted by `trust`, started at the median.

    Parameters
    ----------
    values : numpy.ndarray
        [N], log ratios, at least one.

    Returns
    -------
    centre, variance : float
        Weighted mean, and variance of the inliers, regularised towards `SPREAD`.
    weights : numpy.ndarray
        [N], `trust` of each value.
    """
    centre, variance = float(np.median(values)), SPREAD**2
    for _ in range(_ITERATIONS):
        weights = trust(values - centre, variance)
        variance = _blended((values - centre), weights)
        centre = float(weights @ values / weights.sum())
    return centre, variance, weights


def _blended(residuals: np.ndarray, weights: np.ndarray) -> float:
    return float((PRIOR_POINTS * SPREAD**2 + weights @ residuals**2) / (PRIOR_POINTS + weights.sum()))


def fit_scale(matches: Matches, expected: float, prior: float) -> LogGain:
    """
    Fit one scale.

    Parameters
    ----------
    matches : Matches
        At least one.
    expected, prior : float
        Mean and standard deviation of the logarithm of the scale before the reference is used.

    Returns
    -------
    LogGain
        Constant gain.
    """
    centre, variance, weights = robust_location(matches.log_ratio)
    inliers = weights > 0.5
    variance = _of_centre(variance, matches, inliers)
    share = prior**2 / (prior**2 + variance)
    log_scale = expected + share * (centre - expected)
    return LogGain(constant_nodes(log_scale), log_scale, math.sqrt(share * variance), len(matches), int(inliers.sum()))


def fit_scale_and_shift(matches: Matches, expected: float, prior: float) -> LogGain:
    """
    Fit a scale and a shift: true depth = scale * depth + shift.

    Minimises relative errors by reweighted least squares. The shift is regularised towards 0 (`SHIFT_DEVIATION`), so
    points of a single depth determine only a scale.

    Parameters
    ----------
    matches, expected, prior
        As for `fit_scale`.

    Returns
    -------
    LogGain
        Gain that is constant over the image; ``log_scale`` is its value at the median estimated depth of the matches.
    """
    start = fit_scale(matches, expected, prior)
    depth, truth = np.exp(matches.log_depth), np.exp(matches.log_depth + matches.log_ratio)
    # Rows of (scale d + shift) / z = 1, for errors relative to the true depth z.
    rows = np.stack([depth, np.ones_like(depth)], axis=1) / truth[:, None]
    prior_scale = np.array([math.exp(start.log_scale), 0.0])
    solution, variance = prior_scale, SPREAD**2
    for _ in range(_ITERATIONS):
        residuals = 1.0 - rows @ solution
        weights = trust(residuals, variance)
        variance = _blended(residuals, weights)
        # The prior in units of the residuals' variance.
        strength = variance / np.array([(prior * prior_scale[0]) ** 2, SHIFT_DEVIATION**2])
        normal = (rows * weights[:, None]).T @ rows + np.diag(strength)
        solution = np.linalg.solve(normal, (rows * weights[:, None]).sum(axis=0) + strength * prior_scale)
    scale, shift = solution
    at = np.exp(LOG_DEPTHS)
    gain = np.log(np.maximum(scale + shift / at, math.exp(-LARGEST_GAIN))).clip(-LARGEST_GAIN, LARGEST_GAIN)
    inliers = weights > 0.5
    log_scale = float(np.interp(np.median(matches.log_depth), LOG_DEPTHS, gain))
    deviation = math.sqrt(1.0 / (1.0 / prior**2 + 1.0 / _of_centre(variance, matches, inliers)))
    return LogGain(constant_nodes(gain), log_scale, deviation, len(matches), int(inliers.sum()))


def _of_centre(variance: float, matches: Matches, inliers: np.ndarray) -> float:
    """Return the variance of the centre of log ratios with this variance, from the number of patches they are in."""
    return variance / patches(matches.rays[inliers]) + matches.deviation**2


def patches(rays: np.ndarray) -> int:
    """Return the number of patches of the image (`PATCH`) in which rays [N, 2] lie, at least 1."""
    return max(len(np.unique(np.floor(rays / PATCH), axis=0)), 1)
