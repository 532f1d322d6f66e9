"""Estimated and true depth at a reference's points."""

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
        If the depth map has no camera, or is relative.
    """
    depth_map.require_metres()
    seen = _Seen.of(depth_map, reference, positive=True)
    log_depth = np.log(seen.value)
    log_ratio = np.log(seen.truth) - log_depth
    chosen = seen.thinned(log_ratio)
    return Matches(seen.rays[chosen], log_depth[chosen], log_ratio[chosen], reference.deviation, len(seen.truth))


@dataclass(frozen=True)
class Pairs:
    """
    Values of a relative depth map where a reference has a depth.

    Parameters
    ----------
    rays : numpy.ndarray
        float64 [N, 2], (x/z, y/z).
    value : numpy.ndarray
        float64 [N], the map's values.
    depth : numpy.ndarray
        float64 [N], true depths in metres.
    deviation : float
        Standard deviation of the logarithm of the true depths.
    """

    rays: np.ndarray
    value: np.ndarray
    depth: np.ndarray
    deviation: float

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.depth)


def pair(depth_map: DepthMap, reference: SparseDepth) -> Pairs:
    """
    Pair the values of a relative depth map with a reference; as `match`, but thinned by the median true depth.

    Raises
    ------
    ValueError
        If the depth map has no camera.
    """
    seen = _Seen.of(depth_map, reference, positive=False)
    chosen = seen.thinned(seen.truth)
    return Pairs(seen.rays[chosen], seen.value[chosen], seen.truth[chosen], reference.deviation)


@dataclass(frozen=True)
class _Seen:
    """Reference points that the camera sees: pixels, true depths, values of the depth map, and rays; [N] or [N, 2]."""

    x: np.ndarray
    y: np.ndarray
    truth: np.ndarray
    value: np.ndarray
    rays: np.ndarray
    cell: float
    """Side of a cell in pixels."""

    @classmethod
    def of(cls, depth_map: DepthMap, reference: SparseDepth, positive: bool) -> _Seen:
        """Find the points on finite values of the map, if `positive` on positive ones."""
        camera = depth_map.camera
        if camera is None:
            raise ValueError("anchoring needs the camera's intrinsics: estimate with a PinholeCamera")
        x = reference.rays[:, 0] * camera.fx + camera.cx
        y = reference.rays[:, 1] * camera.fy + camera.cy
        kept = np.flatnonzero((x > -0.5) & (x < camera.width - 0.5) & (y > -0.5) & (y < camera.height - 0.5))
        x, y, size = x[kept].astype(np.float32), y[kept].astype(np.float32), camera.width / _RASTER
        value, truth = np.empty(0), reference.depth[kept]
        if kept.size:
            value = cv2.remap(depth_map.depth, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
            value = value.astype(np.float64)
            usable = _visible(_cells(x, y, size), truth) & (value > 0 if positive else np.isfinite(value))
            kept, x, y, truth, value = (a[usable] for a in (kept, x, y, truth, value))
        return cls(x, y, truth, value, reference.rays[kept], size)

    def thinned(self, by: np.ndarray) -> np.ndarray:
        """Return indices of at most `MOST_CELLS` points: the point of each cell with the median of `by`."""
        return _thin(self.x, self.y, by, self.cell)


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
