"""The files of a bag, opened with rosbags: as they should be, or what is left of them."""

from __future__ import annotations

import struct
import zlib
from contextlib import ExitStack, suppress
from pathlib import Path

import apsw
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag1 import ReaderError as Ros1Error
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.rosbag2.storage_mcap import zstd
from rosbags.typesys import Stores, get_typestore

from depth_estimation_ros.sources.damaged import DamagedMcap, DamagedRos1, DamagedSqlite

_ZSTD = b"\x28\xb5\x2f\xfd"  # how what is compressed with it begins
_DAMAGED = {".mcap": DamagedMcap, ".db3": DamagedSqlite}

DAMAGE = (AnyReaderError, Ros1Error, ReaderError, AssertionError, EOFError, RuntimeError, OSError, KeyError)
DAMAGE += (struct.error, zlib.error, zstd.ZstdError, apsw.Error)
"""What rosbags raises when the bytes of a bag are not what its index says."""


class DamagedBag(AnyReader):
    """
    Reads storages that were chosen and repaired here, where AnyReader would choose them by the name of the bag.

    Attributes
    ----------
    notes : list of str
        What is missing.
    thorough : bool
        Whether the storages have been read through, so that another attempt is of no use.
    """

    def __init__(self, path: Path, readers: list, notes: list[str], thorough: bool):
        self.paths, self.readers, self.is2 = [path], readers, isinstance(readers[0], Reader)
        self.stack: ExitStack | None = None
        self.connections, self.typestore, self.default_typestore = [], get_typestore(Stores.EMPTY), _types()
        self.notes, self.thorough = notes, thorough

    def deserialize(self, rawdata: bytes, typ: str) -> object:
        """Decode a message; that each was compressed by itself, the lost metadata would have said."""
        packed = self.is2 and rawdata[:4] == _ZSTD
        return super().deserialize(zstd.decompress(rawdata) if packed else rawdata, typ)


def open_whole(path: Path) -> AnyReader:
    """Open a bag; raises whatever a damaged file makes rosbags stumble over."""
    reader = AnyReader([path], default_typestore=_types())
    reader.open()
    files = path.glob("*.db3") if path.is_dir() else [path]
    if any(_has_log(file) for file in files):
        reader.close()
        raise ValueError("its last messages are still in the write-ahead log")
    return reader


def open_damaged(path: Path, error: Exception, thorough: bool = False) -> DamagedBag:
    """
    Open what is left of a bag.

    Parameters
    ----------
    path : pathlib.Path
        File or folder.
    error : Exception
        Why it is thought to be damaged.
    thorough : bool
        Read everything to find out what can be read, and not only what the sizes say.

    Raises
    ------
    ValueError
        If nothing is left.
    """
    notes, readers = [], []
    if path.is_dir():
        files = sorted((file for file in path.iterdir() if file.suffix in _DAMAGED), key=_number)
        if not files and any(file.suffix == ".zstd" for file in path.iterdir()):
            raise ValueError(
                f"'{path}' is damaged and compressed as a whole: unpack its files with zstd -d and try again ({error})"
            )
        lost = not (path / "metadata.yaml").exists()
        reason = "the recording was not closed" if lost else str(error).rstrip(".")
        notes.append(f"'{path.name}' is read without a metadata.yaml: {reason}")
    else:
        files = [path]
    for file in files:
        reader, note = _open_file(file, thorough)
        notes += [note] if note else []
        readers += [reader] if reader else []
    if readers:
        bag = DamagedBag(path, readers, notes, thorough)
        with suppress(Exception):  # as above; the first error says more
            bag.open()
            return bag
    reason = str(error).rstrip(".")
    raise ValueError(f"'{path}' is not a readable bag: {reason}; no message of it can be rescued") from None


def _open_file(file: Path, thorough: bool) -> tuple[object | None, str]:
    """Return a reader, not open, of what can be read of a file, and what is missing of it."""
    if file.suffix in _DAMAGED:
        if not thorough and not _has_log(file):
            with suppress(Exception), Reader(file):
                return Reader(file), ""
        reader = Reader(file)
        reader.storage = storage = _DAMAGED[file.suffix](file, thorough)
    else:
        reader = storage = DamagedRos1(file, thorough)
    try:
        with reader:
            count = sum(connection.msgcount for connection in reader.connections)
            missing = f"{storage.lost} cannot be read" if storage.lost else "the recording was not closed"
    except Exception as error:  # whatever the bytes make the readers stumble over
        return None, f"'{file.name}' is left out: {error}"
    note = f"'{file.name}' is damaged: {missing}; {count} messages are left"
    return (reader if count else None), note


def _types():
    """Return the types for bags of before Iron, which do not hold their own definitions."""
    return get_typestore(Stores.ROS2_JAZZY)


def _has_log(file: Path) -> bool:
    """Whether a sqlite3 bag has messages in a write-ahead log, which rosbags does not read."""
    log = file.with_name(file.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _number(file: Path) -> tuple[int, str]:
    """Sort run_2 before run_10, which holds what came later."""
    last = file.stem.rpartition("_")[2]
    return (int(last) if last.isdigit() else -1, file.name)
