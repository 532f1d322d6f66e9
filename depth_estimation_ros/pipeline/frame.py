"""What goes into the pipeline and comes out of it: a frame and its surroundings, the output topics, the errors."""

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
    """A frame that cannot be processed: `reason` is its kind, the text is one sentence for the user."""

    def __init__(self, reason: str, sentence: str):
        super().__init__(sentence)
        self.reason = reason


def _no_transform(target: str, source: str, stamp: Time) -> np.ndarray:
    raise ValueError(f"nothing tells the transform from {quoted(source)} to {quoted(target)}")


@dataclass(frozen=True)
class Surroundings:
    """
    What there is to know of a frame besides its image; each part is asked for when it is needed.

    Parameters
    ----------
    camera_info : callable
        Gives the camera_info of the image of a (width, height); raises FrameError if there is none.
    pose : callable
        Gives the transform, float [4, 4], to a frame (first) from another at a stamp; raises ValueError.
    reference : callable
        Gives the message of true distances that belongs to a stamp, or None.
    rectified : bool
        Whether the topic's name says that images are rectified.
    """

    camera_info: Callable[[tuple[int, int]], CameraInfo]
    pose: Callable[[str, str, Time], np.ndarray] = _no_transform
    reference: Callable[[Time], Reference | None] = lambda _: None
    rectified: bool = False


@dataclass(frozen=True)
class Frame:
    """An image, and the outputs that are wanted of it."""

    image: Image | CompressedImage
    wanted: frozenset[str] = frozenset(OUTPUTS)
