"""Sample of a recording: one image with its ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.camera import PinholeCamera


@dataclass(frozen=True)
class Sample:
    """
    One image with its ground truth.

    Parameters
    ----------
    index : int
        Index of the image among all images of the recording, from 0.
    stamp : int
        Stamp of the image, nanoseconds.
    rgb : numpy.ndarray
        Image, uint8 [H, W, 3]; rectified if the lens has distortion.
    camera : PinholeCamera or None
        Intrinsics of `rgb`.
    truth : numpy.ndarray
        Ground truth, float32 [h, w], metres along z in the view of the image, NaN where unknown. It has the size of the
        image, or a smaller one with the same view if the depth camera has a lower resolution.
    delay : int
        Stamp of the ground truth, by the clock of the images, minus that of the image; nanoseconds.
    frame_id : str
        TF frame of the image.
    deviation : float or None
        Relative standard deviation of triangulated ground truth; None for measured ground truth.
    """

    index: int
    stamp: int
    rgb: np.ndarray
    camera: PinholeCamera | None
    truth: np.ndarray
    delay: int
    frame_id: str
    deviation: float | None = None
