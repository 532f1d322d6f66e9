"""Association of colour and depth images by their times, from file names or lists."""

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
        Time of the depth image, seconds since the epoch.
    """

    depth: Path
    colour: Path
    time: float


def nearest_in_time(depth_times: np.ndarray, colour_times: np.ndarray, max_gap: float) -> np.ndarray:
    """
    Associate every depth image with the colour image nearest in time.

    A depth image without a colour image within ``max_gap`` is left out. So are all depth images that would share a
    colour image, as in Laina et al. 2016.

    Parameters
    ----------
    depth_times, colour_times : numpy.ndarray
        Times in seconds, ascending, [n] and [m].
    max_gap : float
        Largest distance in time, seconds.

    Returns
    -------
    numpy.ndarray
        int [k, 2]: index of a depth image and of its colour image, ascending.
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
    Find the scenes of a raw NYU Depth v2 dump: folders at any level with an ``INDEX.txt`` or depth images.

    Returns
    -------
    dict
        Folder of each scene by name, sorted by name.

    Raises
    ------
    ValueError
        If there is no scene, or two scenes have the same name.
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
    Associate the images of a scene, listed in its ``INDEX.txt`` or, without one, in its folder.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the scene.
    max_gap : float
        See `nearest_in_time`.

    Returns
    -------
    list of RawPair
        Pairs in the order of time. Files listed in the index may not exist.
    """
    index = folder / "INDEX.txt"
    names = index.read_text(errors="replace").split() if index.is_file() else os.listdir(folder)
    depths, colours = (
        sorted((time, name) for name in set(names) if (time := _time(name, kind)) is not None) for kind in "dr"
    )
    depth_times, colour_times = (np.array([time for time, _ in files]) for files in (depths, colours))
    return [
        RawPair(folder / depths[i][1], folder / colours[j][1], depths[i][0])
        for i, j in nearest_in_time(depth_times, colour_times, max_gap).tolist()
    ]


def sample_evenly(items: Sequence, count: int) -> Sequence:
    """Return ``count`` evenly spread items including the first and last; all if ``count`` is 0 or too large."""
    if not 0 < count < len(items):
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _time(name: str, kind: str) -> float | None:
    """Return the time in the name of a raw file, or None if the file is not of this kind: ``d`` depth, ``r`` colour."""
    suffix = {"d": "pgm", "r": "ppm"}[kind]
    match = re.fullmatch(rf"{kind}-(\d+\.\d+)-\d+\.{suffix}", name)
    return float(match.group(1)) if match else None
