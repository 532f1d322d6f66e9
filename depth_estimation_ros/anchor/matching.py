"""Log ratios of true to estimated depth at a reference's points."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_estimation_ros.anchor.references import SparseDepth
from depth_estimation_ros.estimator import DepthMap

MOST_CELLS = 160
"""Maximum number of matches in a fit: the cost grows with their cube (see also `field`)."""

_RASTER = 64  # number of cells across the image; in each, a near point occludes those behind it
_BEHIND = 1.15  # factor on depth beyond which a point is occluded


@dataclass(frozen=True)
class Matches:
    """
    Comparison of an estimate with a reference.

    Parameters
    ----------
    rays : numpy.ndarray
        float64 [N, 2], (x/z, y/z).
    log_depth : numpy.ndarray
        float64 [N], logarithm of the estimated depth.
    log_ratio : numpy.ndarray
        float64 [N], logarithm of true over estimated depth.
    deviation : float
        Standard deviation of the log ratios due to the reference.
    seen : int
        Number of reference points in the image on valid depth, before thinning.
    """

    rays: np.ndarray
    log_depth: np.ndarray
    log_ratio: np.ndarray
    deviation: float
    seen: int

    def __len__(self) -> int:
        """Return the number of matches."""
        return len(self.log_ratio)


def match(depth_map: DepthMap, reference: SparseDepth) -> Matches:
    """
    Compare an estimate with a reference.

    Points outside the image, on invalid depth, or occluded by nearer points (a lidar mounted elsewhere sees points that
    the camera does not) are dropped. Dense points are thinned: each cell of a grid keeps the point with the median log
    ratio.

    Parameters
    ----------
    depth_map : DepthMap
        The estimate, with its camera.
    reference : SparseDepth
        True depths.

    Returns
    -------
    Matches
        At most `MOST_CELLS` matches.

    Raises
    ------
    ValueError
        If the depth map has no camera.
    """
    camera = depth_map.camera
    if camera is None:
        raise ValueError("anchoring needs the camera's intrinsics: estimate with a PinholeCamera")
    x = reference.rays[:, 0] * camera.fx + camera.cx
    y = reference.rays[:, 1] * camera.fy + camera.cy
    inside = np.flatnonzero((x > -0.5) & (x < camera.width - 0.5) & (y > -0.5) & (y < camera.height - 0.5))
    x, y = x[inside].astype(np.float32), y[inside].astype(np.float32)
    if not inside.size:
        return Matches(np.empty((0, 2)), np.empty(0), np.empty(0), reference.deviation, 0)
    estimate = cv2.remap(depth_map.depth, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    truth = reference.depth[inside]
    size = camera.width / _RASTER
    kept = np.flatnonzero(_visible(_cells(x, y, size), truth) & (estimate > 0))
    log_depth = np.log(estimate[kept].astype(np.float64))
    log_ratio = np.log(truth[kept]) - log_depth
    chosen = _thin(x[kept], y[kept], log_ratio, size)
    rays = reference.rays[inside[kept[chosen]]]
    return Matches(rays, log_depth[chosen], log_ratio[chosen], reference.deviation, len(kept))


def _cells(x: np.ndarray, y: np.ndarray, size: float) -> np.ndarray:
    """Return the index of the square image cell in which each point lies, in row-major order."""
    column, row = ((a + 0.5) / size for a in (x, y))
    return row.astype(np.intp) * (int(column.max()) + 1) + column.astype(np.intp)


def _visible(cells: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return whether no point in the same cell is much nearer."""
    nearest = np.full(cells.max() + 1, np.inf)
    np.minimum.at(nearest, cells, depth)
    return depth <= _BEHIND * nearest[cells]


def _thin(x: np.ndarray, y: np.ndarray, value: np.ndarray, size: float) -> np.ndarray:
    """Return indices of at most `MOST_CELLS` points: the point with the median value of each cell."""
    if len(value) <= MOST_CELLS:
        return np.arange(len(value))
    while np.count_nonzero(np.bincount(cells := _cells(x, y, size))) > MOST_CELLS:
        size *= 1.2
    order = np.lexsort((value, cells))
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    counts = np.diff(starts, append=len(order))
    return order[starts + (counts - 1) // 2]
