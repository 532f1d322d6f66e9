"""A frame to show in a report."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Picture:
    """
    One frame of a recording, small, with what a model made of it.

    Parameters
    ----------
    recording, model : str
        Their names.
    index : int
        Of the image among all images of the recording.
    kind : {"worst", "best"}
        Why it is shown.
    rgb : numpy.ndarray
        uint8 [h, w, 3].
    depth, truth : numpy.ndarray
        float32 [h, w] metres, NaN where there is none.
    abs_rel : float
        Of the whole frame at its full size.
    """

    recording: str
    model: str
    index: int
    kind: str
    rgb: np.ndarray = field(repr=False)
    depth: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    abs_rel: float
