"""Files of a bag: a single file, or the files of a folder, with or without a valid metadata.yaml."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import yaml

from depth_estimation_ros.bags.storage import mcap, ros1, sqlite
from depth_estimation_ros.bags.storage.common import Storage
from depth_estimation_ros.bags.storage.compression import ZSTD, unpacked_file

_NAME = re.compile(r"(?P<stem>.+?)\.(?P<kind>bag|mcap|db3)(\.active)?(?P<packed>\.zstd|\.zst)?", re.IGNORECASE)
_KINDS: dict[str, tuple[bytes, Callable[[Path], Storage]]] = {
    "mcap": (mcap.MAGIC, mcap.Mcap),
    "db3": (sqlite.MAGIC, sqlite.Sqlite),
    "bag": (ros1.MAGIC, ros1.Ros1),
}
_SPLIT = re.compile(r"(_\d{4}(-\d\d){5})?(_\d+)?$")  # suffixes that recorders add to the files of a split bag


def is_bag_file(path: Path) -> bool:
    """Whether a file is a bag by its name; hidden files, which other systems create on USB sticks, are not."""
    return _NAME.fullmatch(path.name) is not None and not path.name.startswith(".")


def is_bag(path: Path) -> bool:
    """Whether a file is a bag by name or content, or a folder contains one; raises OSError if it cannot be read."""
    if path.is_dir():
        return any(is_bag_file(child) for child in path.iterdir()) or is_rosbag2(path)
    if is_bag_file(path):
        return True
    with path.open("rb") as file:
        begin = file.read(16)
    return any(begin.startswith(magic) for magic, _ in _KINDS.values())


def is_rosbag2(folder: Path) -> bool:
    """Whether a folder has a metadata.yaml of rosbag2, which may be damaged."""
    try:
        return b"rosbag2" in (folder / "metadata.yaml").read_bytes()
    except OSError:
        return False


def open_storages(path: Path) -> tuple[list[Storage], list[str]]:
    """
    Open the files of a bag.

    Parameters
    ----------
    path : pathlib.Path
        A file, or a folder with the files of one bag.

    Returns
    -------
    storages : list of Storage
        Open storages.
    notes : list of str
        Files that were skipped, and why.

    Raises
    ------
    ValueError
        If nothing can be read.
    """
    notes: list[str] = []
    try:
        files = _files(path, notes) if path.is_dir() else [path]
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read: {error.strerror}") from None
    storages, reasons = [], []
    for file in files:
        try:
            storages.append(_open(file, notes))
        except OSError as error:
            reasons.append((file, error.strerror or str(error)))
        except ValueError as error:
            reasons.append((file, str(error)))
    if not storages:
        what = "; ".join(f"{file.name}: {reason}" if path.is_dir() else reason for file, reason in reasons)
        raise ValueError(f"'{path}' is not a readable bag: {what or 'it holds no bag file'}")
    return storages, notes + [f"'{file.name}' is left out: {reason}" for file, reason in reasons]


def _open(file: Path, notes: list[str]) -> Storage:
    """Open a file with the format of its content, or of its name if its beginning is damaged."""
    with file.open("rb") as stream:
        begin = stream.read(16)
    if begin.startswith(ZSTD):
        file, damage = unpacked_file(file)
        notes += [f"'{file.name}' could only be decompressed in part: {damage}"] if damage else []
        with file.open("rb") as stream:
            begin = stream.read(16)
    opens = next((opens for magic, opens in _KINDS.values() if begin.startswith(magic)), None)
    if opens is None:
        named = _NAME.fullmatch(file.name)
        if named is None:
            raise ValueError("it does not have the header of a bag")
        opens = _KINDS[named["kind"].lower()][1]
    return opens(file)


def _files(folder: Path, notes: list[str]) -> list[Path]:
    """Return the files named in metadata.yaml, or else all files if they belong to one recording."""
    found: dict[str, Path] = {}
    for file in sorted((f for f in folder.iterdir() if is_bag_file(f) and f.is_file()), key=natural):
        # A player may have decompressed a file next to the compressed one.
        if (key := _plain(file.name)) not in found or not _parts(file.name)["packed"]:
            found[key] = file
    names, reason = _named(folder)
    if reason:
        notes.append(f"'{folder.name}' is read without a metadata.yaml: {reason}")
    named = [found.get(_plain(name)) for name in names]
    present = [file for file in named if file is not None]
    if named and len(present) == len(named):
        return present
    notes += [f"'{name}' is missing" for name, file in zip(names, named, strict=True) if file is None]
    if not names and len({_SPLIT.sub("", _parts(name)["stem"]) for name in found}) > 1:
        names = [file.name for file in found.values()]
        raise ValueError(f"'{folder}' holds several recordings; name one of {', '.join(names[:9])}")
    return list(found.values())


def _named(folder: Path) -> tuple[list[str], str]:
    """Return the file names in a metadata.yaml of any version, and the reason if there are none."""
    file = folder / "metadata.yaml"
    if not file.exists():
        ros2 = any(child.suffix.lower() != ".bag" for child in folder.iterdir() if is_bag_file(child))
        return [], "the recording was not closed" if ros2 else ""
    try:
        content = yaml.safe_load(file.read_bytes())
        paths = content["rosbag2_bagfile_information"]["relative_file_paths"]
        # Before version 4, they began with the name of the folder, which may have changed.
        return list(dict.fromkeys(PurePosixPath(path).name for path in paths)), ""
    except OSError as error:
        return [], f"it cannot be read ({error.strerror})"
    except Exception:  # damaged YAML can raise any exception
        return [], "it is damaged"


def _parts(name: str) -> re.Match[str]:
    """Return the parts of the name of a bag file (`is_bag_file`)."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"'{name}' is not the name of a bag file")
    return found


def _plain(name: str) -> str:
    """Return a file name without the suffix of compression and in lower case, because some file systems ignore case."""
    return re.sub(r"\.zstd?$", "", name.lower())


def natural(path: Path) -> list[tuple[int, str]]:
    """Return a sort key for paths in natural order (2 before 10); only ASCII digits count as numbers."""
    return [(int(part), "") if re.fullmatch("[0-9]+", part) else (-1, part) for part in re.split("([0-9]+)", str(path))]
