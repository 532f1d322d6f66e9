"""Decode JPEG as cameras send it: with trailing bytes, without an end marker, or truncated (ITU-T T.81)."""

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
_MISSING = 128  # libjpeg decodes missing data to this value: all coefficients are 0


class JpegHeader(NamedTuple):
    """Facts from the header of a JPEG, before its first scan."""

    width: int
    height: int
    progressive: bool
    single_scan: bool
    scan: int  # offset of the first scan's data


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """Return the header, or None if there is none."""
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
            width, height, progressive, components = frame
            return JpegHeader(
                width,
                height,
                progressive=progressive,
                single_scan=not progressive and data[at + 2] == components,
                scan=at + length,
            )
        at += length


def decode_jpeg(data: bytes, decode: Callable[[bytes], np.ndarray | None]) -> np.ndarray | None:
    """
    Decode a JPEG.

    Bytes after the end marker (zeros, or the rest of an older frame) are ignored. The end marker may be missing.

    Parameters
    ----------
    data : bytes
        JPEG with a readable header.
    decode : callable
        Function that decodes a clean JPEG.

    Raises
    ------
    ValueError
        If the data is truncated.
    """
    header = read_jpeg_header(data)
    if header is None:
        return None
    # Decoding stops at the first end marker. If the data ends with one, no search is needed.
    end = len(data) - 2 if data.endswith(_END) else data.find(_END, header.scan)
    if not header.single_scan:
        if end < 0:
            raise ValueError("is cut off")
        return decode(data[: data.rfind(_END) + 2])
    if end < 0:
        return _decode_to_the_end(data, header, decode)
    pixels = decode(data if end + 2 == len(data) else data[: end + 2])
    # libjpeg fills missing blocks with grey and reports that only on stderr.
    if pixels is not None and (pixels[-1, -(1 + (pixels.shape[1] - 1) % 8) :] == _MISSING).all():  # the last block
        _decode_to_the_end(data[: data.find(_END, header.scan)], header, decode)
    return pixels


def _decode_to_the_end(data: bytes, header: JpegHeader, decode: Callable) -> np.ndarray:
    """
    Decode a JPEG without an end marker, if it has all its pixels.

    If all pixels are there, bytes after the data do not matter: the result must be the same with different bytes
    appended.
    """
    data = data.rstrip(b"\0") + b"\0\0"  # the stripped zeros may have been the end of the data
    behind = 32 * header.width  # more than one row of blocks takes
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
