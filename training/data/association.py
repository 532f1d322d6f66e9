"""Which colour image belongs to which depth image: files named or listed with the time they were taken."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class RawPair:
    """
    A depth image and its colour image.

    Parameters
    ----------
    depth, colour : pathlib.Path
        The files.
    time : float
        When the depth was taken, seconds since the epoch.
    """

    depth: Path
    colour: Path
    time: float


def nearest_in_time(depth_times: np.ndarray, colour_times: np.ndarray, max_gap: float) -> np.ndarray:
    """
    Give every depth image the colour image nearest in time.

    Depth images without one within the gap are left out, and so are all those that would share one, as in Laina et
    al. 2016.

    Parameters
    ----------
    depth_times, colour_times : numpy.ndarray
        Ascending, seconds, [n] and [m].
    max_gap : float
        Largest distance in time, seconds.

    Returns
    -------
    numpy.ndarray
        int [k, 2]: index of a depth and of its colour image, ascending.
    """
    if not (len(depth_times) and len(colour_times)):
        return np.empty((0, 2), int)
    after = np.minimum(np.searchsorted(colour_times, depth_times), len(colour_times) - 1)
    before = np.maximum(after - 1, 0)
    earlier = depth_times - colour_times[before] <= np.abs(colour_times[after] - depth_times)
    nearest = np.where(earlier, before, after)
    close = np.abs(colour_times[nearest] - depth_times) <= max_gap
    served = np.bincount(nearest[close], minlength=len(colour_times))
    chosen = close & (served[nearest] == 1)
    return np.stack([np.flatnonzero(chosen), nearest[chosen]], axis=1)


def find_scenes(dump: Path) -> dict[str, Path]:
    """
    Find the scenes of a raw NYU Depth v2 dump: the folders, at any depth, with an ``INDEX.txt`` or depth images.

    Returns
    -------
    dict
        Folder of each scene by its name, in order.

    Raises
    ------
    ValueError
        If there is none, or two have the same name.
    """
    if not dump.is_dir():
        raise ValueError(f"dump {dump} is not a folder; name the one that holds the scenes' folders")
    scenes: dict[str, Path] = {}
    for folder, folders, files in os.walk(dump):
        folders.sort()
        if "INDEX.txt" not in files and not any(_time(name, "d") is not None for name in files):
            continue
        path = Path(folder)
        if path.name in scenes:
            raise ValueError(f"{path} and {scenes[path.name]} are one scene twice; remove one of them")
        scenes[path.resolve().name if path == dump else path.name] = path
    if not scenes:
        raise ValueError(f"{dump} holds no scene: no folder with INDEX.txt or files d-<time>-<ticks>.pgm")
    return dict(sorted(scenes.items()))


def scene_pairs(folder: Path, max_gap: float) -> list[RawPair]:
    """
    Associate the images of a scene, as its ``INDEX.txt`` lists them, or its directory where it has none.

    Parameters
    ----------
    folder : pathlib.Path
        The scene's folder.
    max_gap : float
        See `nearest_in_time`.

    Returns
    -------
    list of RawPair
        In the order of time. The files need not exist: an index may list what was lost.
    """
    index = folder / "INDEX.txt"
    names = index.read_text(errors="replace").split() if index.is_file() else os.listdir(folder)
    depths, colours = (
        sorted((time, name) for name in set(names) if (time := _time(name, kind)) is not None) for kind in "dr"
    )
    times = [np.array([time for time, _ in files]) for files in (depths, colours)]
    return [
        RawPair(folder / depths[i][1], folder / colours[j][1], depths[i][0])
        for i, j in nearest_in_time(*times, max_gap).tolist()
    ]


def sample_evenly(items: Sequence, count: int) -> Sequence:
    """Take ``count`` items evenly spread over a sequence, first and last included; all if it is 0 or too many."""
    if not 0 < count < len(items):
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _time(name: str, kind: str) -> float | None:
    """Time in a raw file's name, if it is one of this kind: ``d`` depth, ``r`` colour."""
    suffix = {"d": "pgm", "r": "ppm"}[kind]
    match = re.fullmatch(rf"{kind}-(\d+\.\d+)-\d+\.{suffix}", name)
    return float(match.group(1)) if match else None
