"""What a lens makes of a scene."""

import cv2
import numpy as np


def distorted(lens, image, camera):
    """Return the image that a lens gives of a scene, from a picture of it by a pinhole camera that sees as much."""
    u, v = np.meshgrid(np.arange(lens.camera.width, dtype=np.float64), np.arange(lens.camera.height))
    pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2)
    undistort = cv2.fisheye.undistortPoints if lens.model == "equidistant" else cv2.undistortPoints
    rays = undistort(pixels, lens.camera.k, np.array(lens.coefficients)).reshape(*u.shape, 2)
    source = (rays * (camera.fx, camera.fy) + (camera.cx, camera.cy)).astype(np.float32)
    return cv2.remap(image, source, None, cv2.INTER_LINEAR)
