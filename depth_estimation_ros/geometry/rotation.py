"""
Cameras that are mounted on their side or upside down.

The network has learnt from upright pictures: an image is turned upright before it, with its camera
(`PinholeCamera.turned`), and depth is turned back after it. Turning about the optical axis leaves every pixel's depth
as it is, so what is published has the geometry and the frame of the camera as it is mounted.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

_CODES = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def turned(image: np.ndarray, degrees: int) -> np.ndarray:
    """
    Turn an image or a depth map clockwise.

    Parameters
    ----------
    image : numpy.ndarray
        [h, w] or [h, w, channels].
    degrees : int
        A multiple of 90; negative counter-clockwise, which takes back the same turn clockwise.

    Returns
    -------
    numpy.ndarray
        The turned image, contiguous; the image itself if it need not be turned.

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
    Return by how much images of a camera have to be turned clockwise to be upright.

    Parameters
    ----------
    pose : numpy.ndarray
        From the optical frame to one whose z is up, float [4, 4] (`geometry.pose`).

    Returns
    -------
    int
        0, 90, 180 or 270, the nearest; 0 for a camera that looks straight up or down.
    """
    right, down = pose[2, 0], pose[2, 1]  # how much the image's axes rise
    if math.hypot(right, down) < 0.1:
        return 0
    return round(math.degrees(math.atan2(-right, -down)) / 90) * 90 % 360
