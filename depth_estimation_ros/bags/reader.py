"""Bags of either ROS, whole or damaged: their topics, and their messages in the order of receipt."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depth_estimation_ros.bags.messages import is_blank
from depth_estimation_ros.bags.storage import ZSTD, Storage, in_order, open_storages, unpack
from depth_estimation_ros.bags.storage.common import FOREVER
from depth_estimation_ros.bags.types import decoder
from depth_estimation_ros.support.sentences import choices, quoted

_FIRSTS = 300  # messages among which one is looked for that says something


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
        A file (``.bag``, ``.bag.active``, ``.mcap``, ``.db3``, ``.mcap.zstd``, ``.db3.zstd``), or a folder of those of
        one recording.

    Attributes
    ----------
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
        self.path, self.undecodable = path, Counter()
        self._storages, self._notes = open_storages(path)
        kinds = defaultdict(Counter)  # of each topic, the messages of each type
        for channel, count in ((c, s.counts[number]) for s in self._storages for number, c in s.channels.items()):
            if not (channel.topic + channel.kind).isprintable():
                self._notes.append(f"{count} messages of {quoted(channel.topic)}, a damaged topic, are left out")
                continue
            kinds[channel.topic][channel.kind, channel.encoding] += count
        self.topics, self._decoders = {}, {}
        for topic, found in kinds.items():
            (kind, encoding), count = found.most_common(1)[0]
            if count:
                self.topics[topic], self._decoders[topic] = Topic(kind, count), decoder(kind, encoding)

    def __enter__(self) -> BagReader:
        """Return the reader, to be closed at the end."""
        return self

    def __exit__(self, *_) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        for storage in self._storages:
            storage.close()

    @property
    def notes(self) -> list[str]:
        """What the user should know of the bag, one sentence each; reading may find more."""
        damaged = [f"'{s.path.name}' is damaged: {s.damage}" for s in self._storages if s.damage]
        return self._notes + damaged

    def of_kind(self, *kinds: str) -> list[str]:
        """Return the topics of some types, in the order of the bag; those in an encoding that is not read are not."""
        return [name for name, topic in self.topics.items() if topic.kind in kinds and self._decoders[name]]

    def listing(self) -> str:
        """Return the topics with their types, for a sentence."""
        return choices(f"{name} ({topic.kind})" for name, topic in self.topics.items())

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
        """Return the channels of some topics; of those only that are of the topic's type."""
        return {
            number: channel.topic
            for number, channel in storage.channels.items()
            if channel.topic in topics
            and channel.topic in self.topics
            and self.topics[channel.topic].kind == channel.kind
        }

    def _decode(self, topic: str, content: bytes) -> object | None:
        try:
            return self._decoders[topic](unpack(content, "zstd") if content[:4] == ZSTD else content)
        except Exception:  # rosbags' decoder is generated code, which fails in as many ways as bytes can be wrong
            self.undecodable[topic] += 1
            return None

    def times(self, topic: str) -> np.ndarray:
        """
        Return when each message of a topic was received, without reading the messages where the bag has an index.

        Returns
        -------
        numpy.ndarray
            int64 [n], nanoseconds, ascending.
        """
        found = [storage.times(set(self._chosen(storage, {topic}))) for storage in self._storages]
        return np.sort(np.concatenate(found))

    def first(self, topic: str, start: int | None = None) -> object | None:
        """
        Return the first message of a topic that can be decoded, from a time of receipt on; None without one.

        Of the first hundreds, one that says something (see `is_blank`) is preferred: drivers begin with others.
        """
        blank = None
        for _, _, message in islice(self.messages([topic], start), _FIRSTS):
            if message is not None and not is_blank(message):
                return message
            blank = blank or message
        return blank

    def first_and_last(self, topic: str) -> tuple[tuple[int, object], tuple[int, object]] | None:
        """Return the first and the last message with the times of receipt; None if either cannot be decoded."""
        times = self.times(topic)
        ends = []
        for moment in (times[0], times[-1]) if len(times) else ():
            found = [m for _, _, m in self.messages([topic], int(moment), int(moment) + 1) if m is not None]
            ends += [(int(moment), found[0])] if found else []
        return tuple(ends) if len(ends) == 2 else None


def _named(storage: Storage, names: dict[int, str], start: int, stop: int) -> Iterator[tuple[int, str, bytes]]:
    for received, number, content in storage.messages(set(names), start, stop):
        yield received, names[number], content
