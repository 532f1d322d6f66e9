"""PNG: what libpng would complain of on the terminal is found, or left out, before."""

from __future__ import annotations

import struct
import zlib

# What the pixels and their orientation depend on; other chunks only make libpng warn of them.
_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"}


def clean_png(data: bytes) -> bytes:
    """
    Return a PNG without needless chunks, and without what lies behind its end.

    Raises
    ------
    ValueError
        If it is cut off or damaged.
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
