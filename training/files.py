"""Tables, images and folders that are written completely or not at all."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.support.files import write_whole


def write_csv(path: Path, heads: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table, see `write_whole`."""
    table = io.StringIO(newline="")
    csv.writer(table, lineterminator="\n").writerows([heads, *rows])
    write_whole(path, table.getvalue())


def write_image(path: Path, image: np.ndarray, *flags: int) -> None:
    """
    Write an image in the format of the path's suffix.

    Parameters
    ----------
    path : pathlib.Path
        Output file.
    image : numpy.ndarray
        uint8 [h, w, 3], RGB, or uint16 [h, w].
    *flags
        Parameters of ``cv2.imwrite``.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    if not cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image, flags):
        raise OSError(f"{path} cannot be written; is the disk full?")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """
    Create a folder that appears only when it is complete.

    The context manager gives a temporary folder to write into, which is moved to ``path`` at the end.

    Raises
    ------
    ValueError
        If ``path`` exists.
    """
    if path.exists():
        raise ValueError(f"{path} exists already; name a new folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        draft = Path(scratch) / path.name
        draft.mkdir()
        yield draft
        draft.replace(path)
