"""Recordings in the layout of the TUM RGB-D benchmark: lists of files with times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from depth_estimation_ros.bags.losses import Losses
from depth_estimation_ros.sources.files import read_depth, read_image
from depth_estimation_ros.sources.frame import Frame
from training.data.association import nearest_in_time

METRES_PER_UNIT = 1 / 5000


class TumFolder:
    """
    Colour images of a recording with their depth, as a `depth_estimation_ros.sources.Source`.

    Parameters
    ----------
    path : pathlib.Path
        Folder with ``rgb.txt`` and ``depth.txt``, whose lines are ``<time, seconds> <file>``.
    max_gap : float
        Largest time difference between a depth image and its colour image, seconds; see `nearest_in_time`.
    depth_scale : float
        Metres per unit of the depth images.

    Raises
    ------
    ValueError
        If a list cannot be read, or no colour and depth images are close in time.
    """

    def __init__(self, path: Path, max_gap: float = 0.02, depth_scale: float = METRES_PER_UNIT):
        self._path, self._scale = path, depth_scale
        colours, depths = _read_list(path / "rgb.txt"), _read_list(path / "depth.txt")
        depth_times, colour_times = (np.array([time for time, _ in files]) for files in (depths, colours))
        nearest = nearest_in_time(depth_times, colour_times, max_gap).tolist()
        self._pairs = [(*colours[j], depths[i][1]) for i, j in nearest]
        if not self._pairs:
            raise ValueError(f"{path} has no colour and depth image within {max_gap} s of each other")
        self.description = f"{len(self._pairs)} pairs of {path}"
        self.notes = [f"{len(depths) - len(self._pairs)} depth images have no partner"]
        self.rate, self.live, self.losses = None, False, Losses()

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the readable pairs in the order of time."""
        self.losses.clear()
        for time, colour, depth in self._pairs:
            image = self.losses.tried("images", read_image, self._path / colour)
            metres = self.losses.tried("depth images", read_depth, self._path / depth, self._scale)
            if image is not None:
                yield Frame(image, round(time * 1e9), depth=metres)


def is_tum(path: Path) -> bool:
    """Return whether a folder has the layout of TUM RGB-D."""
    return (path / "rgb.txt").is_file() and (path / "depth.txt").is_file()


def _read_list(path: Path) -> list[tuple[float, str]]:
    files = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            time, name = line.split(maxsplit=1)
            files.append((float(time), name.strip()))
        except ValueError:
            raise ValueError(f"{path}, line {number} is not '<time> <file>': {line!r}") from None
    return sorted(files)
