"""The compressions of chunks, messages and files, by the standard library's or rosbags' own packages."""

from __future__ import annotations

import atexit
import bz2
import shutil
import tempfile
from functools import cache
from pathlib import Path

ZSTD = b"\x28\xb5\x2f\xfd"
"""How what is compressed with zstd begins."""

LARGEST = 2**31
"""Bytes that a chunk or a message may have: no recorder writes more, but a wrong bit may say so."""


def unpack(data: bytes, compression: str, size: int = LARGEST) -> bytes:
    """
    Decompress a chunk or a message.

    Parameters
    ----------
    data : bytes
        As stored.
    compression : str
        ``zstd``, ``lz4`` (a frame), ``bz2``, ``none`` or nothing.
    size : int
        Bytes that are expected at most.

    Raises
    ------
    ValueError
        If the data is damaged or larger than expected, or the compression is unknown.
    """
    if compression in ("", "none"):
        return data
    if compression not in ("zstd", "lz4", "bz2"):
        raise ValueError(f"compression '{compression}' is unknown")
    if size > LARGEST:
        raise ValueError(f"{size} bytes are more than a chunk can have")
    try:
        unpacker = _unpacker(compression)
        content = unpacker.decompress(data, size + 1)  # one more, to see whether there is more
    except Exception as error:  # each package has its own
        raise ValueError(f"{compression}: {error}") from None
    if len(content) > size or not unpacker.eof:
        raise ValueError(f"{compression}: {'more' if len(content) > size else 'less'} than there should be")
    return content


def _unpacker(compression: str):
    if compression == "bz2":
        return bz2.BZ2Decompressor()
    if compression == "lz4":
        from lz4.frame import LZ4FrameDecompressor

        return LZ4FrameDecompressor()
    return _zstd().ZstdDecompressor()


def _zstd():
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        from backports import zstd
    return zstd


def unpacked_file(path: Path) -> tuple[Path, str]:
    """
    Decompress a file that rosbag2 compressed as a whole, into a temporary folder that is kept until the end.

    Returns
    -------
    path : pathlib.Path
        The decompressed file.
    damage : str
        Why not all of it could be; empty if it could.

    Raises
    ------
    ValueError
        If nothing of it can be.
    """
    status = path.stat()
    return _unpacked_file(path.absolute(), status.st_mtime_ns, status.st_size)


@cache
def _unpacked_file(path: Path, *_version: int) -> tuple[Path, str]:
    folder = tempfile.mkdtemp(prefix="bag_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target, damage = Path(folder, path.stem), ""
    try:
        with path.open("rb") as packed, target.open("wb") as out:
            unpacker = _zstd().ZstdDecompressor()
            while data := packed.read(1 << 20):
                if unpacker.eof:  # another frame
                    data, unpacker = unpacker.unused_data + data, _zstd().ZstdDecompressor()
                out.write(unpacker.decompress(data))
            damage = "" if unpacker.eof else "its end is missing"
    except _zstd().ZstdError as error:
        damage = str(error)
    except OSError as error:
        raise ValueError(f"'{path}' cannot be decompressed into {folder}: {error.strerror}") from None
    if not target.stat().st_size:
        raise ValueError(f"'{path}' cannot be decompressed: {damage}")
    return target, damage
