"""What is compared with an estimate: one image with its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.camera import PinholeCamera


@dataclass(frozen=True)
class Sample:
    """
    One image with its truth.

    Parameters
    ----------
    index : int
        Of the image among all images of the recording, from 0.
    stamp : int
        Of the image, nanoseconds.
    rgb : numpy.ndarray
        uint8 [H, W, 3]; rectified where the lens distorts.
    camera : PinholeCamera or None
        Intrinsics of this image.
    truth : numpy.ndarray
        float32 [h, w], metres along z in the view of the image, NaN unknown. Of the image's size, or of another size of
        the same view where a depth camera measures more coarsely.
    delay : int
        Stamp of the truth, by the images' clock, less that of the image; nanoseconds.
    frame_id : str
        Of the image.
    deviation : float or None
        Relative standard deviation of the truth, where it is estimated itself.
    """

    index: int
    stamp: int
    rgb: np.ndarray
    camera: PinholeCamera | None
    truth: np.ndarray
    delay: int
    frame_id: str
    deviation: float | None = None
