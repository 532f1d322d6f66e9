"""Ground truth ranges in a room, as a perfect laser scanner at the camera would measure them, by ray casting."""

from __future__ import annotations

import math

import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.synthetic.room import Room

_ELEVATIONS = 96
"""Number of rays per direction, from the bottom to the top of the view."""


def seen_ranges(
    room: Room, camera: PinholeCamera, pose: np.ndarray, angles: np.ndarray, min_height: float, max_height: float
) -> np.ndarray:
    """
    Return the horizontal distance to the nearest object in a band of heights that a camera sees in each direction.

    Parameters
    ----------
    room : Room
        Room; its floor is at height 0.
    camera : PinholeCamera
        Camera; points above or below its view are not seen.
    pose : numpy.ndarray
        Transform from the optical frame to the room, float [4, 4].
    angles : numpy.ndarray
        float [n], directions about z in the room, radians; 0 looks along x.
    min_height, max_height : float
        Band of heights above the floor, metres.

    Returns
    -------
    numpy.ndarray
        float64 [n], metres from the camera; NaN where it sees nothing in the band.
    """
    rays = camera.rays().astype(np.float64)
    world = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=2) @ pose[:3, :3].T
    border = np.concatenate([world[0], world[-1]])
    slopes = border[:, 2] / np.hypot(border[:, 0], border[:, 1])
    elevations = np.linspace(math.atan(slopes.min()), math.atan(slopes.max()), _ELEVATIONS)
    angles = np.asarray(angles, np.float64)[:, None]
    direction = np.stack(
        np.broadcast_arrays(np.cos(angles), np.sin(angles), np.tan(elevations)), axis=-1
    )  # horizontal length 1
    distance = room.cast(pose[:3, 3], direction)
    height = pose[2, 3] + distance * direction[..., 2]
    x, y, z = np.moveaxis(direction @ pose[:3, :3], -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    inside = (z > 0) & (np.abs(u - camera.width / 2 + 0.5) <= camera.width / 2)
    inside &= np.abs(v - camera.height / 2 + 0.5) <= camera.height / 2
    nearest = np.where(inside & (height >= min_height) & (height <= max_height), distance, np.inf).min(axis=1)
    return np.where(np.isinf(nearest), np.nan, nearest)
