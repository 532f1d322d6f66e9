"""Search for recordings by files, folders and glob patterns."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path

from depth_estimation_ros.bags.storage import is_bag_file, is_rosbag2, natural


def find_recordings(patterns: Iterable[str]) -> list[Path]:
    """
    Find recordings by path or glob pattern.

    A rosbag2 folder is one recording, also without a metadata.yaml if the names of its files begin with the name of the
    folder. In any other folder, each bag file is a recording, and subfolders are searched in the same way.

    Parameters
    ----------
    patterns : iterable of str
        Bag files, folders, or glob patterns with ``*``, ``?``, ``[...]`` and ``**``.

    Returns
    -------
    list of pathlib.Path
        Recordings without duplicates; those of one pattern are in natural order (2 before 10).

    Raises
    ------
    ValueError
        If a path or pattern matches no recording, or a folder cannot be read.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        name = str(Path(pattern).expanduser())
        try:
            exists = Path(name).exists()
            paths = [Path(name)] if exists else [Path(p) for p in glob.glob(name, recursive=True)]
            recordings = [recording for path in sorted(paths, key=natural) for recording in _in(path)]
        except OSError as error:
            raise ValueError(f"'{error.filename or pattern}' cannot be read: {error.strerror}") from None
        if not recordings:
            raise ValueError(
                f"'{pattern}' {'contains' if exists else 'matches'} no recording (a .bag, .mcap or .db3 file, or a "
                "rosbag2 folder)"
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
    # A broken link, a socket or a FIFO is neither.
    return [recording for child in children if child.is_dir() or child.is_file() for recording in _in(child)]
