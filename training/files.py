"""Tables, images and folders that are there as a whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import io
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.support.files import write_whole

_BLOCK = 1 << 18


def write_csv(path: Path, heads: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table, see `write_whole`."""
    table = io.StringIO(newline="")
    csv.writer(table, lineterminator="\n").writerows([heads, *rows])
    write_whole(path, table.getvalue())


def write_image(path: Path, image: np.ndarray, *flags: int) -> None:
    """
    Write an image as the path's suffix says.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    image : numpy.ndarray
        uint8 [h, w, 3], RGB, or uint16 [h, w].
    *flags
        Of ``cv2.imwrite``.

    Raises
    ------
    OSError
        If that fails.
    """
    if not cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image, flags):
        raise OSError(f"{path} cannot be written; is the disk full?")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """
    Make a folder that appears when it is whole: what is written into the one given here is moved there at the end.

    Raises
    ------
    ValueError
        If there is such a folder or file already.
    """
    if path.exists():
        raise ValueError(f"{path} exists already; name a new folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        draft = Path(scratch) / path.name
        draft.mkdir()
        yield draft
        draft.replace(path)


def refuse_missing_folder(*paths: Path | None) -> None:
    """Raise a ValueError if a file cannot be written because its folder is missing; None is no file."""
    for path in filter(None, paths):
        if not path.parent.is_dir():
            raise ValueError(f"folder {path.parent} does not exist")


def sha256_of(path: Path) -> str:
    """Return a file's sha256 in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
