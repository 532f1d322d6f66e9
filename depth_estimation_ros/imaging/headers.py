"""Read the format and size of an encoded image from its first bytes."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from depth_estimation_ros.imaging.jpeg import read_jpeg_header

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNM = re.compile(rb"P([1-6])(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s")


class Header(NamedTuple):
    """
    Format and size of an encoded image.

    Parameters
    ----------
    kind : str
        ``JPEG``, ``PNG``, ``TIFF``, ``WebP``, ``BMP`` or ``PNM``.
    width, height : int
        Pixels.
    density : float
        Maximum number of pixels that one byte of the file can encode.
    """

    kind: str
    width: int
    height: int
    density: float


def read_header(data: bytes) -> Header | None:
    """Return the header of an encoded image; None if the format is unknown or the header is damaged."""
    kinds = {
        b"\xff\xd8": _jpeg,
        b"\x89PNG\r\n\x1a\n": _png,
        b"II*\0": _tiff,
        b"MM\0*": _tiff,
        b"RIFF": _webp,
        b"BM": _bmp,
        b"P": _pnm,
    }
    read = next((read for start, read in kinds.items() if data.startswith(start)), None)
    try:
        return read and read(data)
    except (struct.error, IndexError):
        return None


def _jpeg(data: bytes) -> Header | None:
    header = read_jpeg_header(data)
    # A block of 8x8 pixels takes at least two bits, or one in a progressive JPEG.
    return header and Header("JPEG", header.width, header.height, 512.0 if header.progressive else 256.0)


def _png(data: bytes) -> Header | None:
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    channels = _PNG_CHANNELS.get(colour)
    # Deflate expands one byte to at most 1032.
    return Header("PNG", width, height, 8 * 1032 / (bits * channels)) if channels and bits else None


def _tiff(data: bytes) -> Header | None:
    order = "<" if data[:1] == b"I" else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    size = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in (256, 257):
            (size[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    return Header("TIFF", size[256], size[257], 8 * 1032) if len(size) == 2 else None


def _webp(data: bytes) -> Header | None:
    form = data[8:16]
    if form == b"WEBPVP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif form == b"WEBPVP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif form == b"WEBPVP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        return None
    return Header("WebP", width, height, 8 * 1032)


def _bmp(data: bytes) -> Header:
    (length,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if length == 12 else "<ii", data, 18)
    return Header("BMP", width, abs(height), 128)


def _pnm(data: bytes) -> Header | None:
    found = _PNM.match(data)
    return found and Header("PNM", int(found[2]), int(found[3]), 8)
