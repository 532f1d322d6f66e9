"""
Images of cameras that are mounted sideways or upside down.

The network was trained on upright images. So the image and its camera (`PinholeCamera.turned`) are rotated upright
before inference, and depth is rotated back afterwards. Rotation about the optical axis does not change depth, so the
published depth has the geometry and TF frame of the mounted camera.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

_CODES = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def turned(image: np.ndarray, degrees: int) -> np.ndarray:
    """
    Rotate an image or a depth map clockwise.

    Parameters
    ----------
    image : numpy.ndarray
        [h, w] or [h, w, channels].
    degrees : int
        Multiple of 90; negative rotates counter-clockwise, which undoes the same clockwise rotation.

    Returns
    -------
    numpy.ndarray
        The rotated image, contiguous; the input itself if no rotation is needed.

    Raises
    ------
    ValueError
        If the angle is not a multiple of 90.
    """
    if degrees % 90:
        raise ValueError(f"images turn by multiples of 90 degrees, not by {degrees}")
    degrees %= 360
    return cv2.rotate(image, _CODES[degrees]) if degrees else image


def degrees_to_upright(pose: np.ndarray) -> int:
    """
    Return the clockwise rotation in degrees that makes a camera's images upright.

    Parameters
    ----------
    pose : numpy.ndarray
        Transform from the optical frame to a frame with z up, float [4, 4] (`geometry.pose`).

    Returns
    -------
    int
        0, 90, 180 or 270, whichever is nearest; 0 if the camera looks straight up or down.
    """
    right, down = pose[2, 0], pose[2, 1]  # height gained along the image's axes
    if math.hypot(right, down) < 0.1:
        return 0
    return round(math.degrees(math.atan2(-right, -down)) / 90) * 90 % 360
