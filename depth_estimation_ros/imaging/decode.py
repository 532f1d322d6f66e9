"""Decode an encoded image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.imaging.headers import read_header
from depth_estimation_ros.imaging.jpeg import decode_jpeg
from depth_estimation_ros.imaging.png import clean_png
from depth_estimation_ros.imaging.silence import quiet

MOST_PIXELS = 2**27
"""Maximum number of pixels in an image: no camera has 134 megapixels."""


def decode(data: bytes, flags: int) -> np.ndarray:
    """
    Decode a JPEG, PNG, TIFF, WebP, BMP or PNM.

    Parameters
    ----------
    data : bytes
        The picture.
    flags : int
        Flags of ``cv2.imdecode``.

    Returns
    -------
    numpy.ndarray
        Result of ``cv2.imdecode``: BGR, or one channel.

    Raises
    ------
    ValueError
        If it cannot be decoded. The message is the end of a sentence whose start names the image, e.g. "is cut off".
    """
    header = read_header(data)
    if header is None:
        raise ValueError("cannot be decoded; JPEG and PNG can, and TIFF, WebP, BMP and PNM")
    size = f"{header.width}x{header.height}"
    if header.width <= 0 or header.height <= 0:
        raise ValueError(f"cannot be decoded: its header says {size} pixels")
    if header.width * header.height > MOST_PIXELS:
        raise ValueError(f"cannot be decoded: its header says {size} pixels, which is more than a camera has")
    if header.width * header.height > header.density * len(data):
        raise ValueError(
            f"is cut off or damaged: its header says {size} pixels, {len(data)} bytes are too few for them"
        )

    def pixels_of(clean: bytes) -> np.ndarray | None:
        try:
            with quiet:
                return cv2.imdecode(np.frombuffer(clean, np.uint8), flags)
        except cv2.error:
            return None

    if header.kind == "JPEG":
        pixels = decode_jpeg(data, pixels_of)
    else:
        pixels = pixels_of(clean_png(data) if header.kind == "PNG" else data)
    if pixels is None:
        raise ValueError(f"cannot be decoded: it is a damaged {header.kind}")
    return pixels


def read_file(path: Path, flags: int) -> np.ndarray:
    """
    Read an image file; its name may be in any encoding.

    Flags, return value and errors are those of `decode`; OSError if the file cannot be read.
    """
    return decode(Path(path).read_bytes(), flags)
