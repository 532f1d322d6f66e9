"""``python -m training.data.synthetic OUTPUT``: render a prepared folder of procedural rooms with exact depth."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.synthetic import Room
from depth_estimation_ros.synthetic.room import look
from training.data.kinect import COLOUR_CAMERA
from training.files import new_folder, write_image

LOW_HEIGHTS = (0.2, 1.1)  # metres above the floor: cameras of robots
_CLEARANCE = 0.35  # metres between a low camera and furniture
_FROM_WALL = 0.5
_ATTEMPTS = 20


def write_room(seed: int, output: Path, views: int, camera: PinholeCamera, low: float = 0.0) -> list[str]:
    """
    Render random views of one room into ``rgb/`` (JPEG) and ``depth/`` (16-bit PNG, millimetres).

    Parameters
    ----------
    seed : int
        Seed of the room and of the views.
    output : pathlib.Path
        The prepared folder.
    views : int
        Number of views.
    camera : PinholeCamera
        Intrinsics of the images.
    low : float
        Share of the views that are seen from `LOW_HEIGHTS` as by a robot, 0 to 1; the others are from eye level.

    Returns
    -------
    list of str
        Names of the images.
    """
    cv2.setNumThreads(1)
    room, names = Room(seed), []
    for view, pose in enumerate(random_poses(room, views, np.random.default_rng(seed), low)):
        rgb, depth = room.render(camera, pose)
        name = f"{seed:05d}_{view:03d}"
        write_image(output / "rgb" / f"{name}.jpg", rgb, cv2.IMWRITE_JPEG_QUALITY, 92)
        write_image(output / "depth" / f"{name}.png", np.round(depth * 1000).clip(0, 65535).astype(np.uint16))
        names.append(name)
    return names


def random_poses(room: Room, views: int, rng: np.random.Generator, low: float = 0.0) -> Iterator[np.ndarray]:
    """Draw poses of a camera in a room, camera-to-world [4, 4]; ``low`` as for `write_room`."""
    for _ in range(views):
        yield _low(room, rng) if low and rng.random() < low else _at_eye_level(room, rng)


def _at_eye_level(room: Room, rng: np.random.Generator) -> np.ndarray:
    """Return a pose near the room's trajectory, which is 1.2 to 1.45 m high."""
    walk = room.trajectory(rng.uniform(0, 40))
    forward = walk[:3, 2]
    heading = math.atan2(forward[1], forward[0]) + rng.normal(0, math.radians(25))
    pitch = math.asin(forward[2]) + rng.normal(0, math.radians(6))
    return look(walk[:3, 3], heading, pitch)


def _low(room: Room, rng: np.random.Generator) -> np.ndarray:
    """Return the pose of a robot's camera, clear of walls and furniture, looking in any direction."""
    for _ in range(_ATTEMPTS):
        plan = rng.uniform(_FROM_WALL, room.size[:2] - _FROM_WALL)
        position = np.array([*plan, rng.uniform(*LOW_HEIGHTS)])
        if min(box.distance(position) for box in room.boxes) >= _CLEARANCE:
            break
    else:  # the trajectory is free at every height
        position = np.array([*room.trajectory(rng.uniform(0, 40))[:2, 3], LOW_HEIGHTS[1]])
    return look(position, rng.uniform(-math.pi, math.pi), rng.normal(-0.08, 0.1))


def write_rooms(output: Path, rooms: int, views: int, jobs: int, low: float = 0.0) -> None:
    """Render views of rooms 1, 2, ... into an empty folder with `jobs` processes, and list them in ``split.txt``."""
    for name in ("rgb", "depth"):
        (output / name).mkdir()
    camera = COLOUR_CAMERA.resized(320, 240)  # as in the recipes for NYU Depth v2
    write = partial(write_room, output=output, views=views, camera=camera, low=low)
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        written = pool.imap_unordered(write, range(1, rooms + 1))
        names = [name for room in track(written, "rendering", rooms) for name in room]
    (output / "split.txt").write_text("".join(f"train {name}\n" for name in sorted(names)))


def main() -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m training.data.synthetic", description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--rooms", type=int, default=200)
    parser.add_argument("--views", type=int, default=20, help="views of each room")
    parser.add_argument(
        "--low", type=float, default=0.0, help="share of the views from 0.2 to 1.1 m above the floor (default 0)"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    try:
        if not 0 <= arguments.low <= 1:
            raise ValueError(f"--low must be between 0 and 1, got {arguments.low}")
        with new_folder(arguments.output) as folder:
            write_rooms(folder, arguments.rooms, arguments.views, arguments.jobs, arguments.low)
    except (ValueError, OSError) as error:
        sys.exit(f"synthetic: {error}")


if __name__ == "__main__":
    main()
