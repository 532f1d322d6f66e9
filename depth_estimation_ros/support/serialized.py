"""Reading of serialised messages without deserialising them."""

from __future__ import annotations

import struct


def header_stamp(raw: bytes) -> int:
    """
    Return the stamp of a serialised message that begins with a header, in nanoseconds.

    CDR: four bytes, of which the second gives the byte order, then the header's seconds and nanoseconds.
    """
    seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] else ">iI", raw, 4)
    return seconds * 10**9 + nanoseconds
