"""What a source of images gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from depth_estimation_ros.camera import PinholeCamera


@dataclass(frozen=True)
class Frame:
    """
    One image and what is known about it.

    Parameters
    ----------
    rgb : numpy.ndarray
        uint8 [height, width, 3].
    time_ns : int or None
        When it was taken, nanoseconds since the epoch; None where nobody knows.
    camera : PinholeCamera or None
        Intrinsics of this image.
    depth : numpy.ndarray or None
        True depth, float32 [h, w], metres, NaN invalid.
    """

    rgb: np.ndarray
    time_ns: int | None = None
    camera: PinholeCamera | None = None
    depth: np.ndarray | None = None


class Source(Protocol):
    """
    An iterable of frames; every ``iter()`` starts from the beginning (a webcam: from now).

    Attributes
    ----------
    description : str
        What it is, for a log.
    notes : list of str
        Choices that were made and that the user should know of, one sentence each.
    rate : float or None
        Images a second that are natural to it; None if the frames' times say when (bag), or nothing does.
    live : bool
        Whether it sets the pace by itself, as a webcam does.
    """

    description: str
    notes: list[str]
    rate: float | None
    live: bool

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames."""
        ...
