"""Floor as reference: the height and tilt of the camera give the distance of every floor pixel."""

from __future__ import annotations

import math

import cv2
import numpy as np

from depth_estimation_ros.anchor.references import SparseDepth
from depth_estimation_ros.estimator import DepthMap

LEAST_SHARE = 0.02
"""Minimum share of the valid pixels that must look like floor."""

_TILT = math.cos(math.radians(25.0))  # surfaces with normals within 25 degrees of the vertical count as horizontal
_BELOW = math.sin(math.radians(5.0))  # flatter rays are too inaccurate
_BIN, _BINS = 0.05, 120  # histogram of the logarithm of the height below the camera, from 0.02 m
_LOWEST = math.log(0.02)
_PEAK = 0.3  # share of the largest peak; a smaller peak is not the floor
_THIN = 0.1  # log-height distance from the peak within which pixels are used as reference
_THICK = 0.25  # and within which pixels may be floor
_UNDER = 0.02  # maximum share of the valid pixels below the assumed floor
_SMOOTHED = 80  # image width in pixels at which normals are computed
_POINTS = 400


def floor_reference(
    depth_map: DepthMap, to_base: np.ndarray, scale: float = 1.0, tolerance: float = 1.6, deviation: float = 0.03
) -> SparseDepth:
    """
    Find the floor in an estimate, and return its true depth.

    Whether a surface is horizontal does not depend on the scale of the estimate. Floor pixels are those whose ray
    points down, whose estimated surface is horizontal, and which are in the lowest peak of a histogram of the logarithm
    of the height below the camera. To avoid taking a table for the floor, only heights that are plausible for `scale`
    count, and at most a small share of the pixels may lie lower.

    Parameters
    ----------
    depth_map : DepthMap
        The estimate, with its camera.
    to_base : numpy.ndarray
        [4, 4], transform from the optical frame to a frame with z up and its origin on the floor, such as
        ``base_footprint`` (REP 120), or from `geometry.pose.camera_pose`.
    scale : float
        Current scale of the estimate: `ScaleAnchor.scale`.
    tolerance : float
        Factor by which `scale` may be too large or too small.
    deviation : float
        As in `SparseDepth`; covers an uneven floor and a pitching robot.

    Returns
    -------
    SparseDepth
        No points if less than `LEAST_SHARE` of the valid pixels look like floor.

    Raises
    ------
    ValueError
        If the depth map has no camera, or the camera is not above the floor.
    """
    if depth_map.camera is None:
        raise ValueError("the height over the floor needs the camera's intrinsics: estimate with a PinholeCamera")
    if np.shape(to_base) != (4, 4) or not np.isfinite(to_base).all():
        raise ValueError(f"a transform must be a finite [4, 4] matrix, got {list(np.shape(to_base))}")
    height, up = float(to_base[2, 3]), np.asarray(to_base[2, :3], np.float64)
    if height <= 0.0:
        raise ValueError(
            f"the camera must be above the floor, got a height of {height:g} m: is the frame on the floor?"
        )
    if not (0.0 < scale < math.inf and 1.0 < tolerance < math.inf):
        raise ValueError(f"the scale must be positive and the tolerance above 1, got {scale} and {tolerance}")
    nothing = SparseDepth(np.empty((0, 2)), np.empty(0), deviation)
    shrink = max(depth_map.depth.shape[1] // _SMOOTHED, 1)
    small = depth_map.resized(depth_map.depth.shape[1] // shrink, depth_map.depth.shape[0] // shrink)
    rays = small.known_camera.rays()
    drop = -(rays @ up[:2].astype(np.float32) + np.float32(up[2]))  # metres down per metre of depth
    valid = small.depth > 0
    steep = drop > _BELOW * np.sqrt(1.0 + (rays**2).sum(axis=2))
    floor = valid & steep & (_upright(small.depth, rays, up) > _TILT)
    found = np.flatnonzero(floor)
    least = LEAST_SHARE * np.count_nonzero(valid)
    if found.size < max(least, 1):
        return nothing
    level = np.log(np.where(valid & (drop > 0), small.depth * drop, np.float32(np.nan))).reshape(-1)
    counts, edges = np.histogram(level[found], _BINS, (_LOWEST, _LOWEST + _BIN * _BINS))
    counts = np.convolve(counts, [1, 2, 3, 2, 1], mode="same")
    middles = edges[:-1] + 0.5 * _BIN
    likely = np.abs(middles - math.log(height / scale)) < math.log(tolerance)
    peaks = np.flatnonzero(likely & (counts >= np.roll(counts, 1)) & (counts > np.roll(counts, -1)) & (counts > 0))
    if not peaks.size:
        return nothing
    lowest = middles[peaks[counts[peaks] >= _PEAK * counts[peaks].max()][-1]]
    found = found[np.abs(level[found] - lowest) < _THIN]
    if found.size < least or np.count_nonzero(level > lowest + _THICK) > _UNDER * np.count_nonzero(valid):
        return nothing
    found = found[:: -(-found.size // _POINTS)]
    return SparseDepth(
        rays.reshape(-1, 2)[found].astype(np.float64), height / drop.reshape(-1)[found].astype(np.float64), deviation
    )


def _upright(depth: np.ndarray, rays: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return the cosine between `up` and the surface normal towards the camera, [h, w]; NaN beside invalid pixels."""
    depth = cv2.GaussianBlur(depth, (5, 5), 0)
    points = np.concatenate([rays * depth[..., None], depth[..., None]], axis=2)
    right, down = np.empty_like(points), np.empty_like(points)
    right[:, 1:-1], right[:, [0, -1]] = points[:, 2:] - points[:, :-2], np.nan
    down[1:-1], down[[0, -1]] = points[2:] - points[:-2], np.nan
    # Optical frame: x right, y down, so right x down points away from the camera.
    normal = np.cross(down, right)
    return (normal @ up.astype(np.float32)) / np.maximum(np.linalg.norm(normal, axis=2), 1e-12)
