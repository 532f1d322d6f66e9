"""Picture of a frame for a report."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Picture:
    """
    One downscaled frame of a recording with the depth that a model estimated.

    Parameters
    ----------
    recording, model : str
        Names of the recording and the model.
    index : int
        Index of the image among all images of the recording.
    kind : {"worst", "best"}
        Why it is shown.
    rgb : numpy.ndarray
        Image, uint8 [h, w, 3].
    depth, truth : numpy.ndarray
        Estimate and ground truth, float32 [h, w] metres, NaN where there is none.
    abs_rel : float
        AbsRel of the frame at full size.
    """

    recording: str
    model: str
    index: int
    kind: str
    rgb: np.ndarray = field(repr=False)
    depth: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    abs_rel: float
