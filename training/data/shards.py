"""
Frames in tar shards of WebDataset, streamed in order, for sets larger than memory or one disk.

A set consists of ``index.csv`` (name, scene, time, split, shard) and ``shards/*.tar``. A tar file holds
``NAME.rgb.jpg``, ``NAME.depth.png`` (16 bits, millimetres, 0 where unknown) and ``NAME.json`` for each frame.
"""

from __future__ import annotations

import csv
import json
import random
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.imaging import decode

INDEX_FIELDS = ("name", "scene", "time", "split", "shard")


def read_shards(
    paths: Iterable[Path], shuffle: int = 0, rng: random.Random | None = None, flag: int = cv2.IMREAD_COLOR
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """
    Decode the frames of shards one after another.

    Parameters
    ----------
    paths : iterable of pathlib.Path
        The tar files.
    shuffle : int
        Size of the shuffle buffer, in encoded frames; 0 keeps the order.
    rng : random.Random, optional
        Random generator of the shuffle buffer.
    flag : int
        OpenCV flag for decoding the colour images.

    Yields
    ------
    name : str
        Name of the frame.
    image : numpy.ndarray
        uint8 [H, W, 3], RGB.
    depth : numpy.ndarray
        uint16 [H, W], millimetres, 0 unknown.

    Raises
    ------
    ValueError
        If a shard is damaged; the message names it.
    """
    wds, current = webdataset(), "no shard"

    def urls() -> Iterator[dict[str, str]]:
        nonlocal current
        for current in map(str, paths):
            yield {"url": current}

    samples = wds.tariterators.tarfile_samples(urls())
    if shuffle:
        samples = wds.filters.shuffle(shuffle, initial=max(1, shuffle // 4), rng=rng)(samples)
    try:
        for sample in samples:
            yield _decode(sample, flag)
    except (OSError, tarfile.TarError) as error:
        raise ValueError(f"{current} is damaged ({error}); copy it again or prepare the set again") from error


def _decode(sample: dict, colour_flag: int) -> tuple[str, np.ndarray, np.ndarray]:
    images = []
    for field, flag in (("rgb.jpg", colour_flag), ("depth.png", cv2.IMREAD_UNCHANGED)):
        try:
            images.append(decode(sample.get(field, b""), flag))
        except ValueError:
            raise ValueError(
                f"{sample['__url__']} holds no readable {sample['__key__']}.{field}; prepare it again"
            ) from None
    return sample["__key__"], cv2.cvtColor(images[0], cv2.COLOR_BGR2RGB), images[1]


def write_shard(path: Path, frames: Iterable[tuple[str, bytes, bytes, dict]]) -> None:
    """
    Write one shard. The file appears only when it is complete.

    Parameters
    ----------
    path : pathlib.Path
        The tar file.
    frames : iterable of (name, JPEG, PNG, about)
        Encoded images and further facts about each frame, for its JSON. Names contain no dots.
    """
    part = path.with_name(path.name + ".part")
    try:
        # Fixed modification time, so that the same frames give the same file.
        with open(part, "wb") as stream, webdataset().TarWriter(stream, encoder=False, mtime=0) as tar:
            for name, image, depth, about in frames:
                encoded = {"rgb.jpg": image, "depth.png": depth, "json": json.dumps(about).encode()}
                tar.write({"__key__": name, **encoded})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_index(root: Path) -> list[dict[str, str]]:
    """Read ``index.csv`` of a prepared set: one dict with `INDEX_FIELDS` per frame."""
    try:
        with open(root / "index.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise ValueError(
            f"{root / 'index.csv'} cannot be read ({error.strerror}); was the set prepared to its end?"
        ) from None
    if not rows or set(rows[0]) != set(INDEX_FIELDS):
        raise ValueError(f"{root / 'index.csv'} is not an index with the columns {', '.join(INDEX_FIELDS)}")
    return rows


def shards_of(root: Path, split: str) -> dict[str, str]:
    """Return the scene of each shard of a split by shard name, in order; raise ValueError if there are no shards."""
    shards = {row["shard"]: row["scene"] for row in read_index(root) if row["split"] == split and row["shard"]}
    if not shards:
        raise ValueError(f"{root / 'index.csv'} names no shard of the split {split!r}")
    return shards


def webdataset():
    """Import webdataset; if it is missing, raise ValueError that says how to install it."""
    try:
        import webdataset
        import webdataset.tariterators
    except ImportError:
        raise ValueError("shards are read and written with webdataset; install it: pip install webdataset") from None
    return webdataset
