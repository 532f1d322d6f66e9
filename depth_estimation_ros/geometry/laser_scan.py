"""From a depth image to a laser scan: the nearest obstacle in each direction, within a band of heights."""

from __future__ import annotations

import math

import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.pose import directions, height_interval

MOST_RAYS = 100_000
"""A scan may have: many times what any sensor gives, and nothing to a machine's memory."""

MOST_RADIANS = 2.2 * math.pi
"""A scan of more is not one of radians: a whole turn, and what sensors send beyond it."""


class LaserScanner:
    """
    Makes the ranges of a ``sensor_msgs/LaserScan`` from depth images of one camera at one place.

    Everything that does not depend on the depth is worked out once, here; make another one when the camera or its pose
    changes.

    Parameters
    ----------
    camera : PinholeCamera
        Intrinsics at the depth image's size.
    pose : numpy.ndarray
        From the optical frame to the scan's, float [4, 4]. The scan's frame has x forward, y left, z up; heights and
        ranges are measured from its origin.
    min_height, max_height : float
        Points between these heights are obstacles, metres. An estimated depth that is too short by a fraction e lifts
        the floor by e times the camera's height, at any distance: keep `min_height` above that.
    range_min, range_max : float
        Nearest and farthest horizontal range that counts, metres.
    angle_increment : float
        Radians between two rays; 0 takes the largest angle between neighbouring pixels.

    Attributes
    ----------
    angle_min, angle_max, angle_increment : float
        As in the message, radians about z. They span what the camera sees of the band between the two ranges. A camera
        that looks backwards has angles about pi.
    size : int
        Number of rays.
    range_min, range_max : float
        As given.
    reach : float
        The farthest range at which the camera sees a part of the band. Where it is below `range_max`, no direction can
        be known to be free.

    Raises
    ------
    ValueError
        If the limits contradict each other, the camera sees nothing of the band, or there are too many rays.
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
        # A camera's own distance of range_min: nearer than that, directions have no limits.
        start = np.maximum(near, range_min / np.maximum(np.hypot(self._x, self._y), 1e-9))
        seen = start <= np.minimum(far, end)
        if not seen.any():
            raise ValueError(
                f"the camera sees nothing between the heights {min_height:g} and {max_height:g} m and the ranges "
                f"{range_min:g} and {range_max:g} m: check its pose and these limits"
            )
        # Angles are counted from the middle of the view, so that a camera that looks backwards has no seam in it.
        self._centre = math.atan2(self._y[seen].sum(), self._x[seen].sum())
        self._x, self._y = _turned(self._x, self._y, -self._centre)
        self._offset = _turned(*self._offset, -self._centre)
        # Along a line the angle changes one way only: the ends are the extremes.
        ends = [self._angles(depths[seen], seen) for depths in (start, np.minimum(far, end))]
        first, last = float(np.min(ends)), float(np.max(ends))
        self._spacing = max(angle_increment, self._pixel_angle(seen), (last - first) / MOST_RAYS)
        self._bins = max(1, math.ceil((last - first) / self._spacing - 1e-9))
        self._first = 0.5 * (first + last - self._bins * self._spacing)
        self._resample(angle_increment)
        leaves = np.where((far > 0) & (near <= far), np.minimum(far, 1e6), 0.0)
        self.reach = float(np.hypot(self._offset[0] + leaves * self._x, self._offset[1] + leaves * self._y).max())
        # A ray is evidence of free space if it is still in the band at range_max.
        through = (near <= end) & (end <= far) & np.isfinite(end)
        self._clear_pixels = np.flatnonzero(through)
        self._clear_depths = end[through].astype(np.float32)
        self._clear_bins = self._bin(self._angles(end[through], through))
        self._near, self._far = near.astype(np.float32), np.minimum(far, end).astype(np.float32)
        self._x, self._y = self._x.astype(np.float32).ravel(), self._y.astype(np.float32).ravel()

    def __call__(self, depth: np.ndarray) -> np.ndarray:
        """
        Return the ranges of a depth image.

        Parameters
        ----------
        depth : numpy.ndarray
            float32 [h, w], metres along the optical axis, NaN invalid.

        Returns
        -------
        numpy.ndarray
            float32 [size], metres (REP 117): the nearest obstacle; -Inf where it is nearer than `range_min`; +Inf where
            the camera looks through the band past `range_max` and meets none; NaN where nothing is known, because
            depth is invalid or the camera does not see that far into the band. A costmap clears along +Inf, so what
            was not seen must not be +Inf.

        Raises
        ------
        ValueError
            If the depth is not of the camera's size.
        """
        if depth.shape != self._shape:
            raise ValueError(f"depth is {depth.shape[::-1]}, the scan was made for {self._shape[::-1]} pixels")
        flat = np.ascontiguousarray(depth, np.float32).ravel()
        obstacle = np.flatnonzero((depth >= self._near) & (depth <= self._far))
        z = flat[obstacle]
        x = z * self._x[obstacle] + self._offset[0]
        y = z * self._y[obstacle] + self._offset[1]
        squared = np.full(self._bins, np.inf, np.float32)
        with np.errstate(over="ignore"):  # what float32 cannot hold is out of range
            np.minimum.at(squared, self._bin(np.arctan2(y, x)), x * x + y * y)
        ranges = np.sqrt(squared)
        ranges[ranges < self.range_min] = -np.inf
        unknown = np.isposinf(ranges)
        unknown[self._clear_bins[flat[self._clear_pixels] >= self._clear_depths]] = False
        ranges[unknown] = np.nan
        return ranges[self._source]

    def _depth_at_range(self, distance: float) -> np.ndarray:
        """Depth at which each ray leaves the circle of a radius about the origin, [h, w]."""
        outside = math.hypot(*self._offset) ** 2 - distance * distance
        if outside >= 0:
            raise ValueError(f"the camera is farther from the scan's origin than range_max, {distance:g} m")
        a = np.maximum(self._x**2 + self._y**2, 1e-18)
        b = self._offset[0] * self._x + self._offset[1] * self._y
        return (np.sqrt(b * b - a * outside) - b) / a

    def _angles(self, depths: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Angle of points at the depths given along the rays of some pixels."""
        x, y = self._offset[0] + depths * self._x[where], self._offset[1] + depths * self._y[where]
        return np.arctan2(y, x)

    def _bin(self, angles: np.ndarray) -> np.ndarray:
        index = ((angles - self._first) * (1 / self._spacing)).astype(np.int32)
        return np.clip(index, 0, self._bins - 1, out=index)

    def _pixel_angle(self, seen: np.ndarray) -> float:
        """Return the largest angle between neighbours of a row or, of a camera on its side, of a column."""
        angles = np.arctan2(self._y, self._x)
        largest = 0.0
        for a, s in ((angles, seen), (angles.T, seen.T)):
            steps = np.abs(np.diff(a, axis=1))[s[:, 1:] & s[:, :-1]]
            # Of a camera that looks down, two neighbours may be on either side of the seam behind it.
            largest = max(largest, float(np.minimum(steps, 2 * math.pi - steps).max(initial=0.0)))
        # So that no direction falls between two pixels; a view of a single pixel has no steps.
        return largest or math.radians(1.0)

    def _resample(self, increment: float) -> None:
        """Rays closer together than pixels: each takes what the pixels about it saw."""
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


def _turned(x, y, angle: float):
    """Coordinates after a turn about z."""
    c, s = math.cos(angle), math.sin(angle)
    return c * x - s * y, s * x + c * y


def scan_points(
    ranges: np.ndarray, angle_min: float, angle_increment: float, range_min: float, range_max: float
) -> np.ndarray:
    """
    Turn a ``sensor_msgs/LaserScan`` into points.

    Parameters
    ----------
    ranges : numpy.ndarray
        [N] metres; those outside ``range_min`` to ``range_max`` are no measurements (REP 117) and left out.
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
        If the angles are not finite, or make more than a turn, as those in degrees do.
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
    measured = (ranges >= range_min) & (ranges <= range_max)  # false for NaN
    angles = angle_min + angle_increment * np.flatnonzero(measured)
    ranges = ranges[measured]
    return np.stack([ranges * np.cos(angles), ranges * np.sin(angles), np.zeros(len(ranges))], axis=1)
