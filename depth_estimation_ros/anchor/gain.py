"""Correction of depth: the logarithm of a factor that depends on image position and estimated depth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.estimator import DepthMap

ROWS, COLUMNS = 15, 20
"""Number of nodes over the image; the outer ones lie on its edges."""

LOG_DEPTHS = np.linspace(math.log(0.2), math.log(50.0), 28)
"""Nodes over the logarithm of the estimated depth in metres; beyond the outermost nodes their values are kept."""

_WORK = 96  # maximum width for interpolating nodes; for larger maps the result is upsampled


@dataclass(frozen=True)
class LogGain:
    """
    Estimated correction of depth.

    Parameters
    ----------
    nodes : numpy.ndarray
        float32 [ROWS, COLUMNS, len(LOG_DEPTHS)], logarithm of the factor on depth.
    log_scale : float
        Logarithm of the factor as one number.
    deviation : float
        Standard deviation of ``log_scale``.
    points, inliers : int
        Number of matches used, and of those that are inliers.
    """

    nodes: np.ndarray
    log_scale: float
    deviation: float
    points: int
    inliers: int


def constant_nodes(log_gain: float | np.ndarray) -> np.ndarray:
    """Return nodes for one log gain, or for one per `LOG_DEPTHS`: float32 [ROWS, COLUMNS, len(LOG_DEPTHS)]."""
    return np.broadcast_to(np.float32(log_gain), (ROWS, COLUMNS, len(LOG_DEPTHS))).copy()


def node_rays(camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """Return x/z of the node columns, [COLUMNS], and y/z of the node rows, [ROWS]."""
    x = (np.linspace(-0.5, camera.width - 0.5, COLUMNS) - camera.cx) / camera.fx
    y = (np.linspace(-0.5, camera.height - 0.5, ROWS) - camera.cy) / camera.fy
    return x, y


def apply(depth_map: DepthMap, nodes: np.ndarray) -> DepthMap:
    """
    Apply a correction to an estimate.

    Parameters
    ----------
    depth_map : DepthMap
        Estimate. Invalid pixels stay invalid; a deviation is multiplied by the same factor.
    nodes : numpy.ndarray
        Nodes as in `LogGain`.

    Returns
    -------
    DepthMap
        Corrected depth of the same view.
    """
    height, width = depth_map.depth.shape
    shrink = -(-width // _WORK)
    small = depth_map.depth
    if shrink > 1:
        small = cv2.resize(small, (-(-width // shrink), -(-height // shrink)), interpolation=cv2.INTER_NEAREST)
    gain = _sliced(small, nodes)
    if gain.shape != (height, width):
        gain = cv2.resize(gain, (width, height), interpolation=cv2.INTER_LINEAR)
    gain = cv2.exp(gain)
    deviation = depth_map.deviation
    return DepthMap(
        cv2.multiply(depth_map.depth, gain),
        depth_map.camera,
        None if deviation is None else cv2.multiply(deviation, gain),
    )


def _sliced(depth: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Interpolate nodes at every pixel of a depth image; invalid pixels use the nodes of 1 m."""
    h, w = depth.shape
    log_depth = cv2.log(np.where(depth > 0, depth, np.float32(1.0)))
    # Nodes lie on the image's edges, pixels half a pixel inside.
    row, down = _split((np.arange(h) + 0.5) * ((ROWS - 1) / h), ROWS)
    column, right = _split((np.arange(w) + 0.5) * ((COLUMNS - 1) / w), COLUMNS)
    layer, farther = _split((log_depth - LOG_DEPTHS[0]) / (LOG_DEPTHS[1] - LOG_DEPTHS[0]), len(LOG_DEPTHS))
    down = down[:, None, None]
    rows = (nodes[row] * (1 - down) + nodes[row + 1] * down).reshape(-1)  # [h * COLUMNS * len(LOG_DEPTHS)]
    index = (np.arange(h)[:, None] * COLUMNS + column) * len(LOG_DEPTHS) + layer
    left = rows[index] * (1 - farther) + rows[index + 1] * farther
    index += len(LOG_DEPTHS)
    return left * (1 - right) + (rows[index] * (1 - farther) + rows[index + 1] * farther) * right


def _split(position: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Split positions on a line of `count` nodes into the index of the node before and the weight of the node after."""
    position = np.clip(position, 0.0, count - 1)
    before = np.minimum(position.astype(np.intp), count - 2)
    return before, (position - before).astype(np.float32)
