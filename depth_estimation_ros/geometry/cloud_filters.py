"""
Filters for points that a robot must not take for obstacles: out of range or height, uncertain, or between two surfaces.

`DepthFilter` makes pixels of a depth image invalid (NaN), so that the organised cloud and the scan made from it are
filtered alike. `one_per_voxel` thins a cloud.
"""

from __future__ import annotations

import math

import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.pose import height_interval


class DepthFilter:
    """
    Filter for the depth images of one camera at one pose; removes pixels unfit for navigation.

    Parameters
    ----------
    camera : PinholeCamera
        Intrinsics at the depth image's size.
    pose : numpy.ndarray, optional
        Transform from the optical frame to the robot's frame, float [4, 4] (`geometry.pose`); required for height
        limits.
    min_range, max_range : float
        Limits of the distance from the camera, metres.
    min_height, max_height : float
        Limits of height along the z axis of the robot's frame, metres.
    edge_angle : float
        Radians. Removes a pixel if the line of sight meets the surface at a smaller angle than this on both sides of
        the pixel. Where depth is estimated or interpolated across the edge of an object, it changes from one surface to
        the other over several pixels, and this ramp looks like a surface seen at a grazing angle. A sharp step loses no
        pixels. 0 turns this filter off.
    max_deviation : float
        Largest standard deviation of the depth error, as a fraction of the depth.

    Raises
    ------
    ValueError
        If limits contradict each other, or there are height limits but no pose.
    """

    def __init__(
        self,
        camera: PinholeCamera,
        pose: np.ndarray | None = None,
        min_range: float = 0.0,
        max_range: float = math.inf,
        min_height: float = -math.inf,
        max_height: float = math.inf,
        edge_angle: float = 0.0,
        max_deviation: float = math.inf,
    ):
        if not 0.0 <= min_range < max_range:
            raise ValueError(f"min_range must be less than max_range, got {min_range:g} and {max_range:g} m")
        if not 0.0 <= edge_angle < math.pi / 2:
            raise ValueError(f"edge_angle must be from 0 to less than pi / 2 radians, got {edge_angle:g}")
        if not max_deviation > 0.0:
            raise ValueError(f"max_deviation must be positive, got {max_deviation:g}")
        self._size, self._max_deviation = (camera.height, camera.width), max_deviation
        limits = []
        if min_range > 0.0 or max_range < math.inf:
            # Metres along the ray per metre of depth.
            length = np.sqrt(1.0 + np.square(camera.rays().astype(np.float64)).sum(axis=2))
            limits.append((min_range / length, max_range / length))
        if min_height > -math.inf or max_height < math.inf:
            if pose is None:
                raise ValueError("height limits need the camera's pose in the robot's frame")
            limits.append(height_interval(camera, pose, min_height, max_height))
        self._interval = None
        if limits:
            near, far = np.max([near for near, _ in limits], axis=0), np.min([far for _, far in limits], axis=0)
            self._interval = near.astype(np.float32), far.astype(np.float32)
        # A pixel covers z / f metres across the line of sight. If depth changes by z / (f tan(angle)) from one pixel to
        # the next, the line of sight meets the surface at that angle.
        self._step = None
        if edge_angle:
            self._step = tuple(np.float32(1.0 / (f * math.tan(edge_angle))) for f in (camera.fx, camera.fy))

    def __call__(self, depth: np.ndarray, deviation: np.ndarray | None = None) -> np.ndarray:
        """
        Return the depth image with filtered pixels set to NaN.

        Parameters
        ----------
        depth : numpy.ndarray
            float32 [h, w], metres along the optical axis, NaN invalid.
        deviation : numpy.ndarray, optional
            float32 [h, w], standard deviation of the depth error in metres, from models that estimate it.

        Returns
        -------
        numpy.ndarray
            float32 [h, w], NaN where removed. The input array itself if no filter is active.

        Raises
        ------
        ValueError
            If an array does not have the camera's size.
        """
        for name, array in (("depth", depth), ("deviation", deviation)):
            if array is not None and array.shape != self._size:
                raise ValueError(f"{name} is {array.shape[::-1]}, the filter was made for {self._size[::-1]} pixels")
        if self._max_deviation == math.inf:
            deviation = None
        if self._interval is None and self._step is None and deviation is None:
            return depth
        removed = np.zeros(depth.shape, bool)
        if self._interval is not None:
            near, far = self._interval
            removed |= (depth < near) | (depth > far)
        if deviation is not None:
            removed |= ~(deviation <= np.float32(self._max_deviation) * depth)
        if self._step is not None:
            _mark_ramps(depth, self._step[0], removed)
            _mark_ramps(depth.T, self._step[1], removed.T)
        return np.where(removed, np.float32(np.nan), depth)


def _mark_ramps(depth: np.ndarray, step: np.float32, removed: np.ndarray) -> None:
    """Mark pixels on a steep ramp: in their row, depth rises steeply on one side and falls steeply on the other."""
    ratio = depth[:, 1:] / depth[:, :-1]
    up, down = ratio > 1 + step, ratio < 1 / (1 + step)
    removed[:, 1:-1] |= (up[:, 1:] & up[:, :-1]) | (down[:, 1:] & down[:, :-1])


def one_per_voxel(points: np.ndarray, size: float) -> np.ndarray:
    """
    Downsample a cloud to one point per voxel.

    Parameters
    ----------
    points : numpy.ndarray
        float32 [..., 4] as from `point_cloud`: x, y, z in metres, colour.
    size : float
        Edge length of a voxel, metres.

    Returns
    -------
    numpy.ndarray
        float32 [n, 4]: the first point of each voxel in image order, so every point is a point of the input. Points
        without depth are dropped.

    Raises
    ------
    ValueError
        If the size is not positive, or so small for the extent of the cloud that the voxel index overflows.
    """
    if not 0.0 < size < math.inf:
        raise ValueError(f"the voxel size must be positive, got {size:g}")
    points = points.reshape(-1, points.shape[-1])
    valid = np.flatnonzero(~np.isnan(points[:, 2]))
    if not valid.size:
        return points[valid]
    key, count = np.zeros(valid.size, np.int64), 1
    for axis in range(3):
        cell = np.floor(points[valid, axis] * np.float32(1.0 / size))
        cell -= cell.min()
        span = int(cell.max()) + 1
        count *= span
        if count >= 2**62:
            raise ValueError(f"voxels of {size:g} m are too small for the extent of the cloud: limit its range")
        key = key * span + cell.astype(np.int64)
    return points[valid[_first_of_each(key, count)]]


def _first_of_each(key: np.ndarray, count: int) -> np.ndarray:
    """Return the ascending indices of the first occurrence of each value; values are integers in [0, count)."""
    if count > 2**26:
        return np.sort(np.unique(key, return_index=True)[1])
    # Avoids sorting: the last write to a value's slot wins, so write in reverse order. Slots need not be cleared,
    # because only written slots are read.
    index = np.arange(key.size, dtype=np.int32)
    winner = np.empty(count, np.int32)
    winner[key[::-1]] = index[::-1]
    return np.flatnonzero(winner[key] == index)
