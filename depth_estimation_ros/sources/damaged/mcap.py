"""The chunks of an mcap without its summary."""

from __future__ import annotations

import struct
from collections import Counter
from io import BytesIO
from pathlib import Path

from rosbags.rosbag2 import ReaderError
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, decompress, zstd

from depth_estimation_ros.sources.damaged.loss import BROKEN, loss

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _INDEX, _DATA_END = 3, 4, 5, 6, 7, 15


class DamagedMcap(McapReader):
    """
    An mcap without a summary, or with one that cannot be trusted: the chunks are found from the beginning.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    thorough : bool
        Unpack every chunk and leave out those whose checksum is wrong; without it, only the sizes are looked at.
    """

    def __init__(self, path: Path, thorough: bool = False):
        super().__init__(path)
        self._thorough, self.lost = thorough, ""

    def open(self) -> None:
        """Scan the file; raises ReaderError if it does not begin as an mcap."""
        self.bio = self.path.open("rb")
        size = self.path.stat().st_size
        if self.bio.read(8) != _MAGIC:
            self.bio.close()
            raise ReaderError("it does not begin as an mcap")
        loose, dropped, end, op = [], 0, 8, 0
        while len(head := self.bio.read(9)) == 9:
            op, length = struct.unpack("<BQ", head)
            position, following = end, end + 9 + length
            if not 0 < op < 0x80 or following > size or op == _DATA_END:
                break
            if op == _CHUNK:
                dropped += not self._add_chunk(position, length)
            elif op == _INDEX and self.chunks and length >= 6:
                channel, array = struct.unpack("<HI", self.bio.read(6))
                self.chunks[-1].message_index_offsets[channel] = position
                self.chunks[-1].channel_count[channel] = array // 16
            elif op in (_SCHEMA, _CHANNEL):
                self._learn(head + self.bio.read(length))
            elif op == _MESSAGE:
                loose.append(length)
            end = following
            self.bio.seek(end)
        dropped += self._complete()
        if loose and not self.chunks:
            self.data_start, self.data_end = 8, end
            self.meta_scan()
            counts = self.statistics.channel_message_counts
        else:
            counts = sum((Counter(chunk.channel_count) for chunk in self.chunks), Counter())
        times = [(c.message_start_time, c.message_end_time + 1) for c in self.chunks] or [
            (self.statistics.start_time, self.statistics.end_time + 1) if loose else (2**63 - 1, 0)
        ]
        start, stop = min(t[0] for t in times), max(t[1] for t in times)
        self.connections = [c._replace(msgcount=counts.get(c.id, 0)) for c in self.connections]
        self.metadata = self.metadata._replace(
            start_time=start, end_time=stop, duration=max(stop - start, 0), message_count=sum(counts.values())
        )
        self.lost = loss(size - end if op != _DATA_END else 0, dropped)

    def _add_chunk(self, position: int, length: int) -> bool:
        """Note a chunk; False if its head makes no sense."""
        start, stop, unpacked, _, name_size = struct.unpack("<QQQII", self.bio.read(32))
        if name_size > 16:
            return False
        name = self.bio.read(name_size).decode(errors="replace")
        (packed,) = struct.unpack("<Q", self.bio.read(8))
        if 40 + name_size + packed > length:
            return False
        self.chunks.append(ChunkInfo(start, stop, position, 9 + length, {}, 0, name, packed, unpacked, {}))
        return True

    def _complete(self) -> int:
        """Unpack the chunks that have topics not met before, or no index; return how many could not be."""
        good = []
        for chunk in self.chunks:
            known = {connection.id for connection in self.connections}
            if self._thorough or not chunk.channel_count or not chunk.channel_count.keys() <= known:
                try:
                    counts = self._learn(self._content(chunk))
                except (*BROKEN, zstd.ZstdError):
                    continue
                chunk.channel_count.update(counts)
            good.append(chunk)
        bad = len(self.chunks) - len(good)
        self.chunks[:] = good
        return bad

    def _content(self, chunk: ChunkInfo) -> bytes:
        self.bio.seek(chunk.chunk_start_offset + 9 + 24)
        (crc,) = struct.unpack("<I", self.bio.read(4))
        self.bio.seek(chunk.chunk_start_offset + 9 + 40 + len(chunk.compression))
        return decompress(self.bio.read(chunk.compressed_size), chunk.compression, chunk.uncompressed_size, crc)

    def _learn(self, records: bytes) -> dict[int, int]:
        """Take in the schemas and channels among some records; return the messages of each channel."""
        file, self.bio = self.bio, BytesIO(records)
        self.data_start, self.data_end = 0, len(records)
        try:
            self.meta_scan()
        finally:
            self.bio = file
        return self.statistics.channel_message_counts
