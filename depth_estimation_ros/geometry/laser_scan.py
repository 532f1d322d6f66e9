"""Convert a depth image to a laser scan: the nearest obstacle in each direction, within a band of heights."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.pose import directions, height_interval

Numbers = TypeVar("Numbers", float, np.ndarray)

MOST_RAYS = 100_000
"""Maximum number of rays in a scan: many times that of any sensor, yet small in memory."""

MOST_RADIANS = 2.2 * math.pi
"""Maximum angle of a scan: a full turn plus a margin, as some sensors send. A larger one is not in radians."""


class LaserScanner:
    """
    Converter from depth images of one camera at one pose to the ranges of a ``sensor_msgs/LaserScan``.

    Everything that does not depend on depth is computed once, in the constructor. Create a new one when the camera or
    its pose changes.

    Parameters
    ----------
    camera : PinholeCamera
        Intrinsics at the depth image's size.
    pose : numpy.ndarray
        Transform from the optical frame to the scan's frame, float [4, 4]. The scan's frame has x forward, y left, z
        up; heights and ranges are measured from its origin.
    min_height, max_height : float
        Points between these heights are obstacles, metres. If the estimated depth is too short by a fraction e, the
        floor appears e times the camera's height too high, at any distance; keep `min_height` above that.
    range_min, range_max : float
        Limits of the horizontal range, metres.
    angle_increment : float
        Angle between two rays, radians; 0 uses the largest angle between neighbouring pixels.

    Attributes
    ----------
    angle_min, angle_max, angle_increment : float
        As in the message, radians about z. They span the part of the band that the camera sees between the two ranges.
        A camera that looks backwards has angles around pi.
    size : int
        Number of rays.
    range_min, range_max : float
        Limits of the horizontal range, as given.
    reach : float
        Farthest range at which the camera sees a part of the band. If it is below `range_max`, no direction can be
        reported as free.

    Raises
    ------
    ValueError
        If the limits contradict each other, the camera sees no part of the band, or there are too many rays.
    """

    def __init__(
        self,
        camera: PinholeCamera,
        pose: np.ndarray,
        min_height: float,
        max_height: float,
        range_min: float = 0.1,
        range_max: float = 8.0,
        angle_increment: float = 0.0,
    ):
        if not 0.0 <= range_min < range_max < math.inf:
            raise ValueError(f"range_min must be less than range_max, got {range_min:g} and {range_max:g} m")
        if not 0.0 <= angle_increment < math.pi:
            raise ValueError(f"angle_increment must be a positive angle in radians, got {angle_increment:g}")
        self._shape = (camera.height, camera.width)
        self.range_min, self.range_max = range_min, range_max
        self._x, self._y = directions(camera, pose)[:2]
        self._offset = pose[:2, 3].tolist()
        near, far = height_interval(camera, pose, min_height, max_height)
        end = self._depth_at_range(range_max)
        # Start no nearer than range_min: closer to the origin, directions are unbounded.
        start = np.maximum(near, range_min / np.maximum(np.hypot(self._x, self._y), 1e-9))
        seen = start <= np.minimum(far, end)
        if not seen.any():
            raise ValueError(
                f"the camera sees nothing between the heights {min_height:g} and {max_height:g} m and the ranges "
                f"{range_min:g} and {range_max:g} m: check its pose and these limits"
            )
        # Angles are relative to the middle of the view, so a camera that looks backwards has no jump at pi in its view.
        self._centre = math.atan2(self._y[seen].sum(), self._x[seen].sum())
        self._x, self._y = _turned(self._x, self._y, -self._centre)
        self._offset = _turned(self._offset[0], self._offset[1], -self._centre)
        # Along a straight line the angle is monotonic, so its extremes are at the ends.
        ends = [self._angles(depths[seen], seen) for depths in (start, np.minimum(far, end))]
        first, last = float(np.min(ends)), float(np.max(ends))
        self._spacing = max(angle_increment, self._pixel_angle(seen), (last - first) / MOST_RAYS)
        self._bins = max(1, math.ceil((last - first) / self._spacing - 1e-9))
        self._first = 0.5 * (first + last - self._bins * self._spacing)
        self._resample(angle_increment)
        leaves = np.where((far > 0) & (near <= far), np.minimum(far, 1e6), 0.0)
        self.reach = float(np.hypot(self._offset[0] + leaves * self._x, self._offset[1] + leaves * self._y).max())
        # A ray shows free space only if it is still in the band at range_max.
        through = (near <= end) & (end <= far) & np.isfinite(end)
        self._clear_pixels = np.flatnonzero(through)
        self._clear_depths = end[through].astype(np.float32)
        self._clear_bins = self._bin(self._angles(end[through], through))
        self._near, self._far = near.astype(np.float32), np.minimum(far, end).astype(np.float32)
        self._x, self._y = self._x.astype(np.float32).ravel(), self._y.astype(np.float32).ravel()

    def __call__(self, depth: np.ndarray) -> np.ndarray:
        """
        Convert a depth image to ranges.

        Parameters
        ----------
        depth : numpy.ndarray
            float32 [h, w], metres along the optical axis, NaN invalid.

        Returns
        -------
        numpy.ndarray
            float32 [size], metres (REP 117): the range of the nearest obstacle. -Inf if it is nearer than `range_min`.
            +Inf if the camera sees the band up to `range_max` and no obstacle in it. NaN if unknown, because depth is
            invalid or the camera does not see the band up to `range_max`. Costmaps clear cells along +Inf, so unseen
            space must not be +Inf.

        Raises
        ------
        ValueError
            If the depth does not have the camera's size.
        """
        if depth.shape != self._shape:
            raise ValueError(f"depth is {depth.shape[::-1]}, the scan was made for {self._shape[::-1]} pixels")
        flat = np.ascontiguousarray(depth, np.float32).ravel()
        obstacle = np.flatnonzero((depth >= self._near) & (depth <= self._far))
        z = flat[obstacle]
        x = z * self._x[obstacle] + self._offset[0]
        y = z * self._y[obstacle] + self._offset[1]
        squared = np.full(self._bins, np.inf, np.float32)
        with np.errstate(over="ignore"):  # values too large for float32 are out of range
            np.minimum.at(squared, self._bin(np.arctan2(y, x)), x * x + y * y)
        ranges = np.sqrt(squared)
        ranges[ranges < self.range_min] = -np.inf
        unknown = np.isposinf(ranges)
        unknown[self._clear_bins[flat[self._clear_pixels] >= self._clear_depths]] = False
        ranges[unknown] = np.nan
        return ranges[self._source]

    def _depth_at_range(self, distance: float) -> np.ndarray:
        """Return the depth at which each ray leaves the circle of this radius around the origin, [h, w]."""
        outside = math.hypot(*self._offset) ** 2 - distance * distance
        if outside >= 0:
            raise ValueError(f"the camera is farther from the scan's origin than range_max, {distance:g} m")
        a = np.maximum(self._x**2 + self._y**2, 1e-18)
        b = self._offset[0] * self._x + self._offset[1] * self._y
        return (np.sqrt(b * b - a * outside) - b) / a

    def _angles(self, depths: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Return the angles of points at given depths along the rays of the selected pixels."""
        x, y = self._offset[0] + depths * self._x[where], self._offset[1] + depths * self._y[where]
        return np.arctan2(y, x)

    def _bin(self, angles: np.ndarray) -> np.ndarray:
        index = ((angles - self._first) * (1 / self._spacing)).astype(np.int32)
        return np.clip(index, 0, self._bins - 1, out=index)

    def _pixel_angle(self, seen: np.ndarray) -> float:
        """Return the largest angle between neighbours in a row, or in a column if the camera lies on its side."""
        angles = np.arctan2(self._y, self._x)
        largest = 0.0
        for a, s in ((angles, seen), (angles.T, seen.T)):
            steps = np.abs(np.diff(a, axis=1))[s[:, 1:] & s[:, :-1]]
            # If the camera looks down, neighbours may lie on both sides of the jump at pi behind it.
            largest = max(largest, float(np.minimum(steps, 2 * math.pi - steps).max(initial=0.0)))
        # The largest step leaves no direction between two pixels. A single pixel has no steps.
        return largest or math.radians(1.0)

    def _resample(self, increment: float) -> None:
        """Prepare for rays closer together than pixels: each ray uses the nearest pixels' result."""
        span = self._bins * self._spacing
        self.angle_increment = increment or self._spacing
        if span / self.angle_increment > MOST_RAYS:
            raise ValueError(
                f"an angle of {self.angle_increment:g} rad between rays makes more than {MOST_RAYS} of them: take at "
                f"least {span / MOST_RAYS:.1g} rad"
            )
        self.size = max(1, math.floor(span / self.angle_increment + 1e-6))
        middle = self._first + 0.5 * span
        rays = middle + (np.arange(self.size) - 0.5 * (self.size - 1)) * self.angle_increment
        self._source = self._bin(rays)
        self.angle_min, self.angle_max = float(self._centre + rays[0]), float(self._centre + rays[-1])


def _turned(x: Numbers, y: Numbers, angle: float) -> tuple[Numbers, Numbers]:
    """Return coordinates rotated about z."""
    c, s = math.cos(angle), math.sin(angle)
    return c * x - s * y, s * x + c * y


def scan_points(
    ranges: np.ndarray, angle_min: float, angle_increment: float, range_min: float, range_max: float
) -> np.ndarray:
    """
    Convert the ranges of a ``sensor_msgs/LaserScan`` to points.

    Parameters
    ----------
    ranges : numpy.ndarray
        [N] metres. Infinite ranges and those outside ``range_min`` to ``range_max`` are not measurements (REP 117) and
        are dropped.
    angle_min, angle_increment : float
        Radians.
    range_min, range_max : float
        Metres.

    Returns
    -------
    numpy.ndarray
        float64 [M, 3], metres in the scan's frame: x forward, y left, z = 0.

    Raises
    ------
    ValueError
        If the angles are not finite, or span more than a full turn, for instance because they are in degrees.
    """
    ranges = np.asarray(ranges, np.float64)
    turn = abs(angle_increment) * len(ranges)
    if not (math.isfinite(angle_min) and math.isfinite(turn)):
        raise ValueError(
            f"the scan's angle_min and angle_increment must be finite angles, got {angle_min:g} and "
            f"{angle_increment:g} rad"
        )
    if turn > MOST_RADIANS:
        raise ValueError(
            f"the scan's {len(ranges)} rays with an angle_increment of {angle_increment:g} rad make more than a turn: "
            "are its angles in degrees?"
        )
    measured = (ranges >= range_min) & (ranges <= range_max) & np.isfinite(ranges)
    angles = angle_min + angle_increment * np.flatnonzero(measured)
    ranges = ranges[measured]
    return np.stack([ranges * np.cos(angles), ranges * np.sin(angles), np.zeros(len(ranges))], axis=1)
