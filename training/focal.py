"""
Does metric depth hold for other cameras? Run ``python -m training.focal --data FOLDER``.

The same frames are shown as other cameras would have taken them: in other sizes, cropped and zoomed. Their depth is
compared with that of the whole frame. Rooms rendered for wider and narrower cameras are compared with their exact
depth. Both ways of focal normalisation are compared: ``scale`` multiplies depth by the ratio of the focal lengths,
``crop`` first cuts out the view of the training camera (`depth_estimation_ros.geometry.focal_crop`).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.geometry.focal_crop import training_window
from depth_estimation_ros.imaging.resample import shrink
from depth_estimation_ros.synthetic.room import Room
from training.data.association import sample_evenly
from training.evaluate import frame_of, open_frames
from training.protocols import PROTOCOLS

MODES = ("scale", "crop")
# Part of the frame (width and height, 1 is all), its position (0 left or top, 1 right or bottom), and the factors of
# its size in both directions.
PRESENTATIONS = {
    "twice the size": (1, 1, 0.5, 2, 2),
    "half the size": (1, 1, 0.5, 0.5, 0.5),
    "squashed to a square": (1, 1, 0.5, 0.9375, 1.25),
    "middle 90 %": (0.9, 0.9, 0.5, 1, 1),
    "middle 80 %": (0.8, 0.8, 0.5, 1, 1),
    "zoom 1.25": (0.8, 0.8, 0.5, 2.5, 2.5),
    "zoom 1.5": (0.667, 0.667, 0.5, 3, 3),
    "zoom 2": (0.5, 0.5, 0.5, 2, 2),
    "zoom 3": (0.333, 0.333, 0.5, 3, 3),
    "top left 80 %": (0.8, 0.8, 0.0, 1, 1),
    "bottom right 80 %": (0.8, 0.8, 1.0, 1, 1),
    "16:9": (1, 0.75, 0.5, 1, 1),
    "2.4:1": (1, 0.5555, 0.5, 1, 1),
    "1:1": (0.75, 1, 0.5, 1, 1),
    "3:4, upright": (0.5625, 1, 0.5, 1, 1),
}
VIEWS = {f"{fov} degrees, {w}x{h}": (fov, w, h) for fov in (45, 63, 80, 100, 120) for w, h in ((640, 480), (640, 360))}
ROOM_SEEDS = (0, 1001)  # not used in training


def estimate(estimator: DepthEstimator, rgb: np.ndarray, camera: PinholeCamera, mode: str) -> np.ndarray:
    """
    Estimate depth at the size of the image.

    Parameters
    ----------
    estimator : DepthEstimator
        The model.
    rgb : numpy.ndarray
        uint8 [h, w, 3].
    camera : PinholeCamera
        Its intrinsics.
    mode : {"scale", "crop"}
        How the focal length is normalised.

    Returns
    -------
    numpy.ndarray
        float32 [h, w] metres, NaN outside the window of ``crop``.
    """
    if mode == "scale":
        return estimator.estimate(rgb, camera).resized(camera.width, camera.height).depth
    info = estimator.model.info
    window = training_window(camera, info.input_width, info.input_height, info.focal_length)
    return window.paste(estimator.estimate(window.cut(rgb), window.view).depth)


def present(rgb: np.ndarray, camera: PinholeCamera, how: tuple) -> tuple[np.ndarray, PinholeCamera, tuple]:
    """
    Return an image as another camera would have taken it.

    Parameters
    ----------
    rgb : numpy.ndarray
        uint8 [h, w, 3].
    camera : PinholeCamera
        Its intrinsics.
    how : tuple
        A value of `PRESENTATIONS`.

    Returns
    -------
    rgb : numpy.ndarray
        The image.
    camera : PinholeCamera
        Its intrinsics.
    part : tuple of slice
        Rows and columns of the frame that it shows.
    """
    across, down, place, fx, fy = how
    w, h = round(across * camera.width), round(down * camera.height)
    x, y = round(place * (camera.width - w)), round(place * (camera.height - h))
    part = slice(y, y + h), slice(x, x + w)
    size = round(fx * w), round(fy * h)
    seen = camera.cropped(x, y, w, h).resized(*size)
    return shrink(np.ascontiguousarray(rgb[part]), *size), seen, part


class Comparison:
    """Ratio to a reference, error, and fraction of pixels with depth, for each row and mode."""

    def __init__(self):
        self._found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}

    def add(self, row: str, mode: str, depth: np.ndarray, reference: np.ndarray, truth: np.ndarray) -> None:
        """Add a frame: [h, w] metres each, NaN where there is no depth, 0 where the ground truth is unknown."""
        known = np.isfinite(depth)
        ratio = float(np.median(depth[known] / reference[known]))
        valid = known & (truth > 0)
        error = float(np.mean(np.abs(depth[valid] / truth[valid] - 1)))
        self._found.setdefault((row, mode), []).append((ratio, error, float(known.mean())))

    def figures(self, row: str, mode: str) -> dict[str, float]:
        """
        Return the figures of one row.

        Returns
        -------
        dict
            ``ratio``: median over frames of the median ratio to the reference within a frame; ``off``: median over
            frames of the difference of that ratio from 1; ``abs_rel``: mean error compared with the ground truth;
            ``covered``: mean fraction of pixels with depth.
        """
        ratio, error, covered = np.array(self._found[row, mode]).T
        return {
            "ratio": float(np.median(ratio)),
            "off": float(np.median(np.abs(ratio - 1))),
            "abs_rel": float(error.mean()),
            "covered": float(covered.mean()),
        }

    def table(self, title: str) -> Table:
        """Return all figures, both modes side by side."""
        table = Table(title=title)
        table.add_column("", no_wrap=True)
        for mode in MODES:
            for name in ("ratio", "off", "AbsRel", "covered"):
                table.add_column(f"{mode}\n{name}", justify="right")
        for row in dict.fromkeys(row for row, _ in self._found):
            cells = []
            for mode in MODES:
                f = self.figures(row, mode)
                cells += [f"{f['ratio']:.3f}", f"{f['off']:.1%}", f"{f['abs_rel']:.3f}", f"{f['covered']:.0%}"]
            table.add_row(row, *cells)
        return table


def compare_frames(
    estimator: DepthEstimator, frames: Iterator[tuple[np.ndarray, np.ndarray, PinholeCamera]]
) -> Comparison:
    """
    Show frames in every presentation and compare depth with that of the whole frame.

    Parameters
    ----------
    estimator : DepthEstimator
        The model.
    frames : iterable
        rgb, ground truth and camera of each frame, as from `training.evaluate.frame_of`.
    """
    found = Comparison()
    for rgb, truth, camera in frames:
        whole = estimate(estimator, rgb, camera, "scale")
        for name, how in PRESENTATIONS.items():
            seen, its_camera, part = present(rgb, camera, how)
            size = whole[part].shape[::-1]
            for mode in MODES:
                depth = cv2.resize(estimate(estimator, seen, its_camera, mode), size, interpolation=cv2.INTER_LINEAR)
                found.add(name, mode, depth, whole[part], truth[part])
    return found


def compare_rooms(estimator: DepthEstimator, seeds: tuple[int, ...] = ROOM_SEEDS, moments: int = 10) -> Comparison:
    """
    Render rooms for cameras of several fields of view and compare depth with the exact depth.

    Parameters
    ----------
    estimator : DepthEstimator
        The model.
    seeds : tuple of int
        The rooms.
    moments : int
        Views of each room.
    """
    found = Comparison()
    for seed in seeds:
        room = Room(seed)
        for t in track(np.linspace(0, 40, moments, endpoint=False), description=f"room {seed}"):
            for name, (fov, width, height) in VIEWS.items():
                camera = PinholeCamera.from_fov(width, height, math.radians(fov))
                rgb, truth = room.render(camera, room.trajectory(t))
                for mode in MODES:
                    found.add(name, mode, estimate(estimator, rgb, camera, mode), truth, truth)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; a mistake of the user ends with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m training.focal", description=__doc__)
    parser.add_argument("model", nargs="?", default="default", help="'default' or an ONNX file")
    parser.add_argument("--data", type=Path, help="NYU folder with rgb/, depth/, splits.mat; without it, rooms only")
    parser.add_argument(
        "--frames", type=int, default=50, help="number of evenly spread test frames (default: %(default)s)"
    )
    parser.add_argument("--depth-scale", type=float, default=10 / 255, help="metres per unit of the depth images")
    options = parser.parse_args(arguments)
    console = Console()
    console.width = max(console.width, 110)  # its tables have nine columns
    try:
        if options.frames < 1:
            raise ValueError("--frames must be at least 1")
        estimator = DepthEstimator.load(options.model)
        if options.data:
            frames, names = open_frames(options.data, "test", options.depth_scale, PROTOCOLS["eigen"])
            chosen = sample_evenly(range(len(names)), options.frames)
            shown = (frame_of(frames, i) for i in track(chosen, description="frames"))
            title = f"{len(chosen)} frames presented in other ways, against the whole frame"
            console.print(compare_frames(estimator, shown).table(title))
        console.print(compare_rooms(estimator).table("rendered rooms, against their true depth"))
    except (ValueError, OSError, BackendError) as error:
        print(f"training.focal: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
