"""TF frames of a recording, read before its images: fixed and moving ones."""

from __future__ import annotations

from collections.abc import Callable

from depth_estimation_ros.bags.messages import TRANSFORMS
from depth_estimation_ros.bags.reader import BagReader
from depth_estimation_ros.bags.transforms import TransformTree

_PROBE = 10_000_000_000  # ns of /tf within which frames must become connected


class FrameTree:
    """
    Reader of ``/tf_static`` and, on request, of the beginning of ``/tf``.

    Parameters
    ----------
    reader : BagReader
        The bag.
    begin : int
        Time of the first image, ns.

    Attributes
    ----------
    moving : tuple of str
        Topics with moving frames.
    """

    def __init__(self, reader: BagReader, begin: int):
        topics = reader.of_kind(*TRANSFORMS)
        static = [topic for topic in topics if "static" in topic]
        self.moving = tuple(topic for topic in topics if topic not in static)
        self._reader, self._end = reader, begin + _PROBE
        self._messages = [message for _, _, message in reader.messages(static) if message is not None]

    def fixed(self) -> TransformTree:
        """Return a tree with the fixed frames."""
        tree = TransformTree()
        for message in self._messages:
            tree.add(message, static=True)
        return tree

    def probe(self, enough: Callable[[TransformTree], bool]) -> TransformTree:
        """Return a tree with fixed and moving frames, reading ``/tf`` until `enough` returns True for the tree."""
        tree = self.fixed()
        for _, _, message in self._reader.messages(self.moving, None, self._end):
            if message is not None:
                tree.add(message, static=False)
                if enough(tree):
                    break
        return tree
