"""
Decoding of depth that image_transport compressed.

``compressedDepth`` (compressed_depth_image_transport) has 16-bit PNG or RVL data after a header of 12 bytes.
``compressed`` (compressed_image_transport) has a 16-bit PNG or TIFF, which is lossless too.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np

from depth_estimation_ros.imaging import decode

_PNG, _TIFF = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*")
_HEADER = 12  # bytes: an enum, and two float32 quantisation parameters
_SATURATED = 65535  # the largest 16-bit value is not a measurement
_MOST_PIXELS = 2**26  # more pixels than any depth camera has


def is_compressed_depth(message, topic: str) -> bool:
    """
    Return whether a CompressedImage is depth.

    Parameters
    ----------
    message : object
        The message.
    topic : str
        Topic of the message. Its name decides for 16-bit pictures, because other cameras publish them as well.
    """
    form = message.format.lower()
    if "compresseddepth" in form or topic.endswith("/compressedDepth"):
        return True
    if not may_be_depth(message):
        return False
    return form.startswith(("16uc1", "32fc1")) or "depth" in topic.lower()


def may_be_depth(message) -> bool:
    """Whether a message is a CompressedImage that can be depth: compressedDepth, or one channel of 16 or 32 bits."""
    if not hasattr(message, "format"):
        return False
    if "compresseddepth" in message.format.lower():
        return True
    head = bytes(message.data[:26])
    if head.startswith(_PNG):
        return len(head) == 26 and head[24] == 16 and head[25] == 0  # bit depth and colour type in IHDR
    if not head.startswith(_TIFF):
        return False
    try:
        return _picture(bytes(message.data)).dtype != np.uint8
    except ValueError:
        return False


def compressed_depth_of(message) -> np.ndarray:
    """
    Decode depth of either image transport.

    Returns
    -------
    numpy.ndarray
        float32 [height, width], metres, NaN invalid; 0 and 65535 of 16-bit depth are invalid.

    Raises
    ------
    ValueError
        If it cannot be decoded.
    """
    form, data = message.format.lower(), bytes(message.data)
    try:
        if data.startswith((_PNG, *_TIFF)):
            stored = _picture(data)
            if "compresseddepth" in form and form.startswith("32fc1"):
                raise ValueError("lacks the header with its quantisation")
        elif "rvl" in form:
            stored = _rvl(data[_HEADER:])
        else:
            stored = _picture(data[_HEADER:])
        if stored.dtype == np.float32:
            return np.where((stored > 0) & (stored < np.inf), stored, np.float32(np.nan))
        if stored.dtype != np.uint16:
            raise ValueError("has 8 bits, which cannot be depth in millimetres")
        if form.startswith("32fc1") and not data.startswith((_PNG, *_TIFF)):
            return _inverse(stored, *struct.unpack_from("<ff", data, 4))
    except ValueError as error:
        raise ValueError(
            f"a compressed depth image of format {message.format[:60]!r} cannot be read: {error}"
        ) from None
    return np.where((stored == 0) | (stored == _SATURATED), np.float32(np.nan), stored / np.float32(1000))


def decode_rvl(data: bytes, pixels: int) -> np.ndarray:
    """
    Decode RVL (A. D. Wilson, Fast Lossless Depth Image Compression, ISS 2017).

    The stream is a sequence of integers of variable length. Each nibble has three bits of an integer, lowest first, and
    one bit that says whether another nibble follows. The integers repeat this pattern: number of zero pixels, number
    of nonzero pixels, and the differences of the nonzero pixels with the sign in the lowest bit.

    Parameters
    ----------
    data : bytes
        Stream of little-endian 32-bit words, highest nibble first.
    pixels : int
        Number of pixels.

    Returns
    -------
    numpy.ndarray
        uint16 [pixels].

    Raises
    ------
    ValueError
        If the data ends too early, or has too many pixels.
    """
    words = np.frombuffer(data, "<u4", len(data) // 4)
    halves = words.astype(">u4").view(np.uint8)
    nibbles = np.stack([halves >> 4, halves & 15], axis=1).ravel()
    last = np.flatnonzero(nibbles < 8)  # last nibble of each integer
    if not len(last):
        raise ValueError("has an RVL stream that is cut off")
    first = np.concatenate([[0], last[:-1] + 1])
    digit = np.arange(last[-1] + 1) - np.repeat(first, last - first + 1)
    if digit.max() > 10:
        raise ValueError("has a damaged RVL stream")
    parts = (nibbles[: len(digit)] & 7).astype(np.int64) << (3 * digit)
    numbers = np.add.reduceat(parts, first)
    runs, at, done = [], 0, 0  # (first pixel, number of pixels, index of their first difference)
    while done < pixels:
        if at + 2 > len(numbers):
            raise ValueError("has an RVL stream that is cut off")
        zeros, count = int(numbers[at]), int(numbers[at + 1])
        runs.append((done + zeros, count, at + 2))
        done, at = done + zeros + count, at + 2 + count
    if done > pixels or at > len(numbers):
        raise ValueError("has a damaged RVL stream")
    places, counts, begins = np.array(runs, np.int64).reshape(-1, 3).T
    along = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    coded = numbers[np.repeat(begins, counts) + along]
    values = np.cumsum((coded >> 1) ^ -(coded & 1))
    decoded = np.zeros(pixels, np.uint16)
    decoded[np.repeat(places, counts) + along] = values.astype(np.uint16)
    return decoded


def _rvl(data: bytes) -> np.ndarray:
    if len(data) < 8:
        raise ValueError("is cut off")
    width, height = struct.unpack_from("<II", data)
    if not 0 < width * height <= _MOST_PIXELS:
        raise ValueError(f"has an invalid size of {width}x{height} pixels")
    return decode_rvl(data[8:], width * height).reshape(height, width)


def _picture(data: bytes) -> np.ndarray:
    stored = decode(data, cv2.IMREAD_UNCHANGED)
    if stored.ndim != 2:
        raise ValueError(f"has {stored.shape[2]} channels, not one")
    return stored


def _inverse(stored: np.ndarray, a: float, b: float) -> np.ndarray:
    """Return depth in metres from quantised inverse depth, z = a / (value - b); 0 is invalid."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        depth = np.float32(a) / (stored - np.float32(b))
    return np.where((stored == 0) | ~(depth > 0) | ~np.isfinite(depth), np.float32(np.nan), depth).astype(np.float32)
