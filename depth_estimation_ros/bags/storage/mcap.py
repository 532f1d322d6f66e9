"""
Reader of mcap files (https://mcap.dev/spec).

The summary at the end is used if its checksum is correct. Otherwise, or if messages are outside of chunks, all records
are scanned from the beginning.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from depth_estimation_ros.bags.storage.common import (
    FOREVER,
    UNCLOSED,
    Channel,
    Chunk,
    Chunked,
    Message,
    in_order,
    name_of,
)
from depth_estimation_ros.bags.storage.compression import unpack

MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _INDEX, _CHUNK_INDEX, _STATISTICS = 2, 3, 4, 5, 6, 7, 8, 11
_DATA_END = 15
_ENTRY = np.dtype([("time", "<u8"), ("offset", "<u8")])
_LOOSE = np.dtype([("time", "<u8"), ("channel", "<u2"), ("at", "<u8"), ("size", "<u8")])


class Mcap(Chunked):
    """
    Open mcap file; see `Storage`.

    Raises
    ------
    ValueError
        If it is not an mcap file, or is empty.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        self._schemas: dict[int, str] = {}
        self._loose: np.ndarray = np.empty(0, _LOOSE)
        self._size = path.stat().st_size
        try:
            if not self._summarised():
                self._scan()
        except BaseException:
            self._file.close()
            raise

    @property
    def begin(self) -> int:
        """Time of the first message, ns."""
        begins = [chunk.begin for chunk in self.chunks] + self._loose["time"][:1].tolist()
        return min(begins, default=0)

    def messages(self, numbers: set[int], start: int, stop: int) -> Iterator[Message]:
        """See `Storage`."""
        parts = [(start, partial(super().messages, numbers, start, stop))]
        if len(self._loose):
            parts.append((max(start, int(self._loose["time"][0])), partial(self._outside, numbers, start, stop)))
        yield from in_order(parts)

    def times(self, numbers: set[int]) -> np.ndarray:
        """See `Storage`."""
        loose = self._loose["time"][np.isin(self._loose["channel"], list(numbers))].astype(np.int64)
        return np.concatenate([super().times(numbers), loose])

    def _outside(self, numbers: set[int], start: int, stop: int) -> Iterator[Message]:
        """Yield the messages outside of chunks."""
        first, last = np.searchsorted(self._loose["time"], np.array([start, stop], np.uint64))
        rows = self._loose[first:last]
        for row in rows[np.isin(rows["channel"], list(numbers))]:
            self._file.seek(int(row["at"]))
            yield int(row["time"]), int(row["channel"]), self._file.read(int(row["size"]))

    def _summarised(self) -> bool:
        """Read the summary; returns False if it is missing, damaged or incomplete."""
        self._file.seek(max(self._size - 37, 0))
        end = self._file.read(37)
        if len(end) < 37 or end[:9] != struct.pack("<BQ", _FOOTER, 20) or end[29:] != MAGIC:
            return False
        start, _, crc = struct.unpack("<QQI", end[9:29])
        if not 8 <= start < self._size - 37:
            return False
        self._file.seek(start)
        summary = self._file.read(self._size - 37 - start)
        if crc and zlib.crc32(summary + end[:25]) != crc:
            return False
        try:
            statistics = None
            for op, content in _records(summary):
                self._learn(op, content)
                if op == _CHUNK_INDEX:
                    self.chunks.append(_chunk_of_index(content))
                elif op == _STATISTICS:
                    statistics = content
            if statistics is None:
                raise ValueError("nothing says that this is all")
            total, _, _, _, _, chunks = struct.unpack_from("<QHIIII", statistics)
            counts = dict(struct.iter_unpack("<HQ", _sized(statistics, 42)[0]))
            if chunks != len(self.chunks) or sum(counts.values()) != total:
                raise ValueError("it does not agree with itself")
            known = [sum(chunk.counts.values()) for chunk in self.chunks if chunk.counts is not None]
            if sum(known) != total and len(known) == len(self.chunks):
                raise ValueError("messages lie outside of chunks")
            self.counts.update(counts)
            if not self.counts.keys() <= self.channels.keys():
                for chunk in self.chunks:
                    self._count(chunk)
            return True
        except (ValueError, struct.error):
            self.channels.clear()
            self.chunks.clear()
            self.counts.clear()
            return False

    def _scan(self) -> None:
        """Scan all records up to the first invalid one."""
        self._file.seek(0)
        if self._file.read(8) != MAGIC:
            raise ValueError("it is empty" if not self._size else "it does not have the header of an mcap file")
        loose, end, op = [], 8, 0
        while len(head := self._file.read(9)) == 9:
            op, length = struct.unpack("<BQ", head)
            following = end + 9 + length
            if not 0 < op < 0x80 or following > self._size or op in (_DATA_END, _FOOTER):
                break
            if op == _CHUNK and length >= 32:
                begin, last = struct.unpack("<QQ", self._file.read(16))
                self.chunks.append(Chunk.of(begin, last, end))
            elif op == _INDEX and self.chunks and length >= 6:
                channel, array = struct.unpack("<HI", self._file.read(6))
                chunk = self.chunks[-1]
                chunk.counts = chunk.counts or {}
                chunk.counts[channel], chunk.index[channel] = array // 16, end
            elif op in (_SCHEMA, _CHANNEL):
                try:
                    self._learn(op, self._file.read(length))
                except (ValueError, struct.error):
                    self._bad.add(end)
            elif op == _MESSAGE and length >= 22:
                channel, _, time = struct.unpack("<HIQ", self._file.read(14))
                if time < FOREVER:
                    loose.append((time, channel, end + 31, length - 22))
            end = following
            self._file.seek(end)
        if op not in (_DATA_END, _FOOTER):
            self._cut, self._unclosed = self._size - end, UNCLOSED
        for chunk in self.chunks:
            self._count(chunk)
            self.counts.update(chunk.counts)
        self.counts.update(message[1] for message in loose)
        self._loose = np.sort(np.array(loose, _LOOSE), order="time", kind="stable")

    def _learn(self, op: int, content: bytes) -> None:
        """Add a schema or a channel."""
        if op == _SCHEMA:
            self._schemas[struct.unpack_from("<H", content)[0]] = _text(content, 2)[0]
        elif op == _CHANNEL:
            number, schema = struct.unpack_from("<HH", content)
            topic, end = _text(content, 4)
            kind = self._schemas.get(schema, "")
            package, _, name = kind.partition("/")
            kind = kind if "/" in name or not name else f"{package}/msg/{name}"  # from the notation of ROS 1
            self.channels.setdefault(number, Channel(topic, kind, _text(content, end)[0]))

    def _read(self, chunk: Chunk) -> Iterator[Message]:
        self._file.seek(chunk.at)
        op, length = struct.unpack("<BQ", self._file.read(9))
        if op != _CHUNK or chunk.at + 9 + length > self._size:
            raise ValueError("there is no chunk")
        record = self._file.read(length)
        size, crc = struct.unpack_from("<QI", record, 16)
        compression, at = _text(record, 28)
        (packed,) = struct.unpack_from("<Q", record, at)
        content = unpack(record[at + 8 : at + 8 + packed], compression, size)
        if len(content) != size or (crc and zlib.crc32(content) != crc):
            raise ValueError("its checksum is wrong")
        for op, body in _records(content):
            self._learn(op, body)
            if op == _MESSAGE:
                channel, _, time = struct.unpack_from("<HIQ", body)
                if time < FOREVER:
                    yield time, channel, body[22:]

    def _indexed(self, chunk: Chunk, numbers: set[int]) -> np.ndarray | None:
        found: list[np.ndarray] = [np.empty(0, np.int64)]
        for number in numbers & (chunk.counts or {}).keys():
            self._file.seek(chunk.index.get(number, 0))
            op, length, channel, size = struct.unpack("<BQHI", self._file.read(15).ljust(15, b"\0"))
            if op != _INDEX or channel != number or length != size + 6 or size % 16:
                return None
            content = self._file.read(size)
            if len(content) < size:
                return None
            times = np.frombuffer(content, _ENTRY)["time"]
            found.append(times[times < FOREVER].astype(np.int64))
        return np.concatenate(found) if chunk.counts is not None else None


def _chunk_of_index(content: bytes) -> Chunk:
    begin, end, at, length = struct.unpack_from("<QQQQ", content)
    entries, behind = _sized(content, 32)
    index = dict(struct.iter_unpack("<HQ", entries))
    # The message indices of the channels follow the chunk: 15 bytes each plus 16 bytes per message. Without them, the
    # counts are unknown.
    places = sorted((place, channel) for channel, place in index.items())
    ends = [place for place, _ in places[1:]] + [at + length + struct.unpack_from("<Q", content, behind)[0]]
    counts = {channel: (stop - place - 15) // 16 for (place, channel), stop in zip(places, ends, strict=True)}
    return Chunk.of(begin, end, at, {channel: n for channel, n in counts.items() if n} if index else None, index)


def _records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the records of a chunk or a summary."""
    at = 0
    while at < len(content):
        op, length = struct.unpack_from("<BQ", content, at)
        at += 9 + length
        if at > len(content):
            raise ValueError("a record is cut off")
        yield op, content[at - length : at]


def _sized(content: bytes, at: int) -> tuple[bytes, int]:
    """Return the bytes of a field that follow its length, and the position of their end."""
    (size,) = struct.unpack_from("<I", content, at)
    if at + 4 + size > len(content):
        raise ValueError("a field is cut off")
    return content[at + 4 : at + 4 + size], at + 4 + size


def _text(content: bytes, at: int) -> tuple[str, int]:
    text, end = _sized(content, at)
    return name_of(text), end
