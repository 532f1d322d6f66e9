"""Inputs and outputs of the pipeline: a frame and its surroundings, the output topics, and the error of a frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Vector3Stamped
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2

from depth_estimation_ros.pipeline.anchoring import Reference
from depth_estimation_ros.support.sentences import quoted

DEPTH, DEPTH_INFO, POINTS, SCAN, SCALE, PREVIEW = OUTPUTS = (
    "depth/image",
    "depth/camera_info",
    "depth/points",
    "depth/scan",
    "depth/scale",
    "depth/preview",
)
OUTPUT_TYPES = dict(zip(OUTPUTS, (Image, CameraInfo, PointCloud2, LaserScan, Vector3Stamped, Image), strict=True))


class FrameError(Exception):
    """
    Frame that cannot be processed. The message is one sentence for the user.

    Parameters
    ----------
    reason : str
        Kind of the error, under which the frame is counted.
    sentence : str
        Message of the error.
    """

    def __init__(self, reason: str, sentence: str):
        super().__init__(sentence)
        self.reason = reason


def _no_transform(target: str, source: str, stamp: Time) -> np.ndarray:
    raise ValueError(f"the transform from {quoted(source)} to {quoted(target)} is not known")


@dataclass(frozen=True)
class Surroundings:
    """
    Context of a frame besides its image: functions that are called only when their result is needed.

    Parameters
    ----------
    camera_info : callable
        Function that returns the camera_info for an image of a (width, height), or raises FrameError if there is none.
    pose : callable
        Function (target, source, stamp) that returns the transform between two TF frames, float [4, 4], or raises
        ValueError.
    reference : callable
        Function that returns the anchor message for a stamp, or None.
    rectified : bool
        Whether the topic's name says that images are rectified.
    """

    camera_info: Callable[[tuple[int, int]], CameraInfo]
    pose: Callable[[str, str, Time], np.ndarray] = _no_transform
    reference: Callable[[Time], Reference | None] = lambda _: None
    rectified: bool = False


@dataclass(frozen=True)
class Frame:
    """Image message, with the output topics to compute from it."""

    image: Image | CompressedImage
    wanted: frozenset[str] = frozenset(OUTPUTS)
