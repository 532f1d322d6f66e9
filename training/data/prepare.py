"""
``python -m training.data.prepare SOURCE... --output DIR``: write a prepared folder from RGB-D recordings.

A source is a folder in the layout of TUM RGB-D (rgb.txt, depth.txt), a folder of images with depth beside them (rgb/
and depth/, or X.color.jpg and X.depth.png), or a bag with colour and depth. Depth from another camera is projected into
the colour image. DIR gets rgb/ (JPEG), depth/ (16-bit PNG, millimetres, 0 where unknown), index.csv, split.txt and, if
the intrinsics are known, camera.yaml.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import yaml
from rich.progress import track

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.ground_truth.calibration import same_shape
from depth_estimation_ros.sources import Frame, Source, open_source
from training.data.shards import INDEX_FIELDS
from training.data.tum import METRES_PER_UNIT, TumFolder, is_tum
from training.files import new_folder, write_csv, write_image


class FolderWriter:
    """
    Writer of a prepared folder.

    Parameters
    ----------
    root : pathlib.Path
        Empty folder.

    Attributes
    ----------
    count, without_depth : int
        Number of frames written, and of frames left out because they have no known depth.
    """

    def __init__(self, root: Path):
        for name in ("rgb", "depth"):
            (root / name).mkdir()
        self._root = root
        self._rows: list[tuple[str, ...]] = []
        self._camera: PinholeCamera | None = None
        self.without_depth = 0

    @property
    def count(self) -> int:
        """Number of frames written."""
        return len(self._rows)

    def add(self, frame: Frame, scene: str, number: int, split: str) -> None:
        """
        Write a frame, if it has depth.

        Raises
        ------
        ValueError
            If the depth does not fit the image, or the camera differs from that of other frames.
        """
        if frame.depth is None or not (frame.depth > 0).any():
            self.without_depth += 1
            return
        depth, rgb = frame.depth, frame.rgb
        if not same_shape(*depth.shape[::-1], *rgb.shape[1::-1]):
            size, other = ("x".join(map(str, a.shape[1::-1])) for a in (depth, rgb))
            raise ValueError(
                f"the depth of {scene} is {size}, its colour {other}; depth registered to the colour image is "
                "needed: run depth_image_proc's register node first"
            )
        # Depth of another size but the same view. The nearest pixel creates no value that was not measured.
        depth = cv2.resize(depth, rgb.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        if frame.camera is not None:
            if self._camera not in (None, frame.camera):
                raise ValueError(f"{scene} was taken with another camera than the frames before; prepare it by itself")
            self._camera = frame.camera
        name = f"{scene}_{number:06d}"
        millimetres = np.rint(np.nan_to_num(depth, nan=0.0, posinf=0.0) * np.float32(1000)).clip(0)
        millimetres[millimetres > 65535] = 0
        write_image(self._root / "rgb" / f"{name}.jpg", rgb, cv2.IMWRITE_JPEG_QUALITY, 95)
        write_image(self._root / "depth" / f"{name}.png", millimetres.astype(np.uint16))
        time = "" if frame.time_ns is None else f"{frame.time_ns / 1e9:.6f}"
        self._rows.append((name, scene, time, split, ""))

    def finish(self) -> None:
        """Write index.csv, split.txt and camera.yaml."""
        write_csv(self._root / "index.csv", INDEX_FIELDS, self._rows)
        (self._root / "split.txt").write_text("".join(f"{row[3]} {row[0]}\n" for row in self._rows))
        if self._camera is not None:
            (self._root / "camera.yaml").write_text(yaml.safe_dump({"camera": asdict(self._camera)}, sort_keys=False))


def open_rgbd(source: str, arguments: argparse.Namespace) -> Source:
    """Open a recording of colour and depth; raise ValueError if it is not one."""
    path = Path(source).expanduser()
    if path.is_dir() and is_tum(path):
        return TumFolder(path, arguments.max_gap, arguments.depth_scale or METRES_PER_UNIT)
    topics = {name: getattr(arguments, name) for name in ("image_topic", "camera_info_topic", "depth_topic")}
    return open_source(source, depth_scale=arguments.depth_scale or 0.001, **topics)


def write_folder(sources: list[tuple[str, Source, str]], output: Path, stride: int) -> FolderWriter:
    """
    Write recordings into a new prepared folder. The folder appears only when it is complete.

    Parameters
    ----------
    sources : list of (scene, source, split)
        Recordings, with the scene and the split of each.
    output : pathlib.Path
        Folder to create; it must not exist.
    stride : int
        Take every ``stride``-th frame.

    Raises
    ------
    ValueError
        If the folder exists, a frame cannot be read or used, or no frame has depth.
    """
    with new_folder(output) as folder:
        writer = FolderWriter(folder)
        for scene, source, split in sources:
            frames = track(_every(source, stride), scene, disable=not sys.stderr.isatty())
            for number, frame in frames:
                writer.add(frame, scene, number, split)
        if not writer.count:
            reasons = [f"; {sentence}" for _, source, _ in sources for sentence in source.losses.sentences()]
            raise ValueError(
                "no frame has depth; check that depth was recorded, and lies where --help says" + "".join(reasons)
            )
        writer.finish()
    return writer


def _every(source: Source, stride: int) -> Iterator[tuple[int, Frame]]:
    return ((number, frame) for number, frame in enumerate(source) if number % stride == 0)


def main() -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", nargs="*", default=[], help="recordings to train on")
    parser.add_argument("--test", nargs="+", default=[], metavar="SOURCE", help="recordings of the test split")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--depth-scale", type=float, help="metres per unit of PNGs; default 1/5000 for TUM, else 0.001")
    parser.add_argument(
        "--max-gap", type=float, default=0.02, metavar="S", help="TUM: maximum time between colour and depth"
    )
    parser.add_argument("--stride", type=int, default=1, metavar="N", help="take every Nth frame")
    for name in ("image", "camera-info", "depth"):
        parser.add_argument(f"--{name}-topic", default="", help="topic of a bag (default: the first that fits)")
    arguments = parser.parse_args()
    given = [(s, "train") for s in arguments.source] + [(s, "test") for s in arguments.test]
    scenes = [Path(source).expanduser().resolve().stem for source, _ in given]
    try:
        if not given:
            raise ValueError("name at least one recording")
        if len(set(scenes)) < len(scenes):
            raise ValueError(f"two recordings have one name among {', '.join(scenes)}; rename one")
        if arguments.stride < 1:
            raise ValueError("--stride must be positive")
        if not 0 < arguments.max_gap < math.inf:
            raise ValueError("--max-gap must be positive")
        if arguments.depth_scale is not None and not 0 < arguments.depth_scale < math.inf:
            raise ValueError("--depth-scale must be positive")
        opened = [open_rgbd(source, arguments) for source, _ in given]
        for source in opened:
            if source.live:
                raise ValueError("a webcam has no depth; name a recording")
            print(source.description, *source.notes, sep="; ")
        sources = list(zip(scenes, opened, (split for _, split in given), strict=True))
        writer = write_folder(sources, arguments.output, arguments.stride)
    except OSError as error:
        sys.exit(f"prepare: '{error.filename}': {error.strerror}")
    except ValueError as error:
        sys.exit(f"prepare: {error}")
    for scene, source, _ in sources:
        for sentence in source.losses.sentences():
            print(f"{scene}: {sentence}", file=sys.stderr)
    print(f"{writer.count} frames in {arguments.output}, {writer.without_depth} left out without depth")


if __name__ == "__main__":
    main()
