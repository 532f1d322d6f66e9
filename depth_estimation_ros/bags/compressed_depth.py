"""
Depth as image_transport compresses it.

Through ``compressedDepth`` (compressed_depth_image_transport): 16 bits as PNG or RVL behind a header of 12 bytes.
Through ``compressed`` (compressed_image_transport): a 16-bit PNG or TIFF, which loses nothing either.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np

from depth_estimation_ros.imaging import decode

_PNG, _TIFF = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*")
_HEADER = 12  # bytes: an enum, and two float32 of the quantisation
_SATURATED = 65535  # the largest number of 16 bits is no measurement
_MOST_PIXELS = 2**26  # more than any depth camera has


def is_compressed_depth(message, topic: str) -> bool:
    """
    Whether a CompressedImage is depth.

    Parameters
    ----------
    message : object
        The message.
    topic : str
        Its topic, whose name decides where only a picture of 16 bits is known: other cameras have such, too.
    """
    form = message.format.lower()
    if "compresseddepth" in form or topic.endswith("/compressedDepth"):
        return True
    if not may_be_depth(message):
        return False
    return form.startswith(("16uc1", "32fc1")) or "depth" in topic.lower()


def may_be_depth(message) -> bool:
    """Whether a message is a CompressedImage that can hold depth: of compressedDepth, or a channel of 16 or 32 bits."""
    if not hasattr(message, "format"):
        return False
    if "compresseddepth" in message.format.lower():
        return True
    head = bytes(message.data[:26])
    if head.startswith(_PNG):
        return len(head) == 26 and head[24] == 16 and head[25] == 0  # bits and kind of colour in IHDR
    if not head.startswith(_TIFF):
        return False
    try:
        return _picture(bytes(message.data)).dtype != np.uint8
    except ValueError:
        return False


def compressed_depth_of(message) -> np.ndarray:
    """
    Decode depth of either transport.

    Returns
    -------
    numpy.ndarray
        float32 [height, width], metres, NaN invalid; in 16 bits, both 0 and 65535 are.

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
            raise ValueError("has 8 bits, in which there are no metres")
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

    The stream is of numbers in nibbles, three bits each from the lowest on and one that says that more follow: how many
    zeros, how many that are not, and the differences of those, with the sign in the lowest bit; and so on.

    Parameters
    ----------
    data : bytes
        The stream, in little-endian words of 32 bits, whose highest nibble is the first.
    pixels : int
        How many there are.

    Returns
    -------
    numpy.ndarray
        uint16 [pixels].

    Raises
    ------
    ValueError
        If the data ends before the pixels do, or holds more.
    """
    words = np.frombuffer(data, "<u4", len(data) // 4)
    halves = words.astype(">u4").view(np.uint8)
    nibbles = np.stack([halves >> 4, halves & 15], axis=1).ravel()
    last = np.flatnonzero(nibbles < 8)  # of each number
    if not len(last):
        raise ValueError("has an RVL stream that is cut off")
    first = np.concatenate([[0], last[:-1] + 1])
    digit = np.arange(last[-1] + 1) - np.repeat(first, last - first + 1)
    if digit.max() > 10:
        raise ValueError("has a damaged RVL stream")
    parts = (nibbles[: len(digit)] & 7).astype(np.int64) << (3 * digit)
    numbers = np.add.reduceat(parts, first)
    runs, at, done = [], 0, 0  # (first pixel, number of pixels, where their differences begin)
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
        raise ValueError(f"claims {width}x{height} pixels")
    return decode_rvl(data[8:], width * height).reshape(height, width)


def _picture(data: bytes) -> np.ndarray:
    stored = decode(data, cv2.IMREAD_UNCHANGED)
    if stored.ndim != 2:
        raise ValueError(f"has {stored.shape[2]} channels, not one")
    return stored


def _inverse(stored: np.ndarray, a: float, b: float) -> np.ndarray:
    """Return metres of a quantised inverse depth: z = a / (value - b), 0 invalid."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        depth = np.float32(a) / (stored - np.float32(b))
    return np.where((stored == 0) | ~(depth > 0) | ~np.isfinite(depth), np.float32(np.nan), depth).astype(np.float32)
