"""
Smooth field of log gains, by Gaussian process regression that is robust to outliers.

The log ratio of true to estimated depth is modelled as ``expected + constant + field(x/z, y/z, ln depth) + noise``. The
field's covariance is a product of Gaussians of the distance in the image and of the difference in estimated log depth,
as in a joint bilateral filter (Petschnigg et al. 2004), because a network's errors are similar within a surface.
Regression and leave-one-out prediction follow Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006),
equations 2.25 and 5.12.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.anchor.gain import LOG_DEPTHS, LogGain, node_rays
from depth_estimation_ros.anchor.matching import Matches
from depth_estimation_ros.anchor.robust import OUTLIER_RANGE, OUTLIER_SHARE, robust_location, trust
from depth_estimation_ros.camera import PinholeCamera


@dataclass(frozen=True)
class FieldModel:
    """
    Assumptions about the errors of an estimate, tuned on held-out training frames (`training.anchor_study --tune`).

    Parameters
    ----------
    deviation : float
        Standard deviation of the field, in log depth.
    width : float
        Length scale of the field in the image, in x/z and y/z.
    log_depth_width : float
        Length scale of the field in estimated log depth.
    noise : float
        Standard deviation of the independent noise of each point, in log depth.
    outlier_share : float
        Expected share of outliers.
    outlier_range : float
        Width of the uniform distribution assumed for the log ratios of outliers.
    """

    deviation: float = 0.2
    width: float = 0.18
    log_depth_width: float = 0.3
    noise: float = 0.06
    outlier_share: float = OUTLIER_SHARE
    outlier_range: float = OUTLIER_RANGE


_ITERATIONS = 3


def fit_field(
    matches: Matches, camera: PinholeCamera, expected: float, prior: float, model: FieldModel | None = None
) -> LogGain:
    """
    Fit a smooth field of log gains.

    Each point is weighted by how well the others predict it: the noise of a point that contradicts them is set large.

    Parameters
    ----------
    matches : Matches
        At least one.
    camera : PinholeCamera
        Camera of the depth map.
    expected, prior : float
        Mean and standard deviation of the logarithm of the scale before the reference is used.
    model : FieldModel, optional
        Assumptions about the errors.

    Returns
    -------
    LogGain
        Field that equals the scale far from all points.
    """
    model = model or FieldModel()
    x, y = matches.rays.T
    local = _kernel(x, x, model.width) * _kernel(y, y, model.width)
    local *= _kernel(matches.log_depth, matches.log_depth, model.log_depth_width) * model.deviation**2
    covariance = local + prior**2
    value = matches.log_ratio - expected
    noise = model.noise**2 + matches.deviation**2
    centre, _, _ = robust_location(matches.log_ratio)
    weights = trust(matches.log_ratio - centre, model.deviation**2 + noise, model.outlier_share, model.outlier_range)
    for _ in range(_ITERATIONS):
        inverse = _inverse(covariance, noise / weights)
        precision = np.diag(inverse)
        left_out = inverse @ value / precision
        variance = np.maximum(1.0 / precision - noise / weights, 0.0) + noise
        weights = trust(left_out, variance, model.outlier_share, model.outlier_range)
    inverse = _inverse(covariance, noise / weights)
    coefficients = inverse @ value
    log_scale = expected + prior**2 * float(coefficients.sum())
    scale_variance = max(prior**2 - prior**4 * float(inverse.sum()), 0.0)

    columns, rows = node_rays(camera)
    # [rows, depths, points] times [points, columns]
    tall = _kernel(rows, y, model.width)[:, None] * _kernel(LOG_DEPTHS, matches.log_depth, model.log_depth_width)
    field = (tall * (model.deviation**2 * coefficients)) @ _kernel(x, columns, model.width)
    nodes = np.ascontiguousarray((log_scale + field).transpose(0, 2, 1), np.float32)
    return LogGain(nodes, log_scale, math.sqrt(scale_variance), len(value), int((weights > 0.5).sum()))


def _kernel(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-0.5 * ((a[:, None] - b) / width) ** 2)


def _inverse(covariance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Invert a symmetric covariance of up to `MOST_CELLS` points, by blocks (Schur complement)."""
    # NumPy's BLAS distributes matrices of more than about 80 rows over threads. While an engine keeps all cores busy,
    # these threads wait for each other a hundred times as long as the work takes.
    matrix = covariance + np.diag(noise)
    half = (len(matrix) + 1) // 2
    if half < 2:
        return np.linalg.inv(matrix)
    first, across = np.linalg.inv(matrix[:half, :half]), matrix[:half, half:]
    inner = first @ across
    last = np.linalg.inv(matrix[half:, half:] - across.T @ inner)
    outer = -inner @ last
    return np.block([[first - outer @ inner.T, outer], [outer.T, last]])
