"""Recordings by files, folders and patterns."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path

from depth_estimation_ros.bags.storage import is_bag_file, is_rosbag2, natural


def find_recordings(patterns: Iterable[str]) -> list[Path]:
    """
    Find the recordings that names stand for.

    A rosbag2 folder is one recording, also where its metadata.yaml is lost but its files have its name. In any other
    folder, its bag files are recordings of their own, and so are the folders in it.

    Parameters
    ----------
    patterns : iterable of str
        Bag files, folders, or patterns with ``*``, ``?``, ``[...]`` and ``**``.

    Returns
    -------
    list of pathlib.Path
        Without duplicates; those of a pattern in natural order (2 before 10).

    Raises
    ------
    ValueError
        If a name or pattern stands for no recording, or for a folder that cannot be looked into.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        name = str(Path(pattern).expanduser())
        try:
            exists = Path(name).exists()
            paths = [Path(name)] if exists else [Path(p) for p in glob.glob(name, recursive=True)]
            recordings = [recording for path in sorted(paths, key=natural) for recording in _in(path)]
        except OSError as error:
            raise ValueError(f"'{pattern}' cannot be read: {error.strerror}") from None
        if not recordings:
            raise ValueError(
                f"'{pattern}' {'holds' if exists else 'stands for'} no recording: a .bag, .mcap or .db3 file, or a "
                "folder of rosbag2"
                if exists or glob.has_magic(name)
                else f"'{pattern}' does not exist"
            )
        for recording in recordings:
            found.setdefault(recording.resolve(), recording)
    return list(found.values())


def _in(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if is_bag_file(path) else []
    children = sorted(path.iterdir(), key=natural)
    files = [child for child in children if is_bag_file(child) and child.is_file()]
    # rosbag2 names the files of a bag after its folder.
    own = re.compile(re.escape(path.name) + r"(_\d+)?\.(mcap|db3)(\.zstd)?", re.IGNORECASE)
    if files and (is_rosbag2(path) or any(own.fullmatch(file.name) for file in files)):
        return [path]
    return [recording for child in children for recording in _in(child)]
