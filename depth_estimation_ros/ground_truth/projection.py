"""
Ground truth in the view of the image, from a registered depth image, another depth camera, a point cloud or a scan.

Limitations: motion of the robot between the stamps of image and ground truth, or during a lidar revolution, is not
corrected (all points are taken as measured at the image's stamp). Glass and mirrors are not handled. A sensor mounted
elsewhere may see points behind an object; they are not removed if the object itself has no points.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from depth_estimation_ros.geometry.lens import Lens
from depth_estimation_ros.geometry.rectify import rectified_depth
from depth_estimation_ros.ground_truth.calibration import Calibration

NEAREST = 0.05
"""Minimum distance along the optical axis, metres; nearer points are behind or in the lens."""

_SAME_SURFACE = 1.05  # neighbouring pixels of dense ground truth within this factor belong to one surface
_SAME_SURFACE_SPARSE = 1.15  # the same for sparse points, which are further apart
_DENSE = 1.5  # maximum spacing of dense points, pixels
_NOTHING = np.float32(1e9)  # metres, marks a pixel without a point


def registered_truth(depth: np.ndarray, calibration: Calibration | None) -> np.ndarray:
    """
    Return the ground truth from a depth image that is registered to the colour image.

    Parameters
    ----------
    depth : numpy.ndarray
        float32 [h, w] metres, NaN invalid, at any size.
    calibration : Calibration or None
        Calibration of the image. If it has a lens, depth is rectified as the image is.

    Returns
    -------
    numpy.ndarray
        float32 [h, w], metres along z of the (rectified) image, NaN where unknown.
    """
    if calibration is None or calibration.lens is None:
        return depth
    return rectified_depth(depth, calibration.lens)


def camera_truth(depth: np.ndarray, source: Calibration, to_image: np.ndarray, calibration: Calibration) -> np.ndarray:
    """
    Return the ground truth from a depth camera at another pose or with another lens.

    If the depth camera has a lower resolution than the image, the result is smaller than the image, so that it has no
    gaps. Pixels that are hidden behind others, or seen through the gaps between them, are discarded.

    Parameters
    ----------
    depth : numpy.ndarray
        float32 [h, w] metres, NaN invalid.
    source : Calibration
        Calibration of the depth image.
    to_image : numpy.ndarray
        [4, 4], transform from the depth camera's optical frame to that of the image.
    calibration : Calibration
        Calibration of the image.

    Returns
    -------
    numpy.ndarray
        float32 [h', w'], metres along z of the (rectified) image, NaN where unknown.
    """
    rows, columns = np.nonzero(depth > 0)
    seen = depth[rows, columns]
    points = np.concatenate([_rays(source)[rows, columns] * seen[:, None], seen[:, None]], axis=1)
    focal = source.lens.camera.focal_length if source.lens else source.camera.focal_length
    ratio = min(1.0, focal / calibration.camera.focal_length)
    size = max(1, round(calibration.camera.width * ratio)), max(1, round(calibration.camera.height * ratio))
    return _fill(points_truth(points, to_image, calibration, size))


def points_truth(
    points: np.ndarray, to_image: np.ndarray, calibration: Calibration, size: tuple[int, int] | None = None
) -> np.ndarray:
    """
    Return the ground truth from points of a lidar, a laser scan or a depth camera.

    Each pixel takes the nearest of its points. A point behind another one in its neighbourhood is discarded. The size
    of the neighbourhood depends on the spacing of the points: 3x3 pixels for dense points, up to a 20th of the image
    width for sparse ones. With a larger spacing (a few hundred points in the image), points behind near objects may
    remain.

    Parameters
    ----------
    points : numpy.ndarray
        [N, 3] metres.
    to_image : numpy.ndarray
        [4, 4], transform from the frame of the points to the optical frame of the image.
    calibration : Calibration
        Calibration of the image.
    size : tuple of int, optional
        Width and height of the result; those of the image without it.

    Returns
    -------
    numpy.ndarray
        float32 [h, w], metres along z of the (rectified) image, NaN where there is no point.
    """
    camera = calibration.camera if size is None else calibration.camera.resized(*size)
    rotation = np.reshape(calibration.lens.rotation, (3, 3)) if calibration.lens else np.eye(3)
    x, y, z = (rotation @ to_image[:3, :3]).astype(np.float32) @ points.T + (rotation @ to_image[:3, 3:]).astype("f4")
    ahead = z > NEAREST
    x, y, z = x[ahead], y[ahead], z[ahead]
    u = np.floor(camera.fx * x / z + np.float32(camera.cx + 0.5))
    v = np.floor(camera.fy * y / z + np.float32(camera.cy + 0.5))
    inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    pixels = (v[inside] * camera.width + u[inside]).astype(np.int64)
    z = z[inside]
    truth = np.full((camera.height, camera.width), _NOTHING)
    np.minimum.at(truth.reshape(-1), pixels, z)
    spacing = math.sqrt(truth.size / max(1, int(np.count_nonzero(truth < _NOTHING))))
    dense = spacing <= _DENSE
    reach = 1 if dense else max(1, min(round(spacing), camera.width // 40))
    around = cv2.erode(truth, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    hidden = truth > (_SAME_SURFACE if dense else _SAME_SURFACE_SPARSE) * around
    shown = shown_of(calibration.lens, camera.width, camera.height) if calibration.lens else None
    if shown is not None:
        hidden |= ~shown
    return np.where(hidden | (truth == _NOTHING), np.float32(np.nan), truth)


def _fill(truth: np.ndarray) -> np.ndarray:
    """Fill pixels within a surface that rounding left empty: most neighbours are known and have similar depth."""
    known = np.isfinite(truth)
    kernel = np.ones((3, 3), np.uint8)
    near = cv2.erode(np.where(known, truth, _NOTHING), kernel)
    far = cv2.dilate(np.where(known, truth, np.float32(0)), kernel)
    count = cv2.boxFilter(known.astype(np.float32), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    fill = ~known & (count >= 5) & (far <= _SAME_SURFACE * near)
    return np.where(fill, np.float32(0.5) * (near + far), truth)


@lru_cache(maxsize=4)
def shown_of(lens: Lens, width: int, height: int) -> np.ndarray | None:
    """Return which pixels of the rectified image the camera saw, bool [height, width]; None if it saw all."""
    return lens.resized(width, height).shows(lens.rectified.resized(width, height))


@lru_cache(maxsize=4)
def _rays(calibration: Calibration) -> np.ndarray:
    """Return (x/z, y/z) of every pixel of the unrectified depth image, float32 [h, w, 2]."""
    if calibration.lens is None:
        return calibration.camera.rays()
    c, d = calibration.lens.camera, np.array(calibration.lens.coefficients)
    pixels = np.stack(np.meshgrid(np.arange(c.width), np.arange(c.height)), axis=-1).reshape(-1, 1, 2).astype(float)
    undistort = cv2.fisheye.undistortPoints if calibration.lens.model == "equidistant" else cv2.undistortPoints
    return undistort(pixels, c.k, d).reshape(c.height, c.width, 2).astype(np.float32)
