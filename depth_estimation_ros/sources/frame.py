"""Frame of an image source, and the protocol of sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from depth_estimation_ros.bags.losses import Losses
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.lens import Lens
from depth_estimation_ros.geometry.rectify import rectified


@dataclass(frozen=True)
class Frame:
    """
    One image with its time, intrinsics, lens and depth, as far as known.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 [height, width, 3], unrectified.
    time_ns : int or None
        Time of the image, nanoseconds since the epoch, or since the beginning of a video; None if unknown.
    camera : PinholeCamera or None
        Intrinsics of `rgb`.
    depth : numpy.ndarray or None
        Ground truth depth of `rgb`, float32 [h, w], metres, NaN invalid.
    lens : Lens or None
        Lens of `image` if it has distortion.
    info : object or None
        Recorded camera_info message if it describes `image`.
    frame_id : str
        TF frame of `image`; empty if unknown.
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
        """Image without distortion, uint8 [height, width, 3]: rectified if there is a lens."""
        return self.image if self.lens is None else rectified(self.image, self.lens)


class Source(Protocol):
    """
    Iterable of frames. Every ``iter()`` starts from the beginning; a webcam continues with the next image.

    Attributes
    ----------
    description : str
        Description of the source for the log.
    notes : list of str
        Notes for the user about choices and assumptions, one sentence each.
    live : bool
        Whether the source determines the rate, as a webcam does.
    losses : Losses
        Items that could not be read since the last ``iter()``.
    """

    description: str
    notes: list[str]
    live: bool
    losses: Losses

    @property
    def rate(self) -> float | None:
        """Average number of images per second of a video; None for other sources."""

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames."""
        ...
