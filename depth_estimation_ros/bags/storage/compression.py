"""Decompression of chunks, messages and files with the standard library or packages that rosbags needs."""

from __future__ import annotations

import atexit
import bz2
import shutil
import tempfile
from functools import cache
from pathlib import Path

ZSTD = b"\x28\xb5\x2f\xfd"
"""First bytes of zstd data."""

LARGEST = 2**31
"""Maximum size of a chunk or message in bytes. Recorders write less; a larger size is a sign of damage."""


def unpack(data: bytes, compression: str, size: int = LARGEST) -> bytes:
    """
    Decompress a chunk or a message.

    Parameters
    ----------
    data : bytes
        Compressed data.
    compression : str
        ``zstd``, ``lz4`` (a frame), ``bz2``, ``none`` or nothing.
    size : int
        Maximum size of the result in bytes.

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
        content = unpacker.decompress(data, size + 1)  # one more byte, to detect data that is too long
    except Exception as error:  # each package raises its own exceptions
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
    Decompress a file that rosbag2 compressed, into a temporary folder that is removed when the program exits.

    Returns
    -------
    path : pathlib.Path
        The decompressed file.
    damage : str
        Why only a part could be decompressed; empty if all of it was.

    Raises
    ------
    ValueError
        If nothing can be decompressed.
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
