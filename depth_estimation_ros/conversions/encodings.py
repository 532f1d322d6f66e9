"""Table of the supported image encodings of ``sensor_msgs/image_encodings.hpp``."""

from __future__ import annotations

from typing import NamedTuple

import cv2

from depth_estimation_ros.support.sentences import choices


class Layout(NamedTuple):
    """Memory layout of an encoding, and the OpenCV conversion to RGB."""

    dtype: str
    channels: int
    code: int | None
    rows_per_two: int = 2  # stored rows per two image rows: 3 if a half-height chroma plane follows
    even: tuple[int, int] = (1, 1)  # width and height must be multiples of these


# Encodings of 8 and 16 bits: channels and conversion. OpenCV names a Bayer pattern by the second and third pixel of the
# second row, ROS by the four pixels of the corner: rggb in ROS is BG in OpenCV.
_PLAIN = {
    "rgb": (3, None),
    "bgr": (3, cv2.COLOR_BGR2RGB),
    "rgba": (4, cv2.COLOR_RGBA2RGB),
    "bgra": (4, cv2.COLOR_BGRA2RGB),
    "mono": (1, cv2.COLOR_GRAY2RGB),
    "bayer_rggb": (1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr": (1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg": (1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg": (1, cv2.COLOR_BayerGB2RGB),
}
COLOUR_LAYOUTS = {
    f"{name}{bits}": Layout(f"u{bits // 8}", channels, code)
    for bits in (8, 16)
    for name, (channels, code) in _PLAIN.items()
} | {
    "8UC1": Layout("u1", 1, cv2.COLOR_GRAY2RGB),
    "8UC3": Layout("u1", 3, cv2.COLOR_BGR2RGB),
    "8UC4": Layout("u1", 4, cv2.COLOR_BGRA2RGB),
    "16UC1": Layout("u2", 1, cv2.COLOR_GRAY2RGB),
    "uyvy": Layout("u1", 2, cv2.COLOR_YUV2RGB_UYVY, even=(2, 1)),
    "yuv422": Layout("u1", 2, cv2.COLOR_YUV2RGB_UYVY, even=(2, 1)),
    "yuyv": Layout("u1", 2, cv2.COLOR_YUV2RGB_YUY2, even=(2, 1)),
    "yuv422_yuy2": Layout("u1", 2, cv2.COLOR_YUV2RGB_YUY2, even=(2, 1)),
    "nv12": Layout("u1", 1, cv2.COLOR_YUV2RGB_NV12, rows_per_two=3, even=(2, 2)),
    "nv21": Layout("u1", 1, cv2.COLOR_YUV2RGB_NV21, rows_per_two=3, even=(2, 2)),
}
DEPTH_LAYOUTS = {
    "32FC1": Layout("f4", 1, None),
    "16UC1": Layout("u2", 1, None),
    "mono16": Layout("u2", 1, None),
}


def find_layout(encoding: str, layouts: dict[str, Layout]) -> Layout:
    """
    Return the layout of an encoding.

    Raises
    ------
    ValueError
        If the encoding is not supported; the message lists those that are.
    """
    try:
        return layouts[encoding]
    except KeyError:
        what = f"image encoding {encoding[:40]!r}" if encoding else "an image without an encoding"
        if layouts is COLOUR_LAYOUTS and encoding in DEPTH_LAYOUTS:
            raise ValueError(f"{what} is depth, not colour; remap image to the colour camera") from None
        raise ValueError(f"{what} cannot be read here; supported are {choices(layouts, encoding)}") from None
