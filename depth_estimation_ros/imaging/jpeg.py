"""JPEG as cameras send it: in buffers of fixed size, without an end, cut off (ITU-T T.81)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

_END = b"\xff\xd9"
_STANDALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_SCAN = 0xDA
_MISSING = 128  # what libjpeg decodes to where there are no data: all coefficients are 0


class JpegHeader(NamedTuple):
    """What stands before the first scan."""

    width: int
    height: int
    progressive: bool
    single_scan: bool
    scan: int  # where its data begin


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """Return the header; None if there is none."""
    at, frame = 2, None
    while True:
        if data[at] != 0xFF:
            return None
        while data[at] == 0xFF:
            at += 1
        marker, at = data[at], at + 1
        if marker in _STANDALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, at + 3)
            frame = (width, height, marker not in (0xC0, 0xC1), components)
        if marker == _SCAN:
            if frame is None:
                return None
            *size, progressive, components = frame
            return JpegHeader(*size, progressive, not progressive and data[at + 2] == components, at + length)
        at += length


def decode_jpeg(data: bytes, decode: Callable[[bytes], np.ndarray | None]) -> np.ndarray | None:
    """
    Decode a JPEG.

    What lies behind the end marker is left out: zeros, or the rest of an older frame. A missing end marker is no harm.

    Parameters
    ----------
    data : bytes
        With a header that can be read.
    decode : callable
        Makes pixels of a clean JPEG.

    Raises
    ------
    ValueError
        If it is cut off.
    """
    header = read_jpeg_header(data)
    # Nothing is read behind the first one; it need not be looked for where there is one at the end.
    end = len(data) - 2 if data.endswith(_END) else data.find(_END, header.scan)
    if not header.single_scan:
        if end < 0:
            raise ValueError("is cut off")
        return decode(data[: data.rfind(_END) + 2])
    if end < 0:
        return _decode_to_the_end(data, header, decode)
    pixels = decode(data if end + 2 == len(data) else data[: end + 2])
    # libjpeg fills what is missing with grey and tells nobody but the terminal.
    if pixels is not None and (pixels[-1, -(1 + (pixels.shape[1] - 1) % 8) :] == _MISSING).all():  # the last block
        _decode_to_the_end(data[: data.find(_END, header.scan)], header, decode)
    return pixels


def _decode_to_the_end(data: bytes, header: JpegHeader, decode: Callable) -> np.ndarray:
    """
    Decode a JPEG that has no end marker, if it has all its pixels.

    Whatever is behind the data does not matter then: the picture is the same with one thing there and with another.
    """
    data = data.rstrip(b"\0") + b"\0\0"  # what was stripped may have been the last of the data
    behind = 32 * header.width  # more than a row of blocks takes
    pixels = decode(data + bytes(behind))
    tails = [_noise(behind)]
    if pixels is not None and np.array_equal(pixels[-1], pixels[-2:][0]):
        tails.append(_END)  # OpenCV 4 repeats the last row that it could decode
    if pixels is None or not all(np.array_equal(pixels, decode(data + tail)) for tail in tails):
        raise ValueError("is cut off")
    return pixels


@lru_cache(maxsize=2)
def _noise(count: int) -> bytes:
    return np.random.default_rng(0).integers(1, 255, count, np.uint8).tobytes()
