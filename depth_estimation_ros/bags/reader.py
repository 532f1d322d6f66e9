"""Reader of ROS 1 and ROS 2 bags, intact or damaged: topics, and messages in the order of receipt."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from depth_estimation_ros.bags.messages import is_blank
from depth_estimation_ros.bags.storage import ZSTD, Storage, in_order, open_storages, unpack
from depth_estimation_ros.bags.storage.common import FOREVER
from depth_estimation_ros.bags.types import decoder
from depth_estimation_ros.support.sentences import choices, quoted

_FIRSTS = 300  # number of messages among which the first non-empty one is searched


@dataclass(frozen=True)
class Topic:
    """Topic of a bag: message type, in the notation of ROS 2, and number of messages."""

    kind: str
    count: int


class BagReader:
    """
    Reader of an open bag: ROS 1, rosbag2 sqlite3 or mcap.

    The intact parts of a damaged bag are read; `notes` say what is missing.

    Parameters
    ----------
    path : pathlib.Path
        File (``.bag``, ``.bag.active``, ``.mcap``, ``.db3``, ``.mcap.zstd``, ``.db3.zstd``), or a folder with the files
        of one recording.

    Attributes
    ----------
    topics : dict of str to Topic
        Topics that have messages.
    undecodable : collections.Counter
        Number of messages that could not be decoded, by topic; counted while reading.

    Raises
    ------
    ValueError
        If it is not a readable bag.
    """

    def __init__(self, path: Path):
        self.path = path
        self.undecodable: Counter[str] = Counter()
        self._storages, self._notes = open_storages(path)
        # Number of messages by topic, and by type and encoding.
        kinds: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        for channel, count in ((c, s.counts[number]) for s in self._storages for number, c in s.channels.items()):
            if not (channel.topic + channel.kind).isprintable():
                self._notes.append(f"{count} messages of {quoted(channel.topic)}, a damaged topic, are left out")
                continue
            kinds[channel.topic][channel.kind, channel.encoding] += count
        self.topics: dict[str, Topic] = {}
        self._decoders: dict[str, Callable[[bytes], Any] | None] = {}
        for topic, found in kinds.items():
            (kind, encoding), count = found.most_common(1)[0]
            if count:
                self.topics[topic], self._decoders[topic] = Topic(kind, count), decoder(kind, encoding)

    def __enter__(self) -> BagReader:
        """Return the reader."""
        return self

    def __exit__(self, *_) -> None:
        """Close the reader."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        for storage in self._storages:
            storage.close()

    @property
    def notes(self) -> list[str]:
        """Notes for the user, one sentence each; reading may add more."""
        damaged = [f"'{s.path.name}' is damaged: {s.damage}" for s in self._storages if s.damage]
        return self._notes + damaged

    def of_kind(self, *kinds: str) -> list[str]:
        """Return the topics of the given types in the order of the bag, without those of an unsupported encoding."""
        return [name for name, topic in self.topics.items() if topic.kind in kinds and self._decoders[name]]

    def listing(self) -> str:
        """Return the topics with their types, for use in a sentence."""
        return choices(f"{name} ({topic.kind})" for name, topic in self.topics.items())

    def messages(
        self, topics: Iterable[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[str, int, Any]]:
        """
        Read messages in the order of receipt.

        A damaged chunk is skipped with a note.

        Parameters
        ----------
        topics : iterable of str
            Topics to read.
        start, stop : int, optional
            Range of times of receipt in nanoseconds; ``stop`` is exclusive.

        Yields
        ------
        topic : str
        received : int
            Time of receipt, nanoseconds.
        message : object or None
            The message; None if it cannot be decoded.
        """
        topics = set(topics)
        start, stop = max(start or 0, 0), FOREVER if stop is None else stop
        parts = []
        for storage in self._storages:
            names = self._chosen(storage, topics)
            if names:
                parts.append((max(storage.begin, start), partial(_named, storage, names, start, stop)))
        for received, topic, content in in_order(parts):
            yield topic, received, self._decode(topic, content)

    def _chosen(self, storage: Storage, topics: set[str]) -> dict[int, str]:
        """Return the channels of the given topics that have the type of their topic."""
        return {
            number: channel.topic
            for number, channel in storage.channels.items()
            if channel.topic in topics
            and channel.topic in self.topics
            and self.topics[channel.topic].kind == channel.kind
        }

    def _decode(self, topic: str, content: bytes) -> Any:
        decode = self._decoders[topic]
        try:
            if decode is not None:
                return decode(unpack(content, "zstd") if content[:4] == ZSTD else content)
        except Exception:  # the generated decoders of rosbags can raise any exception on damaged data
            self.undecodable[topic] += 1
            return None

    def times(self, topic: str) -> np.ndarray:
        """
        Return the times of receipt of the messages of a topic, from the index if the bag has one.

        Returns
        -------
        numpy.ndarray
            int64 [n], nanoseconds, ascending.
        """
        found = [storage.times(set(self._chosen(storage, {topic}))) for storage in self._storages]
        return np.sort(np.concatenate(found))

    def first(self, topic: str, start: int | None = None) -> Any:
        """
        Return the first decodable message of a topic at or after a time of receipt; None if there is none.

        A message that is not empty (see `is_blank`) is preferred, because drivers may start with empty ones.
        """
        blank = None
        for _, _, message in islice(self.messages([topic], start), _FIRSTS):
            if message is not None and not is_blank(message):
                return message
            blank = blank or message
        return blank

    def first_and_last(self, topic: str) -> tuple[tuple[int, Any], tuple[int, Any]] | None:
        """Return the first and the last message with their times of receipt; None if either cannot be decoded."""
        times = self.times(topic)
        ends = []
        for moment in (times[0], times[-1]) if len(times) else ():
            found = [m for _, _, m in self.messages([topic], int(moment), int(moment) + 1) if m is not None]
            ends += [(int(moment), found[0])] if found else []
        return (ends[0], ends[1]) if len(ends) == 2 else None


def _named(storage: Storage, names: dict[int, str], start: int, stop: int) -> Iterator[tuple[int, str, bytes]]:
    for received, number, content in storage.messages(set(names), start, stop):
        yield received, names[number], content
