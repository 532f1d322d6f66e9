"""Reference depths at some points of the view, from a laser scan, a point cloud or a range sensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.estimator import DepthMap

NEAREST = 0.05
"""Minimum depth of a reference point, metres along the optical axis; nearer points are in or behind the lens."""

MOST_POINTS = 4096
"""Maximum number of points; denser references are subsampled evenly."""

_FINEST = 80  # maximum image width in which the cone of a range sensor is searched


@dataclass(frozen=True)
class SparseDepth:
    """
    Reference depths along viewing rays, independent of the image size.

    Parameters
    ----------
    rays : numpy.ndarray
        float64 [N, 2], (x/z, y/z) in the camera's optical frame (REP 103).
    depth : numpy.ndarray
        float64 [N], metres along the optical axis (REP 118), positive.
    deviation : float
        Standard deviation of the depth error, as a fraction of the depth.

    Raises
    ------
    ValueError
        If the shapes do not fit, a ray is not finite, a depth is not positive, or the deviation is negative.
    """

    rays: np.ndarray
    depth: np.ndarray
    deviation: float = 0.01

    def __post_init__(self):
        """Check shapes and values."""
        if self.rays.shape != (len(self.depth), 2) or self.depth.ndim != 1:
            raise ValueError(f"rays must be [N, 2] and depth [N], got {self.rays.shape} and {self.depth.shape}")
        if not (np.isfinite(self.rays).all() and np.isfinite(self.depth).all() and (self.depth > 0).all()):
            raise ValueError("rays must be finite and depths positive: drop the invalid points first")
        if not (math.isfinite(self.deviation) and self.deviation >= 0):
            raise ValueError(f"the reference's deviation must be zero or more, got {self.deviation}")

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.depth)


def points_reference(xyz: np.ndarray, to_optical: np.ndarray | None = None, deviation: float = 0.01) -> SparseDepth:
    """
    Return a reference from the points of a cloud or scan.

    Parameters
    ----------
    xyz : numpy.ndarray
        [N, 3] metres; points that are not finite or not in front of the camera are dropped.
    to_optical : numpy.ndarray, optional
        [4, 4], transform from the points' frame to the optical frame; without it, the points are in the optical frame.
    deviation : float
        As in `SparseDepth`.

    Returns
    -------
    SparseDepth
        At most `MOST_POINTS` points, sampled evenly.

    Raises
    ------
    ValueError
        If an array has another shape.
    """
    xyz = np.asarray(xyz)
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ValueError(f"points must be [N, 3], got {list(xyz.shape)}")
    if len(xyz) > MOST_POINTS:
        # Pick one random point per run of points: a fixed stride would pick the same columns of an organised cloud.
        places = np.random.default_rng(0).random(MOST_POINTS) + np.arange(MOST_POINTS)
        xyz = xyz[(places * (len(xyz) / MOST_POINTS)).astype(np.intp)]
    xyz = xyz[np.isfinite(xyz).all(axis=1)].astype(np.float64)
    if to_optical is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            xyz = xyz @ _rotation(to_optical).T + to_optical[:3, 3]
    xyz = xyz[np.isfinite(xyz).all(axis=1) & (xyz[:, 2] > NEAREST)]
    return SparseDepth(xyz[:, :2] / xyz[:, 2:], xyz[:, 2], deviation)


def range_reference(
    depth_map: DepthMap, distance: float, field_of_view: float, to_optical: np.ndarray, deviation: float = 0.02
) -> SparseDepth:
    """
    Return a reference from the reading of a range sensor (``sensor_msgs/Range``).

    The sensor measures the distance of the nearest object in a cone around its x axis. The estimate is used to find the
    pixel of that object, because its depth order is more reliable than its scale. The pixel at the tenth percentile of
    the distances in the cone is used, because the very nearest one is mostly noise.

    Parameters
    ----------
    depth_map : DepthMap
        The estimate, with its camera.
    distance : float
        Reading in metres; it must be valid (within ``min_range`` to ``max_range``).
    field_of_view : float
        Full opening angle of the cone in radians.
    to_optical : numpy.ndarray
        [4, 4], transform from the sensor's frame to the optical frame.
    deviation : float
        As in `SparseDepth`.

    Returns
    -------
    SparseDepth
        One point, or none if the cone contains no valid pixel.

    Raises
    ------
    ValueError
        If the depth map has no camera, the distance is not positive, or the angle is not between 0 and pi.
    """
    if depth_map.camera is None:
        raise ValueError("a range reading needs the camera's intrinsics: estimate with a PinholeCamera")
    if not 0.0 < distance < math.inf:
        raise ValueError(f"the range reading must be a positive number of metres, got {distance:g} m")
    if not 0.0 <= field_of_view < math.pi:
        degrees = math.pi <= field_of_view < 180.0
        hint = f"; {field_of_view:g} degrees are {math.radians(field_of_view):.3g} rad" if degrees else ""
        raise ValueError(
            f"the range sensor's field_of_view must be between 0 and pi radians, got {field_of_view:g} rad{hint}"
        )
    rotation, origin = _rotation(to_optical), to_optical[:3, 3]
    shrink = max(depth_map.camera.width // _FINEST, 1)
    depth_map = depth_map.resized(depth_map.camera.width // shrink, depth_map.camera.height // shrink)
    camera = depth_map.known_camera
    rays = camera.rays().reshape(-1, 2)
    directions = np.concatenate([rays, np.ones((len(rays), 1), rays.dtype)], axis=1).astype(np.float64)
    points = directions * depth_map.depth.reshape(-1, 1) - origin
    far = np.linalg.norm(points, axis=1)
    # A cone narrower than a pixel still contains one.
    half = max(0.5 * field_of_view, 1.0 / min(camera.fx, camera.fy))
    inside = np.flatnonzero(points @ rotation[:, 0] >= far * math.cos(half))
    if not inside.size:
        return SparseDepth(np.empty((0, 2)), np.empty(0), deviation)
    chosen = inside[np.argsort(far[inside])[inside.size // 10]]
    # Find the point on that ray at `distance` from the sensor: |t d - o| = distance.
    d = directions[chosen]
    b, c = d @ origin / (d @ d), (origin @ origin - distance**2) / (d @ d)
    if b * b < c or (t := b + math.sqrt(b * b - c)) <= NEAREST:
        return SparseDepth(np.empty((0, 2)), np.empty(0), deviation)
    return SparseDepth(d[None, :2], np.array([t]), deviation)


def _rotation(transform: np.ndarray) -> np.ndarray:
    if np.shape(transform) != (4, 4) or not np.isfinite(transform).all():
        raise ValueError(f"a transform must be a finite [4, 4] matrix, got {list(np.shape(transform))}")
    return transform[:3, :3]
