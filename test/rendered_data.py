"""
Rendered rooms in the folders and files of ../shared/data, for checks that need no photographs.

``nyu_v2_labelled``: 320x240, as the labelled set of NYU Depth v2 is stored there. ``red_kitchen_sequence``: colour
camera, depth camera and poses of a walk, as a sequence of 7-Scenes. ``rgbd_samples``: five pairs as of Redwood, one of
TUM RGB-D.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from bags import KITCHEN_COLOUR_CAMERA, KITCHEN_COLOUR_FROM_DEPTH, KITCHEN_DEPTH_CAMERA, NYU_CAMERA

from depth_estimation_ros.synthetic import Room

NYU_FRAMES = 110  # the first hundred are test frames
NYU_SIZE = 1449  # frames that the split names
WALK = 20  # views of the walk, which goes there and back


def write_rendered_data(folder: Path) -> None:
    """Write all sets into a folder."""
    rooms = Room(0), Room(1)
    pairs = [rooms[k % 2].render(NYU_CAMERA, rooms[k % 2].trajectory(1.5 * k)) for k in range((NYU_FRAMES + 3) // 4)]
    _write_nyu(folder / "nyu_v2_labelled", pairs)
    _write_samples(folder / "rgbd_samples", pairs[:5])
    _write_walk(folder / "red_kitchen_sequence", rooms[0])


def _write_nyu(folder: Path, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write every pair as it is, mirrored, and both again in half the light."""
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    for k in range(NYU_FRAMES):
        rgb, depth = pairs[k // 4]
        side = slice(None, None, -1 if k % 2 else 1)
        _write(folder / "rgb" / f"{k + 1:04d}.jpg", rgb[:, side] // (1 + k % 4 // 2))
        _write(folder / "depth" / f"{k + 1:04d}.png", np.rint(depth[:, side] * 25.5).clip(0, 255).astype(np.uint8))
    try:
        import scipy.io
    except ImportError:  # who reads the split needs it, too
        return
    test = [*range(1, 101), *range(200, 200 + 554)]
    train = sorted(set(range(1, NYU_SIZE + 1)) - set(test))
    columns = {name: np.array([numbers], np.uint16).T for name, numbers in (("trainNdxs", train), ("testNdxs", test))}
    scipy.io.savemat(folder / "splits.mat", columns)


def _write_samples(folder: Path, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for name in ("color", "depth", "other_formats"):
        (folder / name).mkdir(parents=True)
    for k, (rgb, depth) in enumerate(pairs):
        _write(folder / "color" / f"{k:05d}.jpg", _doubled(rgb))
        _write(folder / "depth" / f"{k:05d}.png", _units(_doubled(depth), 1000))
    _write(folder / "other_formats" / "TUM_color.png", _doubled(pairs[0][0]))
    _write(folder / "other_formats" / "TUM_depth.png", _units(_doubled(pairs[0][1]), 5000))


def _write_walk(folder: Path, room: Room) -> None:
    folder.mkdir()
    colour, near = KITCHEN_COLOUR_CAMERA.resized(320, 240), KITCHEN_DEPTH_CAMERA.resized(160, 120)
    for k in range(WALK):
        pose = room.trajectory(20 + k / 15)
        rgb, _ = room.render(colour, pose @ np.linalg.inv(KITCHEN_COLOUR_FROM_DEPTH))
        _, depth = room.render(near, pose)
        millimetres = _units(_doubled(_doubled(depth)), 1000)
        millimetres[:, :40] = 65535  # the depth camera sees less
        for number in (k, 2 * WALK - 1 - k):
            stem = folder / f"frame-{number:06d}"
            _write(stem.with_suffix(".color.jpg"), _doubled(rgb))
            _write(stem.with_suffix(".depth.png"), millimetres)
            np.savetxt(stem.with_suffix(".pose.txt"), pose)


def _doubled(image: np.ndarray) -> np.ndarray:
    """Return an image of twice the size; depth is never mixed."""
    colour = image.ndim == 3
    return cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR if colour else cv2.INTER_NEAREST)


def _units(depth: np.ndarray, per_metre: int) -> np.ndarray:
    return np.rint(depth * per_metre).clip(0, 65534).astype(np.uint16)


def _write(path: Path, image: np.ndarray) -> None:
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image), path
