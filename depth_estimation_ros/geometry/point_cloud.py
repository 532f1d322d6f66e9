"""Convert a depth image to an organised, coloured point cloud."""

from __future__ import annotations

import cv2
import numpy as np

from depth_estimation_ros.camera import PinholeCamera

_WHITE = np.uint32(0x00FFFFFF)


def point_cloud(
    depth: np.ndarray, camera: PinholeCamera, rgb: np.ndarray | None = None, out: np.ndarray | None = None
) -> np.ndarray:
    """
    Back-project a depth image: ``(x, y, z) = z ((u - cx) / fx, (v - cy) / fy, 1)``.

    Parameters
    ----------
    depth : numpy.ndarray
        float32 [h, w], metres along the optical axis, NaN invalid.
    camera : PinholeCamera
        Intrinsics of a w x h image.
    rgb : numpy.ndarray, optional
        Colours, uint8 [h', w', 3]. If the size differs from the depth's, each point gets the colour of the nearest
        pixel. Points are white without it.
    out : numpy.ndarray, optional
        Contiguous float32 [h, w, 4] to write the result into, to avoid an allocation per frame.

    Returns
    -------
    numpy.ndarray
        float32 [h, w, 4], 16 bytes per point: x, y, z in metres in the optical frame (REP 103), NaN where depth is NaN,
        and colour as the bits 0x00RRGGBB, as packed by PCL, RViz and ``sensor_msgs_py``. The top byte is zero: with
        0xFF, a program that reads the field as a float would get NaN for reddish points.

    Raises
    ------
    ValueError
        If the depth is not the camera's size, or `rgb` or `out` is not of the type above.
    """
    height, width = depth.shape
    if (width, height) != (camera.width, camera.height):
        raise ValueError(
            f"depth is {width}x{height} but its camera is {camera.width}x{camera.height}; "
            "use camera.resized(width, height)"
        )
    if out is not None and (out.dtype != np.float32 or out.shape != (height, width, 4) or not out.flags.c_contiguous):
        raise ValueError(f"out must be contiguous float32 [{height}, {width}, 4]")
    z = np.asarray(depth, np.float32)
    # The ray table is separable: one row and one column of it suffice, which reads far less memory.
    rays = camera.rays()
    x = z * np.ascontiguousarray(rays[0, :, 0])
    y = z * rays[:, :1, 1]
    # Interleaving four dense planes in one pass takes half the time of four writes with stride 16.
    return cv2.merge([x, y, z, _packed(rgb, width, height)], dst=out)


def _packed(rgb: np.ndarray | None, width: int, height: int) -> np.ndarray:
    """Return colours as 0x00RRGGBB in the bits of a float32 [height, width]."""
    if rgb is None:
        return np.full((height, width), _WHITE).view(np.float32)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"rgb must be uint8 [height, width, 3], got {rgb.dtype} {list(rgb.shape)}")
    if rgb.shape[:2] != (height, width):
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_NEAREST)
    # The bytes B G R A are 0xAARRGGBB as a little-endian word; numpy swaps bytes on big-endian hosts.
    bgra = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)
    packed = np.bitwise_and(bgra.view("<u4")[..., 0], _WHITE)
    return packed.view(np.float32)
