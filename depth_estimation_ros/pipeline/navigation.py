"""Outputs for navigation: the filtered cloud and the laser scan of a camera's depth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.geometry.cloud_filters import DepthFilter
from depth_estimation_ros.geometry.laser_scan import LaserScanner
from depth_estimation_ros.settings import CloudSettings, FilterSettings, ScanSettings
from depth_estimation_ros.settings.outputs import NO_LIMIT

T = TypeVar("T")


class Latest(Generic[T]):
    """Cache of one value, which is remade when its key changes."""

    def __init__(self):
        self._last: tuple[object, T] | None = None

    def __call__(self, key: object, make: Callable[[], T]) -> T:
        """Return the value of a key; call `make` only if the key differs from the last one."""
        if self._last is None or self._last[0] != key:
            self._last = key, make()
        return self._last[1]


class Navigation:
    """
    Depth filters and laser scanner of one camera; parts that do not depend on the depth are kept between frames.

    Parameters
    ----------
    warn : callable
        Function that logs a warning for the user; called with one sentence (str).
    """

    def __init__(self, warn: Callable[[str], None] = lambda _: None):
        self._warn = warn
        self._cloud_filter: Latest[DepthFilter] = Latest()
        self._scan_filter: Latest[DepthFilter] = Latest()
        self._scanner: Latest[LaserScanner] = Latest()

    def cloud_depth(
        self, depth_map: DepthMap, pose: np.ndarray | None, cloud: CloudSettings, filters: FilterSettings
    ) -> DepthMap:
        """
        Return the filtered depth from which the cloud is made.

        Parameters
        ----------
        depth_map : DepthMap
            Depth, limited to ``min_depth`` and ``max_depth``.
        pose : numpy.ndarray or None
            Transform from the optical frame to the base frame, float [4, 4], if ``cloud.needs_pose``.
        cloud : CloudSettings
            Limits and stride of the cloud.
        filters : FilterSettings
            Points to remove.

        Raises
        ------
        ValueError
            If the settings do not fit the camera.
        """
        step, camera = cloud.stride, depth_map.known_camera.strided(cloud.stride)

        def depth_filter() -> DepthFilter:
            return DepthFilter(
                camera,
                pose,
                max_range=cloud.max_range or math.inf,
                min_height=cloud.min_height if cloud.min_height > -NO_LIMIT else -math.inf,
                max_height=cloud.max_height if cloud.max_height < NO_LIMIT else math.inf,
                edge_angle=filters.edge_angle,
                max_deviation=filters.max_relative_deviation or math.inf,
            )

        depth, deviation = depth_map.depth, depth_map.deviation
        if step > 1:
            depth = np.ascontiguousarray(depth[::step, ::step])
            deviation = None if deviation is None else np.ascontiguousarray(deviation[::step, ::step])
        keep = self._cloud_filter((camera, _key(pose), cloud, filters), depth_filter)
        return DepthMap(keep(depth, deviation), camera)

    def scan(
        self, depth_map: DepthMap, pose: np.ndarray, scan: ScanSettings, filters: FilterSettings
    ) -> tuple[LaserScanner, np.ndarray]:
        """
        Return the scanner of a camera, and the ranges that it computes from a depth map.

        Parameters
        ----------
        depth_map : DepthMap
            Depth without depth limits, because depth beyond the scan's range means that the direction is free.
        pose : numpy.ndarray
            Transform from the optical frame to the base frame, float [4, 4].
        scan : ScanSettings
            Heights, ranges and angles of the scan.
        filters : FilterSettings
            Points to remove.

        Raises
        ------
        ValueError
            If the settings do not fit the camera.
        """
        camera = depth_map.known_camera

        def scanner() -> LaserScanner:
            made = LaserScanner(
                camera,
                pose,
                min_height=scan.min_height,
                max_height=scan.max_height,
                range_min=scan.range_min,
                range_max=scan.range_max,
                angle_increment=scan.angle_increment,
            )
            if made.reach < scan.range_max:
                self._warn(
                    f"the camera sees heights of {scan.min_height:g} to {scan.max_height:g} m up to a range of "
                    f"{made.reach:.1f} m only: depth/scan will not say of any direction that it is free up to "
                    f"scan_range_max, {scan.range_max:g} m"
                )
            return made

        made = self._scanner((camera, _key(pose), scan), scanner)
        keep = self._scan_filter(
            (camera, filters),
            lambda: DepthFilter(
                camera, edge_angle=filters.edge_angle, max_deviation=filters.max_relative_deviation or math.inf
            ),
        )
        return made, made(keep(depth_map.depth, depth_map.deviation))


def _key(pose: np.ndarray | None) -> bytes:
    """Return the cache key of a pose, rounded to 0.1 mm and 0.1 mrad, which is more than the numerical noise of TF."""
    return b"" if pose is None else np.rint(pose * 1e4).tobytes()
