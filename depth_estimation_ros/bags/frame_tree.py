"""The frames of a recording, found out before its images are read: which are fixed, and which move."""

from __future__ import annotations

from collections.abc import Callable

from depth_estimation_ros.bags.messages import TRANSFORMS
from depth_estimation_ros.bags.reader import BagReader
from depth_estimation_ros.bags.transforms import Transforms

_PROBE = 10_000_000_000  # ns of /tf in which frames must become connected


class FrameTree:
    """
    Reads ``/tf_static``, and the beginning of ``/tf`` where that is asked for.

    Parameters
    ----------
    reader : BagReader
        The bag.
    begin : int
        When the images begin, ns.

    Attributes
    ----------
    moving : tuple of str
        Topics with frames that move.
    """

    def __init__(self, reader: BagReader, begin: int):
        topics = reader.of_kind(*TRANSFORMS)
        static = [topic for topic in topics if "static" in topic]
        self.moving = tuple(topic for topic in topics if topic not in static)
        self._reader, self._end = reader, begin + _PROBE
        self._messages = [message for _, _, message in reader.messages(static) if message is not None]

    def fixed(self) -> Transforms:
        """Return a tree with the frames that do not move."""
        tree = Transforms()
        for message in self._messages:
            tree.add(message, static=True)
        return tree

    def probe(self, enough: Callable[[Transforms], bool]) -> Transforms:
        """Return a tree with those that move too, as read until it is enough."""
        tree = self.fixed()
        for _, _, message in self._reader.messages(self.moving, None, self._end):
            if message is not None:
                tree.add(message, static=False)
                if enough(tree):
                    break
        return tree
