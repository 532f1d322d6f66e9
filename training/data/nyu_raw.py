"""
``python -m training.data.nyu_raw DUMP --output DIR``: prepare the raw NYU Depth v2 recordings for training.

Every depth image is associated with the colour image nearest in time and projected into the colour camera. Its invalid,
smallest and largest depths are removed. A stopped run resumes where it was. Files that cannot be read are skipped and
listed in bad_files.csv.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import multiprocessing
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import Progress

from depth_estimation_ros.support.children import end_with_parent
from depth_estimation_ros.support.files import write_json, write_whole
from training.data import kinect
from training.data.association import RawPair, find_scenes, sample_evenly, scene_pairs
from training.data.shards import INDEX_FIELDS, webdataset, write_shard
from training.files import write_csv

FRAMES_IN_PART = 64  # of one scene, about 20 MB in a shard; a resumed run repeats at most one unfinished part per job


@dataclass(frozen=True)
class Settings:
    """
    Settings that determine the prepared set. A resumed run must have the same.

    Parameters
    ----------
    format : {"shards", "folder"}
        Tar shards (`training.data.shards`), or images in ``rgb/`` and ``depth/`` with a ``split.txt``.
    max_gap : float
        Largest time difference between a depth image and its colour image, seconds.
    per_scene : int
        Number of evenly spread frames taken from each scene; 0 takes all.
    fill : bool
        Fill holes by colorization.
    halve : bool
        Store 320x240: colours are averaged, of depth every second pixel is kept.
    """

    format: str = "shards"
    max_gap: float = 0.05
    per_scene: int = 0
    fill: bool = False
    halve: bool = False


@dataclass(frozen=True)
class Part:
    """Consecutive pairs of a scene, prepared together by one process."""

    name: str
    scene: str
    split: str
    pairs: list[RawPair]
    first: int

    @property
    def digest(self) -> str:
        """Digest of the file names of the part and of its split."""
        files = [f"{pair.depth.name} {pair.colour.name}" for pair in self.pairs]
        return hashlib.sha256("\n".join([self.split, *files]).encode()).hexdigest()


def prepare_frame(pair: RawPair, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """
    Make an undistorted colour image and its depth from a raw pair.

    Returns
    -------
    image : numpy.ndarray
        uint8 [480, 640, 3] RGB, or half the size.
    depth : numpy.ndarray
        float32 [480, 640], metres along the axis of the depth camera, 0 where unknown, or half the size.

    Raises
    ------
    ValueError
        If a file cannot be read or no depth is left.
    """
    image, disparity = kinect.read_pnm(pair.colour), kinect.read_pnm(pair.depth)
    if image.ndim != 3 or disparity.ndim != 2:
        raise ValueError(f"{pair.depth} and {pair.colour.name} are not a depth and a colour image")
    image = kinect.undistort_colour(image)
    depth = kinect.project_to_colour(kinect.decode_disparity(kinect.undistort_disparity(disparity)))
    depth = kinect.without_extremes(depth)
    if not depth.any():
        raise ValueError(f"{pair.depth} has no valid depth")
    if settings.fill:
        from training.data.colorization import fill_depth

        depth = fill_depth(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), depth)
    if settings.halve:
        image, depth = cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA), depth[::2, ::2]
    return image, depth


def prepare_part(part: Part, output: Path, settings: Settings) -> Path:
    """Prepare the frames of a part. Its record, written last, marks it as done and lists bad files."""
    cv2.setNumThreads(1)
    rows, bad = [], []
    shard = f"{part.name}.tar" if settings.format == "shards" else ""

    def frames() -> Iterator[tuple[str, bytes, bytes, dict]]:
        for number, pair in enumerate(part.pairs, part.first):
            try:
                image, depth = prepare_frame(pair, settings)
            except ValueError as error:
                bad.append([str(pair.depth), str(error)])
                continue
            name = f"{part.scene}_{number:05d}"
            row = dict(zip(INDEX_FIELDS, (name, part.scene, f"{pair.time:.6f}", part.split, shard), strict=True))
            millimetres = np.rint(depth * 1000).astype(np.uint16)
            jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            yield name, jpeg, cv2.imencode(".png", millimetres)[1].tobytes(), row
            rows.append(row)

    if settings.format == "shards":
        write_shard(output / "shards" / shard, frames())
    else:
        for name, jpeg, png, _ in frames():
            write_whole(output / "rgb" / f"{name}.jpg", jpeg)
            write_whole(output / "depth" / f"{name}.png", png)
    record = {"digest": part.digest, "rows": rows, "bad": bad}
    write_json(_record_path(output, part), record)
    return output


def plan(dump: Path, settings: Settings, train_scenes: set[str] | None) -> list[Part]:
    """
    Divide a dump into parts.

    Parameters
    ----------
    dump : pathlib.Path
        Folder that contains the folders of the scenes.
    settings : Settings
        Maximum gap and sampling.
    train_scenes : set of str, optional
        Scenes of the split ``train``; all others are ``test``. By default all are ``train``. A recording of several
        parts (``study_0004a``, ``study_0004b``) may be named without its letter.

    Raises
    ------
    ValueError
        If there is no scene, no pair, or none of the training scenes.
    """
    parts = []
    for scene, folder in find_scenes(dump).items():
        pairs = sample_evenly(scene_pairs(folder, settings.max_gap), settings.per_scene)
        train = train_scenes is None or scene in train_scenes or re.sub(r"(?<=\d)[a-z]$", "", scene) in train_scenes
        for first in range(0, len(pairs), FRAMES_IN_PART):
            chosen = list(pairs[first : first + FRAMES_IN_PART])
            name = f"{scene}-{first // FRAMES_IN_PART:03d}"
            parts.append(Part(name, scene, "train" if train else "test", chosen, first))
    if not parts:
        raise ValueError(f"{dump} has no depth image with a colour image within {settings.max_gap} s of its own")
    if not any(part.split == "train" for part in parts):
        raise ValueError(f"none of the training scenes is in {dump}; are they named as its folders are?")
    return parts


def prepare(parts: list[Part], output: Path, settings: Settings, jobs: int) -> tuple[int, list[list[str]]]:
    """
    Prepare the parts that are not done yet, and write the index of all parts.

    Returns
    -------
    count : int
        Frames in the set.
    bad : list of [file, reason]
        Skipped files.
    """
    _claim(output, settings)
    open_parts = [part for part in parts if _record(output, part) is None]
    with Progress(disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("preparing", total=len(parts), completed=len(parts) - len(open_parts))
        for _ in _in_parallel(open_parts, output, settings, jobs):
            progress.advance(task)
    records = []
    for part in parts:
        record = _record(output, part)
        if record is None:
            raise ValueError(f"the record of part {part.name} was removed from {output} meanwhile: run it again")
        records.append(record)
    rows = [row for record in records for row in record["rows"]]
    bad = [entry for record in records for entry in record["bad"]]
    if settings.format == "folder":
        write_whole(output / "split.txt", "".join(f"{row['split']} {row['name']}\n" for row in rows))
    write_csv(output / "bad_files.csv", ("file", "reason"), bad)
    write_csv(output / "index.csv", INDEX_FIELDS, ([row[field] for field in INDEX_FIELDS] for row in rows))
    return len(rows), bad


def _in_parallel(parts: list[Part], output: Path, settings: Settings, jobs: int) -> Iterator[Path]:
    if jobs == 1:
        yield from (prepare_part(part, output, settings) for part in parts)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        futures = [pool.submit(prepare_part, part, output, settings) for part in parts]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)


def _claim(output: Path, settings: Settings) -> None:
    """Create the output folders, or check that an earlier run created them with the same settings."""
    file = output / "settings.json"
    if file.is_file():
        before = json.loads(file.read_text())
        changed = [f"{k} {before.get(k)}, now {v}" for k, v in asdict(settings).items() if before.get(k) != v]
        if changed:
            raise ValueError(f"{output} was prepared with {'; '.join(changed)}; name a new folder")
    elif output.exists() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty and not of this command; name a new folder")
    for name in ("parts", *(("shards",) if settings.format == "shards" else ("rgb", "depth"))):
        (output / name).mkdir(parents=True, exist_ok=True)
    write_json(file, asdict(settings))


def _record_path(output: Path, part: Part) -> Path:
    return output / "parts" / f"{part.name}.json"


def _record(output: Path, part: Part) -> dict | None:
    """Return the record of a part, or None if it is not done or was done from other files."""
    path = _record_path(output, part)
    record = json.loads(path.read_text()) if path.is_file() else {}
    return record if record.get("digest") == part.digest else None


def main() -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m training.data.nyu_raw", description=__doc__.split("\n\n")[1])
    parser.add_argument("dump", type=Path, help="folder that contains the folders of the scenes, as in the archives")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--format", choices=("shards", "folder"), default="shards")
    parser.add_argument(
        "--train-scenes", type=Path, metavar="FILE", help="file with the names of the training scenes, one per line"
    )
    parser.add_argument("--per-scene", type=int, default=0, metavar="N", help="evenly spread frames per scene; 0: all")
    parser.add_argument(
        "--max-gap", type=float, default=0.05, metavar="S", help="most seconds between depth and colour"
    )
    parser.add_argument("--fill", action="store_true", help="fill holes by colorization (Levin); slower")
    parser.add_argument("--halve", action="store_true", help="store 320x240 instead of 640x480")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    if arguments.fill and importlib.util.find_spec("scipy") is None:
        sys.exit("nyu_raw: scipy, which fills holes, is missing: pip install -e '.[training]' in this clone")
    options = {name: getattr(arguments, name) for name in Settings.__dataclass_fields__}
    try:
        if arguments.jobs < 1 or arguments.per_scene < 0 or not arguments.max_gap > 0:
            raise ValueError("--jobs and --max-gap must be positive and --per-scene not negative")
        if arguments.format == "shards":
            webdataset()
        scenes = None
        if arguments.train_scenes is None:
            print("no --train-scenes given: every scene counts as training data", file=sys.stderr)
        else:
            scenes = set(arguments.train_scenes.read_text().split())
        settings = Settings(**options)
        parts = plan(arguments.dump, settings, scenes)
        count, bad = prepare(parts, arguments.output, settings, arguments.jobs)
    except ValueError as error:
        sys.exit(f"nyu_raw: {error}")
    except OSError as error:
        sys.exit(f"nyu_raw: {error}; when that is mended, a second run goes on where this one was")
    except (KeyboardInterrupt, BrokenProcessPool):
        sys.exit("nyu_raw: stopped; a second run goes on where this one was")
    for file, reason in bad:
        print(f"skipped {file}: {reason}", file=sys.stderr)
    done = len({part.scene for part in parts})
    print(f"{count} frames of {done} scenes in {arguments.output}, {len(bad)} skipped (bad_files.csv)")


if __name__ == "__main__":
    main()
