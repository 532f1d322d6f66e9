"""Opening bags of either ROS with rosbags, whole or damaged, and reading their messages in the order of receipt."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Topic(NamedTuple):
    """A topic of a bag: the type of its messages in the manner of ROS 2, and how many there are."""

    kind: str
    count: int


class BagReader:
    """
    A bag that is open: ROS 1, rosbag2 sqlite3 or mcap.

    Of a damaged one, what is there is read, and `notes` say what is missing.

    Parameters
    ----------
    path : pathlib.Path
        A file (``.bag``, ``.bag.active``, ``.mcap``, ``.db3``) or a rosbag2 folder.

    Attributes
    ----------
    notes : list of str
        What the user should know of the bag, one sentence each.
    topics : dict of str to Topic
        Those with messages.
    undecodable : collections.Counter
        Messages that could not be decoded, by topic; counted while reading.

    Raises
    ------
    ValueError
        If it is no readable bag.
    """

    def __init__(self, path: Path):
        try:
            from depth_estimation_ros.sources import bag_files
        except ImportError:
            raise ValueError("bags are read with the package rosbags; install it: pip install rosbags") from None
        self.path, self.notes, self.undecodable, self._files = path, [], Counter(), bag_files
        try:
            self._reader = bag_files.open_whole(path)
        except Exception as error:  # whatever a damaged file makes the reader stumble over
            self._reader = bag_files.open_damaged(path, error)
            self.notes += self._reader.notes
        kinds = {c.topic: c.msgtype for c in self._reader.connections}
        counts = Counter()
        for connection in self._reader.connections:
            counts[connection.topic] += connection.msgcount
        self.topics = {topic: Topic(kind, counts[topic]) for topic, kind in kinds.items() if counts[topic]}

    def __enter__(self) -> BagReader:
        """Return the reader, to be closed at the end."""
        return self

    def __exit__(self, *_) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def of_kind(self, *kinds: str) -> list[str]:
        """Return the topics of some types, in the order of the bag."""
        return [name for name, topic in self.topics.items() if topic.kind in kinds]

    def listing(self) -> str:
        """Return all topics with their types, for a sentence."""
        return ", ".join(f"{name} ({topic.kind})" for name, topic in self.topics.items()) or "none"

    def messages(
        self, topics: Iterable[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[str, int, object]]:
        """
        Read messages in the order of receipt.

        A chunk that turns out to be damaged is left out, with a note.

        Parameters
        ----------
        topics : iterable of str
            Which.
        start, stop : int, optional
            Times of receipt in nanoseconds, from and before.

        Yields
        ------
        topic : str
        received : int
            Nanoseconds.
        message : object or None
            None where it cannot be decoded.
        """
        topics, last, again = set(topics), start, 0
        try:
            for item in self._read(topics, start, stop):
                again = again + 1 if item[1] == last else 1
                last = item[1]
                yield item
            return
        except self._files.DAMAGE as error:
            self._leave_out_damage(error)
        for item in self._read(topics, last, stop):
            if item[1] == last and again > 0:
                again -= 1  # was given before the damage
                continue
            yield item

    def _read(self, topics: set[str], start: int | None, stop: int | None) -> Iterator[tuple[str, int, object]]:
        chosen = [c for c in self._reader.connections if c.topic in topics]
        if not chosen:
            return
        for connection, received, raw in self._reader.messages(chosen, start, stop):
            try:
                message = self._reader.deserialize(raw, connection.msgtype)
            except Exception:  # rosbags' decoder is generated code, which fails in as many ways as bytes can be wrong
                self.undecodable[connection.topic] += 1
                message = None
            yield connection.topic, received, message

    def _leave_out_damage(self, error: Exception) -> None:
        """Open the bag again without its damaged parts; raises the error if it is already so."""
        if getattr(self._reader, "thorough", False):
            raise ValueError(f"'{self.path}' cannot be read: {error}") from None
        damaged = self._files.open_damaged(self.path, error, thorough=True)
        self._reader.close()
        self._reader = damaged
        self.notes += [note for note in damaged.notes if note not in self.notes]

    def times(self, topic: str) -> np.ndarray:
        """
        Return when each message of a topic was received, without reading the messages where the bag has an index.

        Returns
        -------
        numpy.ndarray
            int64 [n], nanoseconds, ascending.
        """
        connections = [c for c in self._reader.connections if c.topic == topic and c.msgcount]
        found = [np.empty(0, np.int64)]
        for owner in {id(c.owner): c.owner for c in connections}.values():
            parts = [_times(storage, topic) for storage in getattr(owner, "storages", None) or [owner]]
            if any(part is None for part in parts):
                own = [c for c in connections if c.owner is owner]
                parts = [[received for _, received, _ in self._reader.messages(own)]]
            found += [np.asarray(part, np.int64) for part in parts]
        return np.sort(np.concatenate(found))

    def first(self, topic: str, start: int | None = None) -> object | None:
        """Return the first message of a topic that can be decoded, from a time of receipt on; None without one."""
        return next((message for _, _, message in self.messages([topic], start) if message is not None), None)

    def first_and_last(self, topic: str) -> tuple[tuple[int, object], tuple[int, object]] | None:
        """Return the first and the last message with the times of receipt; None if either cannot be decoded."""
        times = self.times(topic)
        ends = []
        for moment in (times[0], times[-1]) if len(times) else ():
            found = [m for _, _, m in self.messages([topic], int(moment), int(moment) + 1) if m is not None]
            ends += [(int(moment), found[0])] if found else []
        return tuple(ends) if len(ends) == 2 else None


def _times(storage, topic: str) -> list[int] | np.ndarray | None:
    """Return the times of a topic's messages by what index a storage has; None if it has none."""
    numbers = [connection.id for connection in storage.connections if connection.topic == topic]
    if hasattr(storage, "times"):
        return storage.times(topic)
    if hasattr(storage, "indexes"):  # ROS 1
        return [entry.time for number in numbers for entry in storage.indexes[number]]
    if getattr(storage, "dbconn", None) is not None:  # sqlite3
        marks = ",".join("?" * len(numbers))
        query = f"SELECT timestamp FROM messages WHERE topic_id IN ({marks})"
        return [row[0] for row in storage.dbconn.execute(query, numbers)]
    if not getattr(storage, "chunks", None):
        return None
    times = []
    for chunk in storage.chunks:  # mcap: each chunk is followed by the times of its messages, by channel
        for number in numbers:
            if not chunk.channel_count.get(number, 0):
                continue
            if number not in chunk.message_index_offsets:
                return None
            storage.bio.seek(chunk.message_index_offsets[number] + 9 + 2)
            (size,) = struct.unpack("<I", storage.bio.read(4))
            entries = np.frombuffer(storage.bio.read(size), np.dtype([("time", "<u8"), ("offset", "<u8")]))
            times.append(entries["time"].astype(np.int64))
    return np.concatenate(times) if times else []
