"""
Camera poses from parameters or TF: float64 [4, 4] transforms from the optical frame to the robot's frame.

The optical frame has x right, y down, z forward; the robot's x forward, y left, z up (REP 103).
"""

from __future__ import annotations

import math

import numpy as np

from depth_estimation_ros.camera import PinholeCamera

# Axes of the optical frame (columns: right, down, forward) in a camera body frame: x forward, y left, z up.
_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

FARTHEST = 1e9
"""Maximum translation of a transform, metres: beyond any frame on Earth, and far from an overflow in products."""


def camera_pose(
    height: float, pitch: float = 0.0, roll: float = 0.0, yaw: float = 0.0, x: float = 0.0, y: float = 0.0
) -> np.ndarray:
    """
    Return a camera's pose from height and angles, for robots without TF.

    Parameters
    ----------
    height : float
        Height of the optical centre above the floor, metres.
    pitch, roll, yaw : float
        Radians, with the signs of TF and URDF: positive pitch looks down, positive roll lowers the right side of the
        camera, positive yaw looks left.
    x, y : float
        Position of the optical centre ahead of (x) and left of (y) the robot's origin, metres.

    Returns
    -------
    numpy.ndarray
        float64 [4, 4], transform from the optical frame to a frame with x forward, z up and z = 0 on the floor.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    values = {"height": height, "pitch": pitch, "roll": roll, "yaw": yaw, "x": x, "y": y}
    if bad := [f"{name}={value}" for name, value in values.items() if not math.isfinite(value)]:
        raise ValueError(f"the camera's pose must be finite, got {', '.join(bad)}")
    about_x = _turn(roll, 1, 2)
    about_y = _turn(pitch, 2, 0)
    about_z = _turn(yaw, 0, 1)
    pose = np.eye(4)
    pose[:3, :3] = about_z @ about_y @ about_x @ _OPTICAL
    pose[:3, 3] = x, y, height
    return pose


def pose_from_transform(
    translation: tuple[float, float, float], quaternion: tuple[float, float, float, float]
) -> np.ndarray:
    """
    Return the pose of a ``geometry_msgs/Transform``, as TF gives it for the optical frame in the robot's frame.

    Parameters
    ----------
    translation : tuple of float
        x, y, z in metres.
    quaternion : tuple of float
        x, y, z, w; need not be normalised.

    Returns
    -------
    numpy.ndarray
        float64 [4, 4].

    Raises
    ------
    ValueError
        If a number is not finite, the translation is beyond `FARTHEST`, or the quaternion is zero, as in a message that
        was not filled in.
    """
    q = np.asarray(quaternion, np.float64)
    pose = np.eye(4)
    pose[:3, 3] = translation
    norm = math.hypot(*quaternion)
    if not (np.abs(pose[:3, 3]).max() <= FARTHEST and math.isfinite(norm) and norm > 1e-6):
        raise ValueError(
            f"the transform of the camera is not valid: translation {tuple(translation)}, rotation {tuple(quaternion)}"
        )
    x, y, z, w = q / norm
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return pose


def quaternion(pose: np.ndarray) -> tuple[float, float, float, float]:
    """
    Return the rotation of a pose as a quaternion; the inverse of `pose_from_transform`.

    Parameters
    ----------
    pose : numpy.ndarray
        float [4, 4].

    Returns
    -------
    tuple of float
        x, y, z, w, of unit length; w is not negative.
    """
    R = pose[:3, :3]
    # The eigenvector of the largest eigenvalue of Bar-Itzhack's matrix (2000), which is stable for every angle.
    K = np.array(
        [
            [R[0, 0] - R[1, 1] - R[2, 2], R[1, 0] + R[0, 1], R[2, 0] + R[0, 2], R[2, 1] - R[1, 2]],
            [R[1, 0] + R[0, 1], R[1, 1] - R[0, 0] - R[2, 2], R[2, 1] + R[1, 2], R[0, 2] - R[2, 0]],
            [R[2, 0] + R[0, 2], R[2, 1] + R[1, 2], R[2, 2] - R[0, 0] - R[1, 1], R[1, 0] - R[0, 1]],
            [R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], R[0, 0] + R[1, 1] + R[2, 2]],
        ]
    )
    found = np.linalg.eigh(K)[1][:, -1]
    return tuple((found * (-1.0 if found[3] < 0 else 1.0)).tolist())


def directions(camera: PinholeCamera, pose: np.ndarray) -> np.ndarray:
    """
    Return the viewing ray of every pixel in the robot's frame.

    Parameters
    ----------
    camera : PinholeCamera
        Intrinsics.
    pose : numpy.ndarray
        Transform from the optical frame to the robot's frame, float [4, 4].

    Returns
    -------
    numpy.ndarray
        float64 [3, h, w]: change of x, y and z per metre of depth.
    """
    rays = camera.rays().astype(np.float64)
    return np.einsum("ij,jhw->ihw", pose[:3, :3], np.stack([rays[..., 0], rays[..., 1], np.ones(rays.shape[:2])]))


def height_interval(
    camera: PinholeCamera, pose: np.ndarray, min_height: float, max_height: float
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the interval of depths in which each pixel's ray lies between two heights.

    The height of a point is linear in its depth, so a band of heights is an interval of depths for each pixel.
    Filtering a frame then takes two comparisons per pixel.

    Parameters
    ----------
    camera : PinholeCamera
        Intrinsics.
    pose : numpy.ndarray
        Transform from the optical frame to the robot's frame, float [4, 4].
    min_height, max_height : float
        Limits along the robot's z axis, metres; infinite for no limit.

    Returns
    -------
    near, far : numpy.ndarray
        float64 [h, w], depths in metres; near > far or negative where the ray never meets the band.

    Raises
    ------
    ValueError
        If the band is empty.
    """
    if not min_height < max_height:
        raise ValueError(f"min_height must be less than max_height, got {min_height:g} and {max_height:g} m")
    rise = directions(camera, pose)[2]
    rise = np.where(np.abs(rise) < 1e-12, 1e-12, rise)
    depths = (min_height - pose[2, 3]) / rise, (max_height - pose[2, 3]) / rise
    return np.minimum(*depths), np.maximum(*depths)


def _turn(angle: float, a: int, b: int) -> np.ndarray:
    """Return the rotation matrix by an angle that turns axis a towards axis b."""
    R = np.eye(3)
    c, s = math.cos(angle), math.sin(angle)
    R[a, a], R[a, b], R[b, a], R[b, b] = c, -s, s, c
    return R
