"""What can be read of a serialized message without taking it apart."""

from __future__ import annotations

import struct


def stamp_of(raw: bytes) -> int:
    """
    Return the stamp of a serialized message that begins with a header, in nanoseconds.

    CDR: four bytes of which the second names the byte order, then the header's seconds and nanoseconds.
    """
    seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] else ">iI", raw, 4)
    return seconds * 10**9 + nanoseconds
