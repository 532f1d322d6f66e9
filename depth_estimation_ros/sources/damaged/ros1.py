"""The chunks of a ROS 1 bag without its index."""

from __future__ import annotations

from collections import defaultdict
from io import BytesIO
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader, ReaderError
from rosbags.rosbag1.reader import Chunk, ChunkInfo, Header, IndexData, RecordType, read_uint32

from depth_estimation_ros.sources.damaged.loss import BROKEN, loss


class DamagedRos1(Reader):
    """A ROS 1 bag without an index (``.bag.active``), or cut off: the chunks are found from the beginning."""

    def __init__(self, path: Path, thorough: bool = False):
        super().__init__(path)
        self._thorough, self.lost = thorough, ""

    def open(self) -> None:
        """Scan the file; raises ReaderError if it does not begin as a bag."""
        self.bio = self.path.open("rb")
        size = self.path.stat().st_size
        if self.bio.readline(16) != b"#ROSBAG V2.0\n":
            self.bio.close()
            raise ReaderError("it does not begin as a ROS 1 bag")
        self._connections: dict[int, Connection] = {}
        self._found: dict[int, list[IndexData]] = defaultdict(list)
        self._cut, dropped, end = False, 0, self.bio.tell()
        while end < size:
            try:
                header = Header.read(self.bio)
                op, length, data = header.get_uint8("op"), read_uint32(self.bio), self.bio.tell()
                if op == RecordType.CHUNK:
                    following = self._add_chunk(end, size)
                    dropped += following < 0
                    following = abs(following)
                else:
                    following = data + length
            except BROKEN:
                break
            if following > size:
                break
            end = following
            self.bio.seek(end)
        self.indexes = {number: sorted(found) for number, found in self._found.items()}
        self.connections = [
            c._replace(msgcount=len(self.indexes[number]))
            for number, c in sorted(self._connections.items())
            if number in self.indexes
        ]
        self.lost = loss(size - end, dropped) or ("the end of the last chunk" if self._cut else "")

    def _add_chunk(self, position: int, size: int) -> int:
        """Note the chunk at a position and what is in it; return where it ends, negative if it is not readable."""
        self.bio.seek(position)
        chunk = self.read_chunk()
        if chunk.datasize == 0 or chunk.datapos + chunk.datasize > size:
            # The chunk that was being written (its size would have been filled in at its end), or that was cut off.
            chunk = Chunk(size - chunk.datapos, chunk.datapos, chunk.decompressor)
            self._cut = True
        end = chunk.datapos + chunk.datasize
        indexes: dict[int, list[IndexData]] = defaultdict(list)
        following, counted = self._read_indexes(position, end, size, indexes)
        if self._thorough or not counted or not indexes.keys() <= self._connections.keys():
            self.bio.seek(chunk.datapos)
            try:
                indexes = self._read_content(position, chunk.decompressor(self.bio.read(chunk.datasize)))
            except Exception:  # bz2 and lz4 raise errors of their own
                return -following
        self.chunks[position] = chunk
        times = [entry.time for entries in indexes.values() for entry in entries] or [0]
        counts = {number: len(entries) for number, entries in indexes.items()}
        self.chunk_infos.append(ChunkInfo(position, min(times), max(times) + 1, counts))
        for number, entries in indexes.items():
            self._found[number] += entries
        return following

    def _read_indexes(self, position: int, end: int, size: int, indexes: dict) -> tuple[int, bool]:
        """Read the index records behind a chunk; return where they end, and whether there were any."""
        counted = False
        while end < size:
            self.bio.seek(end)
            try:
                if Header.read(self.bio).get_uint8("op") != RecordType.IDXDATA:
                    break
                following = read_uint32(self.bio) + self.bio.tell()
                if following > size:
                    break
                self.bio.seek(end)
                self.read_index_data(position, indexes)
            except BROKEN:
                break
            end, counted = following, True
        return end, counted

    def _read_content(self, position: int, content: bytes) -> dict[int, list[IndexData]]:
        """Index the records of a chunk, and learn their connections; what is cut off at the end is left out."""
        indexes: dict[int, list[IndexData]] = defaultdict(list)
        file, self.bio = self.bio, BytesIO(content)
        try:
            while (offset := self.bio.tell()) < len(content):
                try:
                    header = Header.read(self.bio)
                    following = read_uint32(self.bio) + self.bio.tell()
                    if following > len(content):
                        break
                    if header.get_uint8("op") == RecordType.CONNECTION:
                        self.bio.seek(offset)
                        connection = self.read_connection()
                        self._connections[connection.id] = connection
                    elif header.get_uint8("op") == RecordType.MSGDATA:
                        indexes[header.get_uint32("conn")].append(IndexData(header.get_time("time"), position, offset))
                except BROKEN:
                    break
                self.bio.seek(following)
        finally:
            self.bio = file
        return indexes
