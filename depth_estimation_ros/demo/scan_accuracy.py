"""Accuracy of the node's laser scan against the walls of the synthetic room."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import LaserScan

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.pose import pose_from_transform
from depth_estimation_ros.settings import ScanSettings
from depth_estimation_ros.synthetic import Room
from depth_estimation_ros.synthetic.plan import seen_ranges


@dataclass(frozen=True)
class RoomScan:
    """
    Scan, with the camera that it was made from.

    Parameters
    ----------
    scan : sensor_msgs.msg.LaserScan
        Scan in a frame below the camera, with x in the camera's view direction.
    pose : numpy.ndarray
        Transform from the camera to the room, float64 [4, 4].
    camera : PinholeCamera
        Intrinsics.
    """

    scan: LaserScan
    pose: np.ndarray
    camera: PinholeCamera

    @property
    def angles(self) -> np.ndarray:
        """Directions of the beams in the room, float64 [n], radians."""
        forward = self.pose[:3, 2]
        own = self.scan.angle_min + np.arange(len(self.scan.ranges)) * self.scan.angle_increment
        return math.atan2(forward[1], forward[0]) + own

    @property
    def ranges(self) -> np.ndarray:
        """Ranges of the beams, float64 [n], metres (REP 117)."""
        return np.array(self.scan.ranges, np.float64)

    def true_ranges(self, room: Room) -> np.ndarray:
        """Return ranges by ray casting from the camera, float64 [n], metres; NaN where it sees no obstacle."""
        low, high = ScanSettings.min_height, ScanSettings.max_height
        return seen_ranges(room, self.camera, self.pose, self.angles, low, high)


def pose_of(message: PoseStamped) -> np.ndarray:
    """Return a pose as a matrix, float64 [4, 4]."""
    at, q = message.pose.position, message.pose.orientation
    return pose_from_transform((at.x, at.y, at.z), (q.x, q.y, q.z, q.w))


def scan_accuracy(room: Room, scans: list[RoomScan]) -> dict | None:
    """
    Compare scans with the room.

    Parameters
    ----------
    room : Room
        The truth.
    scans : list of RoomScan
        Scans to compare.

    Returns
    -------
    dict or None
        ``beams``: number of beams in which the camera sees an obstacle. Shares of these beams: ``found`` (the scan has
        an obstacle) and ``called_free`` (+Inf). For the found ones: ``median_m`` and ``median_relative`` of the
        absolute error, ``bias`` (median of the signed relative error; negative is too near), and the shares
        ``within_10_percent`` and ``within_25_percent``. None if there is nothing to compare.
    """
    if not scans:
        return None
    ranges = np.concatenate([scan.ranges for scan in scans])
    truth = np.concatenate([scan.true_ranges(room) for scan in scans])
    seen = np.isfinite(truth)
    found = seen & np.isfinite(ranges)
    if not found.any():
        return None
    metres = (ranges - truth)[found]
    error = metres / truth[found]
    figures = {
        "found": found.sum() / seen.sum(),
        "called_free": (seen & np.isposinf(ranges)).sum() / seen.sum(),
        "median_m": np.median(np.abs(metres)),
        "median_relative": np.median(np.abs(error)),
        "bias": np.median(error),
        "within_10_percent": (np.abs(error) < 0.10).mean(),
        "within_25_percent": (np.abs(error) < 0.25).mean(),
    }
    return {"scans": len(scans), "beams": int(seen.sum())} | {name: round(float(v), 4) for name, v in figures.items()}
