"""
The Kinect of NYU Depth v2: file format, disparity, lenses, and projection of depth into the colour camera.

The numbers are from the toolbox of the dataset (Silberman et al., ECCV 2012), which counts pixels from 1.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.camera import PinholeCamera

COLOUR_CAMERA = PinholeCamera(
    640, 480, 518.85790117450188, 519.46961112127485, 325.58244941119034 - 1, 253.73616633400465 - 1
)
DEPTH_CAMERA = PinholeCamera(
    640, 480, 582.62448167737955, 582.69103270988637, 313.04475870804731 - 1, 238.44389626620386 - 1
)
# k1, k2, p1, p2, k3, in OpenCV's order.
COLOUR_DISTORTION = (
    0.20796615318809061,
    -0.58613825163911781,
    7.2231363135888329e-4,
    1.0479627195765181e-3,
    0.49856986684705107,
)
DEPTH_DISTORTION = (
    -0.099897236553084481,
    0.39065324602765344,
    1.9290592870229277e-3,
    -1.9422022475975055e-3,
    -0.51031725053400578,
)
# A point in the frame of the depth camera is ROTATION @ point - OFFSET in that of the colour camera, metres.
ROTATION = np.array(
    [
        [9.9997798940829263e-01, 5.0518419386157446e-03, 4.3011152014118693e-03],
        [-5.0359919480810989e-03, 9.9998051861143999e-01, -3.6879781309514218e-03],
        [-4.3196624923060242e-03, 3.6662365748484798e-03, 9.9998394948385538e-01],
    ]
).T
OFFSET = np.array([2.5031875059141302e-02, -2.9342312935846411e-04, 6.6238747008330102e-04])

NO_RETURN = 2047  # 11-bit disparity of a pixel without a measurement
SATURATION = 10.0  # metres


def read_pnm(path: Path) -> np.ndarray:
    """
    Read a colour or disparity image of the raw dataset.

    Parameters
    ----------
    path : pathlib.Path
        Binary PPM of 8 bits, or binary PGM of 16 bits. The dataset stores the PGM little-endian, although the format is
        big-endian.

    Returns
    -------
    numpy.ndarray
        uint8 [480, 640, 3], RGB, or uint16 [480, 640].

    Raises
    ------
    ValueError
        If the file is of another kind or truncated, as some files of the dataset are.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    header = re.match(rb"P([56])\s+(?:#.*\n\s*)*(\d+)\s+(\d+)\s+(\d+)\s", content)
    if header is None:
        raise ValueError(f"{path} is {'empty' if not content else 'not a binary PPM or PGM image'}")
    kind, width, height, largest = (int(group) for group in header.groups())
    if (width, height) != (640, 480) or (kind == 5) != (largest > 255):
        raise ValueError(f"{path} is no Kinect image: {width}x{height} pixels of at most {largest}")
    shape, dtype = ((height, width, 3), np.uint8) if kind == 6 else ((height, width), np.dtype("<u2"))
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if len(content) < header.end() + size:
        raise ValueError(f"{path} is cut short: {len(content) - header.end()} of {size} bytes")
    pixels = np.frombuffer(content, dtype, int(np.prod(shape)), header.end()).reshape(shape)
    if kind == 5 and pixels.max() > NO_RETURN:
        raise ValueError(f"{path} holds disparities above {NO_RETURN}; was it rewritten in the other byte order?")
    return pixels


def decode_disparity(disparity: np.ndarray) -> np.ndarray:
    """
    Convert disparity to depth: 351.3 / (1092.5 - disparity) metres.

    Parameters
    ----------
    disparity : numpy.ndarray
        uint16, any shape.

    Returns
    -------
    numpy.ndarray
        float32 metres, at most 10, 0 where nothing was measured.
    """
    with np.errstate(divide="ignore"):
        depth = 351.3 / (1092.5 - disparity.astype(np.float64))
    return np.where(depth < 0, 0, np.minimum(depth, SATURATION)).astype(np.float32)


def undistort_colour(image: np.ndarray) -> np.ndarray:
    """Undistort a colour image, uint8 [480, 640, 3], to the pinhole camera `COLOUR_CAMERA`; black outside of it."""
    return cv2.remap(image, *_lens(COLOUR_CAMERA, COLOUR_DISTORTION), cv2.INTER_LINEAR)


def undistort_disparity(disparity: np.ndarray) -> np.ndarray:
    """
    Undistort a disparity image, uint16 [480, 640], to the pinhole camera `DEPTH_CAMERA`.

    It takes the nearest pixel, because interpolation would create depths between an object and its background.
    """
    maps = _lens(DEPTH_CAMERA, DEPTH_DISTORTION)
    return cv2.remap(disparity, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=NO_RETURN)


def project_to_colour(depth: np.ndarray) -> np.ndarray:
    """
    Project the depth image into the colour camera; where several points fall on one pixel, the nearest counts.

    As in the toolbox and in the labelled set, depth is measured along the axis of the *depth* camera. Along the axis of
    the colour camera it differs by a few millimetres.

    Parameters
    ----------
    depth : numpy.ndarray
        float32 [480, 640], metres, undistorted, 0 where unknown.

    Returns
    -------
    numpy.ndarray
        float32 [480, 640], metres, 0 where no point projects.
    """
    rows, columns = np.nonzero(depth > 0)
    seen = depth[rows, columns]
    rays = (
        (columns - DEPTH_CAMERA.cx) / DEPTH_CAMERA.fx,
        (rows - DEPTH_CAMERA.cy) / DEPTH_CAMERA.fy,
        np.ones(len(seen)),
    )
    x, y, z = ROTATION @ (rays * seen) - OFFSET[:, None]
    camera = COLOUR_CAMERA
    u = np.floor(camera.fx * x / z + camera.cx + 0.5).astype(int)
    v = np.floor(camera.fy * y / z + camera.cy + 0.5).astype(int)
    inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    far_to_near = np.argsort(-seen[inside], kind="stable")
    pixels = (v[inside] * camera.width + u[inside])[far_to_near]
    projected = np.zeros(camera.height * camera.width, np.float32)
    projected[pixels] = seen[inside][far_to_near]  # for equal indices, NumPy keeps the last value
    return projected.reshape(camera.height, camera.width)


def without_extremes(depth: np.ndarray) -> np.ndarray:
    """Return a depth map with its smallest and largest value set to 0 (unknown): windows, mirrors, saturation."""
    known = depth[depth > 0]
    if not known.size:
        return depth
    return np.where((depth == known.min()) | (depth == known.max()), np.float32(0), depth)


@lru_cache(maxsize=2)
def _lens(camera: PinholeCamera, distortion: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    size = (camera.width, camera.height)
    return cv2.initUndistortRectifyMap(camera.k, np.array(distortion), None, camera.k, size, cv2.CV_32FC1)
