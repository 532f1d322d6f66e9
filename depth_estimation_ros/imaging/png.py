"""Check and clean PNG data before libpng, which would print warnings, reads it."""

from __future__ import annotations

import struct
import zlib

# Chunks that affect the pixels or their orientation; libpng may warn about others.
_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"}


def clean_png(data: bytes) -> bytes:
    """
    Return a PNG without unneeded chunks, and without bytes after its end.

    Raises
    ------
    ValueError
        If the data is truncated or damaged.
    """
    parts, at, clean = [data[:8]], 8, True
    while True:
        if len(data) < at + 12:
            raise ValueError("is cut off")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ValueError("is cut off")
        if kind in _KEPT:
            parts.append(data[at:end])
            if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
                raise ValueError("is damaged: a checksum is wrong")
        else:
            clean = False
        at = end
        if kind == b"IEND":
            return data if clean and at == len(data) else b"".join(parts)
