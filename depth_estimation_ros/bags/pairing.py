"""Which truth belongs to which image, found while a recording is read once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

PATIENCE = 2_000_000_000
"""Nanoseconds of receipt by which an image and its truth, or what else belongs to it, may lie apart in a bag."""

_SLACK = 200_000_000  # ns of stamps by which images may come out of order


@dataclass(frozen=True)
class Received:
    """
    A message on its way to its partner.

    Parameters
    ----------
    stamp, received : int
        Nanoseconds; the stamp by the images' clock.
    message : object
        The message; None where it could not be decoded.
    index : int
        Of an image among the images.
    """

    stamp: int
    received: int
    message: Any
    index: int = -1


class Matcher:
    """
    Gives each image the truth nearest in time, while both stream by.

    What it gives for an image depends only on what was received within `PATIENCE` of it: reading may begin
    in the middle. No more than that is kept.

    Parameters
    ----------
    tolerance : int
        Nanoseconds.
    ready : callable, optional
        Whether all else that an image (its stamp) needs has come.
    """

    def __init__(self, tolerance: int, ready: Callable[[int], bool] = lambda stamp: True):
        self._tolerance, self._ready = tolerance, ready
        self._waiting: deque[Received] = deque()
        self._truths: deque[Received] = deque()
        self._latest = -(2**63)  # stamp of an image

    def add_truth(self, truth: Received) -> None:
        """Take in a truth."""
        self._truths.append(truth)

    def add_image(self, image: Received) -> None:
        """Take in an image."""
        self._waiting.append(image)
        self._latest = max(self._latest, image.stamp)

    def pairs(self, now: int) -> Iterator[tuple[Received, Received | None]]:
        """
        Give the images whose partner has come, or comes no more; in their order.

        Parameters
        ----------
        now : int
            Time of receipt of the newest message, ns; a very late one at the end.
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
