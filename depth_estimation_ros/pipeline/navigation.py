"""Outputs for navigation: the filtered cloud and the laser scan of a camera's depth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.geometry.cloud_filters import DepthFilter
from depth_estimation_ros.geometry.laser_scan import LaserScanner
from depth_estimation_ros.settings import NO_LIMIT, Settings

T = TypeVar("T")


class Latest(Generic[T]):
    """Cache of one value, which is remade when its key changes."""

    def __init__(self):
        self._key, self._value = None, None

    def __call__(self, key, make: Callable[[], T]) -> T:
        """Return the value of a key; call `make` only if the key differs from the last one."""
        if self._key is None or self._key != key:
            self._value = make()
            self._key = key
        return self._value


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

    @staticmethod
    def needs_pose(settings: Settings) -> bool:
        """Return whether the cloud's filter needs the camera's pose. A scan always needs it."""
        return settings.cloud_min_height > -NO_LIMIT or settings.cloud_max_height < NO_LIMIT

    def cloud_depth(self, depth_map: DepthMap, pose: np.ndarray | None, settings: Settings) -> DepthMap:
        """
        Return the filtered depth from which the cloud is made.

        Parameters
        ----------
        depth_map : DepthMap
            Depth, limited to ``min_depth`` and ``max_depth``.
        pose : numpy.ndarray or None
            Transform from the optical frame to the base frame, float [4, 4], if the settings need it (`needs_pose`).
        settings : Settings
            Limits, edge angle and stride of the cloud.

        Raises
        ------
        ValueError
            If the settings do not fit the camera.
        """
        s, step, camera = settings, settings.cloud_stride, depth_map.camera.strided(settings.cloud_stride)
        limits = (
            0.0,
            s.cloud_max_range or math.inf,
            s.cloud_min_height if s.cloud_min_height > -NO_LIMIT else -math.inf,
            s.cloud_max_height if s.cloud_max_height < NO_LIMIT else math.inf,
            s.edge_angle,
            s.max_relative_deviation or math.inf,
        )
        depth, deviation = (
            a if a is None or step == 1 else np.ascontiguousarray(a[::step, ::step])
            for a in (depth_map.depth, depth_map.deviation)
        )
        keep = self._cloud_filter((camera, _key(pose), limits), lambda: DepthFilter(camera, pose, *limits))
        return DepthMap(keep(depth, deviation), camera)

    def scan(self, depth_map: DepthMap, pose: np.ndarray, settings: Settings) -> tuple[LaserScanner, np.ndarray]:
        """
        Return the scanner of a camera, and the ranges that it computes from a depth map.

        Parameters
        ----------
        depth_map : DepthMap
            Depth without depth limits, because depth beyond the scan's range means that the direction is free.
        pose : numpy.ndarray
            Transform from the optical frame to the base frame, float [4, 4].
        settings : Settings
            Limits of the scan.

        Raises
        ------
        ValueError
            If the settings do not fit the camera.
        """
        s, camera = settings, depth_map.camera
        limits = (s.scan_min_height, s.scan_max_height, s.scan_range_min, s.scan_range_max, s.scan_angle_increment)
        sure = (s.edge_angle, s.max_relative_deviation or math.inf)

        def scanner() -> LaserScanner:
            made = LaserScanner(camera, pose, *limits)
            if made.reach < s.scan_range_max:
                self._warn(
                    f"the camera sees heights of {s.scan_min_height:g} to {s.scan_max_height:g} m up to a range of "
                    f"{made.reach:.1f} m only: depth/scan will not say of any direction that it is free up to "
                    f"scan_range_max, {s.scan_range_max:g} m"
                )
            return made

        made = self._scanner((camera, _key(pose), limits), scanner)
        keep = self._scan_filter((camera, sure), lambda: DepthFilter(camera, edge_angle=sure[0], max_deviation=sure[1]))
        return made, made(keep(depth_map.depth, depth_map.deviation))


def _key(pose: np.ndarray | None) -> bytes:
    """Return the cache key of a pose, rounded to 0.1 mm and 0.1 mrad, which is more than the numerical noise of TF."""
    return b"" if pose is None else np.rint(pose * 1e4).tobytes()
