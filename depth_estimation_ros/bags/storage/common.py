"""What the storages have in common: channels, chunks, and messages in the order of their times."""

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
"""The last time that can be, ns."""

UNCLOSED = "the recording was not closed"

Message = tuple[int, int, bytes]  # time of receipt in ns, channel, content


class Channel(NamedTuple):
    """A stream of messages of one publisher: topic, type in the manner of ROS 2, ``cdr`` or ``ros1`` (or another)."""

    topic: str
    kind: str
    encoding: str


def name_of(stored: bytes | str) -> str:
    """Return a name of a file as text for one line; what is damaged in it is replaced."""
    text = stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored)
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


class Storage(Protocol):
    """
    A file of a bag.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    channels : dict of int to Channel
        By the numbers that the file gives them.
    counts : mapping of int to int
        Messages by channel, as the index says.
    begin : int
        Time of the first message, ns.
    """

    path: Path
    channels: dict[int, Channel]
    counts: Counter
    begin: int

    @property
    def damage(self) -> str:
        """What is wrong with it, as far as it is known; empty if nothing is."""

    def messages(self, numbers: set[int], start: int, stop: int) -> Iterator[Message]:
        """Yield time, channel and content of the messages of some channels, in the order of time."""

    def times(self, numbers: set[int]) -> np.ndarray:
        """Return the times of the messages of some channels, int64 [n] ns, in any order."""

    def close(self) -> None:
        """Close the file."""


@dataclass
class Chunk:
    """Messages that are stored together: their times, where they are, and how many of each channel (if known)."""

    begin: int
    end: int
    at: int
    counts: dict[int, int] | None = None
    index: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, begin: int, end: int, *more) -> Chunk:
        """Make a chunk; times that cannot be are as none at all."""
        return cls(*((begin, end) if begin <= end < FOREVER else (0, FOREVER)), *more)


class Chunked:
    """A storage of chunks; who inherits finds them, and reads one."""

    def __init__(self, path: Path):
        self.path, self.channels, self.chunks = path, {}, []
        self.counts: Counter = Counter()
        self._cut, self._bad, self._unclosed = 0, set(), ""
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
        found = [np.empty(0, np.int64)]
        for chunk in self.chunks:
            if not _may_hold(chunk, numbers):
                continue
            try:
                times = self._indexed(chunk, numbers)
            except (OSError, ValueError, LookupError, struct.error):  # what wrong numbers in an index lead to
                times = None
            if times is None:
                times = [message[0] for message in self._chosen(chunk, numbers, 0, FOREVER)]
            found.append(np.asarray(times, np.int64))
        return np.concatenate(found)

    def _chosen(self, chunk: Chunk, numbers: set[int], start: int, stop: int) -> Iterator[Message]:
        yield from sorted(
            (m for m in self._whole(chunk) if m[1] in numbers and start <= m[0] < stop), key=lambda m: m[0]
        )

    def _whole(self, chunk: Chunk) -> list[Message]:
        """Read a chunk; if it is damaged, what is left of it."""
        found: list[Message] = []
        try:
            for message in self._read(chunk):
                found.append(message)
        except Exception:  # whatever wrong bytes lead to
            self._bad.add(chunk.at)
        return found

    def _count(self, chunk: Chunk) -> None:
        """Count by the content what the index does not say, or says of channels that are not known."""
        if chunk.counts is None or not chunk.counts.keys() <= self.channels.keys():
            found = self._whole(chunk)
            chunk.counts = Counter(message[1] for message in found)
            times = [message[0] for message in found]
            chunk.begin, chunk.end = min(times, default=0), max(times, default=0)

    def _read(self, chunk: Chunk) -> Iterable[Message]:
        """Read a chunk; learns channels; raises what it likes if the bytes are wrong."""
        raise NotImplementedError

    def _indexed(self, chunk: Chunk, numbers: set[int]) -> np.ndarray | None:
        """Return the times of a chunk by its index; None if it has none."""
        raise NotImplementedError


def _may_hold(chunk: Chunk, numbers: set[int]) -> bool:
    return chunk.counts is None or not numbers.isdisjoint(chunk.counts)


def in_order(parts: Iterable[tuple[int, Callable[[], Iterator[tuple]]]]) -> Iterator[tuple]:
    """
    Merge parts by time, and begin to read one only when its time has come.

    Parameters
    ----------
    parts : iterable of (int, callable)
        When each begins, and what then gives its messages: tuples that begin with the time.
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
