"""
Reader of ROS 1 bags (http://wiki.ros.org/Bags/Format/2.0).

The index at the end is used if it is complete. Otherwise, for example in a ``.bag.active``, the file is scanned for
chunks from the beginning.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from depth_estimation_ros.bags.storage.common import FOREVER, UNCLOSED, Channel, Chunk, Chunked, Message, name_of
from depth_estimation_ros.bags.storage.compression import LARGEST, unpack

MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _HEADER, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 3, 4, 5, 6, 7
_ENTRY = np.dtype([("seconds", "<u4"), ("nanoseconds", "<u4"), ("offset", "<u4")])
_LONGEST_HEADER = 2**24  # bytes; it may hold a message's definition


class Ros1(Chunked):
    """
    Open ROS 1 bag; see `Storage`.

    Raises
    ------
    ValueError
        If it is not a ROS 1 bag, or is empty.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        self._size = path.stat().st_size
        try:
            if self._file.read(len(MAGIC)) != MAGIC:
                raise ValueError("it does not have the header of a ROS 1 bag" if self._size else "it is empty")
            if not self._summarised():
                self._scan()
            for chunk in self.chunks:
                self._count(chunk)
                self.counts.update(chunk.counts)
        except BaseException:
            self._file.close()
            raise

    def _summarised(self) -> bool:
        """Read the index at the end; returns False if it is incomplete."""
        try:
            head = _header(self._file)
            (index,), (connections,), (chunks,) = (
                struct.unpack(code, head[name])
                for code, name in (("<Q", "index_pos"), ("<I", "conn_count"), ("<I", "chunk_count"))
            )
            if not len(MAGIC) < index <= self._size:
                return False
            self._file.seek(index)
            while self._file.tell() < self._size:
                fields = _header(self._file)
                content = _sized(self._file)
                if fields["op"][0] == _CONNECTION:
                    self._learn(fields, content)
                elif fields["op"][0] == _CHUNK_INFO:
                    (at,), times = struct.unpack("<Q", fields["chunk_pos"]), (fields["start_time"], fields["end_time"])
                    if not len(MAGIC) <= at < index:
                        raise ValueError("there is no chunk")
                    self.chunks.append(Chunk.of(*map(_time, times), at, dict(struct.iter_unpack("<II", content))))
            if (len(self.channels), len(self.chunks)) != (connections, chunks):
                raise ValueError("it is not all")
            return True
        except (ValueError, KeyError, IndexError, struct.error):
            self.channels.clear()
            self.chunks.clear()
            return False

    def _scan(self) -> None:
        """Scan the file for chunks up to the first invalid record."""
        end = len(MAGIC)
        while end < self._size:
            self._file.seek(end)
            try:
                fields = _header(self._file)
                op, (length,), data = fields["op"][0], struct.unpack("<I", self._file.read(4)), self._file.tell()
                if op == _CONNECTION:
                    self._learn(fields, self._file.read(length))
                elif op == _INDEX and self.chunks:
                    (number,), chunk = struct.unpack("<I", fields["conn"]), self.chunks[-1]
                    times = _times(self._file.read(length))
                    chunk.counts = {**(chunk.counts or {}), number: len(times)}
                    known = [chunk.begin, chunk.end] if chunk.end < FOREVER else []
                    chunk.begin, chunk.end = min([*known, int(times.min())]), max([*known, int(times.max())])
                elif op == _CHUNK:
                    self.chunks.append(Chunk.of(1, 0, end))
            except (ValueError, KeyError, IndexError, struct.error):
                break
            if data + length > self._size or (op == _CHUNK and not length):
                # An unfinished or truncated chunk: its complete messages are read.
                end = self._size if op == _CHUNK else end
                break
            end = data + length
        self._cut, self._unclosed = self._size - end, UNCLOSED

    def _learn(self, fields: dict[str, bytes], content: bytes) -> None:
        """Add a connection."""
        (number,) = struct.unpack("<I", fields["conn"])
        if number not in self.channels:
            kind = name_of(_fields(content)["type"])
            topic = name_of(fields["topic"])
            topic = "/" * topic.startswith("/") + "/".join(filter(None, topic.split("/")))
            self.channels[number] = Channel(topic, "/msg/".join(kind.split("/", 1)), "ros1")

    def _read(self, chunk: Chunk) -> Iterator[Message]:
        self._file.seek(chunk.at)
        fields = _header(self._file)
        (length,) = struct.unpack("<I", self._file.read(4))
        if fields["op"][0] != _CHUNK:
            raise ValueError("there is no chunk")
        compression = fields["compression"].decode(errors="replace")
        (size,) = struct.unpack("<I", fields["size"])
        whole = 0 < length <= self._size - self._file.tell()
        content = unpack(self._file.read(length if whole else -1), compression, (size if whole else 0) or LARGEST)
        at = 0
        while at < len(content):
            head, at = _part(content, at)
            data, at = _part(content, at)
            fields = _fields(head)
            if fields["op"][0] == _CONNECTION:
                self._learn(fields, data)
            elif fields["op"][0] == _MESSAGE:
                yield _time(fields["time"]), struct.unpack("<I", fields["conn"])[0], data

    def _indexed(self, chunk: Chunk, numbers: set[int]) -> np.ndarray | None:
        """Read the index records that follow a chunk."""
        counts = chunk.counts or {}
        wanted = numbers & counts.keys()
        found: dict[int, np.ndarray] = {}
        self._file.seek(chunk.at)
        _header(self._file)
        (length,) = struct.unpack("<I", self._file.read(4))
        self._file.seek(length, 1)
        while not wanted <= found.keys():
            fields = _header(self._file)
            content = _sized(self._file)
            (number,) = struct.unpack("<I", fields["conn"])
            found[number] = _times(content)
            if fields["op"][0] != _INDEX or len(found[number]) != counts.get(number):
                return None
        return np.concatenate([np.empty(0, np.int64)] + [found[number] for number in wanted])


def _header(file: BinaryIO) -> dict[str, bytes]:
    """Read the header of a record."""
    (size,) = struct.unpack("<I", file.read(4))
    if size > _LONGEST_HEADER:
        raise ValueError("a header is too long")
    return _fields(file.read(size))


def _sized(file: BinaryIO) -> bytes:
    """Read the data of a record."""
    (size,) = struct.unpack("<I", file.read(4))
    content = file.read(size)
    if len(content) < size:
        raise ValueError("a record is cut off")
    return content


def _part(content: bytes, at: int) -> tuple[bytes, int]:
    """Return the bytes of a field that follow its length, and the position of their end."""
    (size,) = struct.unpack_from("<I", content, at)
    if at + 4 + size > len(content):
        raise ValueError("a record is cut off")
    return content[at + 4 : at + 4 + size], at + 4 + size


def _fields(header: bytes) -> dict[str, bytes]:
    """Split a header into ``name=value`` fields, each preceded by its length."""
    fields, at = {}, 0
    while at < len(header):
        field, at = _part(header, at)
        name, _, value = field.partition(b"=")
        fields[name.decode(errors="replace")] = value
    return fields


def _times(index: bytes) -> np.ndarray:
    """Return the times of an index record, ns."""
    entries = np.frombuffer(index, _ENTRY)
    return entries["seconds"] * np.int64(10**9) + entries["nanoseconds"]


def _time(value: bytes) -> int:
    seconds, nanoseconds = struct.unpack("<II", value)
    return seconds * 10**9 + nanoseconds
