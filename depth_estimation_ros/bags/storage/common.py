"""Common parts of the storages: channels, chunks, and messages in the order of time."""

from __future__ import annotations

import heapq
import struct
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

FOREVER = 2**63 - 1
"""Largest possible time, ns."""

UNCLOSED = "the recording was not closed"

Message = tuple[int, int, bytes]  # time of receipt in ns, channel, content


class Channel(NamedTuple):
    """Messages of one publisher: topic, type in the notation of ROS 2, encoding (``cdr``, ``ros1`` or another)."""

    topic: str
    kind: str
    encoding: str


def name_of(stored: bytes | str) -> str:
    """Return a stored name as printable text on one line; invalid characters are replaced."""
    text = stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored)
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


class Storage(Protocol):
    """
    One file of a bag.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    channels : dict of int to Channel
        Channels by their number in the file.
    counts : mapping of int to int
        Number of messages by channel, according to the index.
    """

    path: Path
    channels: dict[int, Channel]
    counts: Counter[int]

    @property
    def begin(self) -> int:
        """Time of the first message, ns."""

    @property
    def damage(self) -> str:
        """Known damage of the file; empty if there is none."""

    def messages(self, numbers: set[int], start: int, stop: int) -> Iterator[Message]:
        """Yield time, channel and content of the messages of the given channels, in the order of time."""

    def times(self, numbers: set[int]) -> np.ndarray:
        """Return the times of the messages of the given channels, int64 [n] ns, in any order."""

    def close(self) -> None:
        """Close the file."""


@dataclass
class Chunk:
    """Messages that are stored together: time range, position in the file, and number by channel (if known)."""

    begin: int
    end: int
    at: int
    counts: dict[int, int] | None = None
    index: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, begin: int, end: int, *more) -> Chunk:
        """Create a chunk; an impossible time range is replaced by all times."""
        return cls(*((begin, end) if begin <= end < FOREVER else (0, FOREVER)), *more)


class Chunked:
    """Base of storages with chunks; a subclass finds the chunks and reads one at a time."""

    def __init__(self, path: Path):
        self.path = path
        self.channels: dict[int, Channel] = {}
        self.chunks: list[Chunk] = []
        self.counts: Counter[int] = Counter()
        self._bad: set[int] = set()  # positions of damaged chunks
        self._cut, self._unclosed = 0, ""
        self._file = path.open("rb")

    @property
    def begin(self) -> int:
        """Time of the first message, ns."""
        return min((chunk.begin for chunk in self.chunks), default=0)

    @property
    def damage(self) -> str:
        """See `Storage`."""
        parts = [f"the last {self._cut / 1e6:.3g} MB"] if self._cut > 0 else []
        parts += ["damaged chunks"] if self._bad else []
        return f"{' and '.join(parts)} cannot be read" if parts else self._unclosed

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def messages(self, numbers: set[int], start: int, stop: int) -> Iterator[Message]:
        """See `Storage`."""
        parts = [
            (max(chunk.begin, start), partial(self._chosen, chunk, numbers, start, stop))
            for chunk in self.chunks
            if chunk.begin < stop and chunk.end >= start and _may_hold(chunk, numbers)
        ]
        yield from in_order(parts)

    def times(self, numbers: set[int]) -> np.ndarray:
        """See `Storage`."""
        found: list[np.ndarray] = [np.empty(0, np.int64)]
        for chunk in self.chunks:
            if not _may_hold(chunk, numbers):
                continue
            try:
                times = self._indexed(chunk, numbers)
            except (OSError, ValueError, LookupError, struct.error):  # errors from wrong numbers in an index
                times = None
            if times is None:
                times = np.array([message[0] for message in self._chosen(chunk, numbers, 0, FOREVER)], np.int64)
            found.append(np.asarray(times, np.int64))
        return np.concatenate(found)

    def _chosen(self, chunk: Chunk, numbers: set[int], start: int, stop: int) -> Iterator[Message]:
        yield from sorted(
            (m for m in self._whole(chunk) if m[1] in numbers and start <= m[0] < stop), key=lambda m: m[0]
        )

    def _whole(self, chunk: Chunk) -> list[Message]:
        """Read a chunk, or the messages before the damage in it."""
        found: list[Message] = []
        try:
            for message in self._read(chunk):
                found.append(message)
        except Exception:  # damaged data can raise any exception
            self._bad.add(chunk.at)
        return found

    def _count(self, chunk: Chunk) -> None:
        """Count the messages of a chunk by its content if the index has no counts, or counts of unknown channels."""
        if chunk.counts is None or not chunk.counts.keys() <= self.channels.keys():
            found = self._whole(chunk)
            chunk.counts = Counter(message[1] for message in found)
            times = [message[0] for message in found]
            chunk.begin, chunk.end = min(times, default=0), max(times, default=0)

    def _read(self, chunk: Chunk) -> Iterable[Message]:
        """Read a chunk and add its channels; may raise any exception if the data is damaged."""
        raise NotImplementedError

    def _indexed(self, chunk: Chunk, numbers: set[int]) -> np.ndarray | None:
        """Return the times of a chunk from its index; None if it has no index."""
        raise NotImplementedError


def _may_hold(chunk: Chunk, numbers: set[int]) -> bool:
    return chunk.counts is None or not numbers.isdisjoint(chunk.counts)


def in_order(parts: Iterable[tuple[int, Callable[[], Iterator[tuple]]]]) -> Iterator[tuple]:
    """
    Merge parts by time; a part is opened only when its start time is reached.

    Parameters
    ----------
    parts : iterable of (int, callable)
        Start time of each part, and a function that returns an iterator of its messages. Messages are tuples whose
        first element is the time.
    """
    waiting = deque(sorted(parts, key=lambda part: part[0]))
    heap: list[tuple] = []
    begun = 0
    while waiting or heap:
        while waiting and (not heap or waiting[0][0] <= heap[0][0]):
            messages = waiting.popleft()[1]()
            if (first := next(messages, None)) is not None:
                heapq.heappush(heap, (first[0], begun, first, messages))
                begun += 1
        if not heap:
            return
        _, place, message, messages = heap[0]
        yield message
        if (following := next(messages, None)) is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following[0], place, following, messages))
