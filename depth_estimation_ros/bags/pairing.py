"""Matching of images and ground truth in a single pass over a recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

PATIENCE = 2_000_000_000
"""Maximum difference of the times of receipt of an image and the messages that belong to it, nanoseconds."""

_SLACK = 200_000_000  # ns by which the stamps of images may be out of order


@dataclass(frozen=True)
class Received:
    """
    Message that waits for its partner.

    Parameters
    ----------
    stamp, received : int
        Stamp, by the clock of the images, and time of receipt; nanoseconds.
    message : object
        The message; None if it could not be decoded.
    index : int
        Index of an image among the images.
    """

    stamp: int
    received: int
    message: Any
    index: int = -1


class Matcher:
    """
    Matcher of each image with the ground truth nearest in time, in a single pass.

    The match of an image depends only on messages received within `PATIENCE` of it, so reading can start anywhere. No
    other messages are kept.

    Parameters
    ----------
    tolerance : int
        Maximum difference of the stamps of partners, nanoseconds.
    ready : callable, optional
        Returns whether all other messages for the image with a given stamp have been received.
    """

    def __init__(self, tolerance: int, ready: Callable[[int], bool] = lambda stamp: True):
        self._tolerance, self._ready = tolerance, ready
        self._waiting: deque[Received] = deque()
        self._truths: deque[Received] = deque()
        self._latest = -(2**63)  # stamp of an image

    def add_truth(self, truth: Received) -> None:
        """Add a ground truth message."""
        self._truths.append(truth)

    def add_image(self, image: Received) -> None:
        """Add an image."""
        self._waiting.append(image)
        self._latest = max(self._latest, image.stamp)

    def pairs(self, now: int) -> Iterator[tuple[Received, Received | None]]:
        """
        Yield the images whose match is final, in order, each with its partner or None.

        Parameters
        ----------
        now : int
            Time of receipt of the newest message, ns; a very large number at the end of the recording.
        """
        while self._waiting:
            image = self._waiting[0]
            late = now - image.received > PATIENCE
            around = [truth for truth in self._truths if abs(truth.received - image.received) <= PATIENCE]
            nearest = min(around, key=lambda truth: abs(truth.stamp - image.stamp), default=None)
            newest = max((truth.stamp for truth in around), default=-(2**63))
            found = newest >= image.stamp + self._tolerance or (nearest is not None and nearest.stamp == image.stamp)
            if not (late or (found and self._ready(image.stamp))):
                break
            self._waiting.popleft()
            near = nearest is not None and abs(nearest.stamp - image.stamp) <= self._tolerance
            yield image, nearest if near else None
        oldest = min([image.stamp for image in self._waiting] + [self._latest]) - self._tolerance - _SLACK
        while self._truths and (self._truths[0].stamp < oldest or now - self._truths[0].received > 2 * PATIENCE):
            self._truths.popleft()
