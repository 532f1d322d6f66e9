"""Frames of other rooms that are trained on along with the site, so that the model does not forget them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from depth_estimation_ros.synthetic import Room
from training.adapt.frames import Frame, FrameMaker
from training.data.kinect import COLOUR_CAMERA
from training.data.synthetic import random_poses
from training.evaluate import frame_of, open_frames
from training.protocols import PROTOCOLS

ROOMS, VIEWS = 12, 16
_FIRST_ROOM = 10_000  # seed; recipes train on rooms from 1 on
_LOW = 0.5  # share of the views from a robot's height


class Replay:
    """
    Frames of other rooms, which are read or made when they are drawn.

    Parameters
    ----------
    title : str
        What they are, for the model card.
    count : int
        Number of frames.
    frame : callable
        Function of an index that returns a `Frame`.
    """

    def __init__(self, title: str, count: int, frame: Callable[[int], Frame]):
        self.title, self.count, self.frame = title, count, frame

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.count

    def __getitem__(self, index: int) -> Frame:
        """Return a frame."""
        return self.frame(index)


def nyu(data: Path, depth_scale: float, maker: FrameMaker) -> Replay:
    """
    Open the training frames of NYU Depth v2.

    Parameters
    ----------
    data, depth_scale
        As for `training.evaluate.open_frames`.
    maker : FrameMaker
        Maker of frames for the model.
    """
    frames, names = open_frames(data, "train", depth_scale, PROTOCOLS["eigen"])

    def frame(index: int) -> Frame:
        rgb, truth, camera = frame_of(frames, index)
        return maker.of_truth(rgb, camera, truth, remember=False)

    frame(0)  # raises a clear error if the frames have another size
    return Replay(f"{len(names)} training frames of NYU Depth v2", len(names), frame)


def rooms(maker: FrameMaker, tick: Callable[[], None] = lambda: None) -> Replay:
    """
    Render rooms. Their depth to hold on to is what the model estimates before the training.

    Parameters
    ----------
    maker : FrameMaker
        Maker of frames for the model.
    tick : callable
        Called after each room.
    """
    camera, found = COLOUR_CAMERA.resized(320, 240), []
    for seed in range(_FIRST_ROOM, _FIRST_ROOM + ROOMS):
        room = Room(seed)
        for pose in random_poses(room, VIEWS, np.random.default_rng(seed), _LOW):
            found.append(maker.of_estimate(room.render(camera, pose)[0], camera))
        tick()
    return Replay(f"{len(found)} views of {ROOMS} rendered rooms", len(found), found.__getitem__)
