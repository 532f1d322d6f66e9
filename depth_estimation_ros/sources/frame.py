"""What a source of images gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from depth_estimation_ros.bags.losses import Losses
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.rectify import Lens, rectified


@dataclass(frozen=True)
class Frame:
    """
    One image and what is known about it.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 [height, width, 3], as the camera took it.
    time_ns : int or None
        When it was taken, nanoseconds since the epoch, of a video since its beginning; None where nobody knows.
    camera : PinholeCamera or None
        Intrinsics of `rgb`.
    depth : numpy.ndarray or None
        True depth of `rgb`, float32 [h, w], metres, NaN invalid.
    lens : Lens or None
        Of `image`, where that is distorted.
    info : object or None
        The camera_info message that was recorded with `image`, where it describes it as it is.
    frame_id : str
        The frame in which `image` was recorded; empty where nobody knows.
    """

    image: np.ndarray
    time_ns: int | None = None
    camera: PinholeCamera | None = None
    depth: np.ndarray | None = None
    lens: Lens | None = None
    info: Any = None
    frame_id: str = ""

    @cached_property
    def rgb(self) -> np.ndarray:
        """The image as a pinhole camera takes it, uint8 [height, width, 3]: rectified where the lens distorts."""
        return self.image if self.lens is None else rectified(self.image, self.lens)


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
        Images a second of a video, on average; None of other sources.
    live : bool
        Whether it sets the pace by itself, as a webcam does.
    losses : Losses
        What could not be read since the last ``iter()``.
    """

    description: str
    notes: list[str]
    rate: float | None
    live: bool
    losses: Losses

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames."""
        ...
