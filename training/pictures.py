"""Pictures of an evaluation: frames with their ground truth, and the calibration curve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depth_estimation_ros.imaging.preview import INVALID_COLOUR, colour_depth, render_preview

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Relative error shown in the brightest colour.
LARGE_ERROR = 0.5
_CAPTION = 24  # pixels


def frame_picture(rgb: np.ndarray, truth: np.ndarray, depth: np.ndarray, mask: np.ndarray, caption: str) -> np.ndarray:
    """
    Draw, from left to right, an image, its ground truth, its estimate and the relative error.

    Parameters
    ----------
    rgb : numpy.ndarray
        uint8 [h, w, 3].
    truth, depth : numpy.ndarray
        [h, w] metres, drawn with the same colours from 0 to 10 m. Ground truth is 0 where unknown.
    mask : numpy.ndarray of bool
        Pixels that count. The error is drawn there, from black (none) to bright (`LARGE_ERROR`).
    caption : str
        Text above the picture.

    Returns
    -------
    numpy.ndarray
        uint8 [H, W, 3], RGB.
    """
    known = np.where(truth > 0, truth, np.nan).astype(np.float32)
    panels = [render_preview(rgb, known), render_preview(None, depth.astype(np.float32))]
    error = np.zeros(truth.shape, np.float32)
    np.divide(np.abs(depth - truth), truth, out=error, where=mask)
    levels = np.clip(error * (255 / LARGE_ERROR), 0, 255).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    colours = np.where(mask[..., None], colours, np.array(INVALID_COLOUR, np.uint8))
    height = panels[0].shape[0]
    size = (round(truth.shape[1] * height / truth.shape[0]), height)
    panels.append(cv2.resize(colours, size, interpolation=cv2.INTER_NEAREST))
    return _titled(np.hstack(panels), caption)


def comparison_picture(rgb: np.ndarray, truth: np.ndarray, depths: dict[str, np.ndarray]) -> np.ndarray:
    """
    Draw, from left to right, an image, its ground truth and several estimates.

    Parameters
    ----------
    rgb : numpy.ndarray
        uint8 [h, w, 3].
    truth : numpy.ndarray
        [h, w] metres, 0 where unknown.
    depths : dict of numpy.ndarray
        [h, w] metres by title, all drawn with the same colours from 0 to 10 m.

    Returns
    -------
    numpy.ndarray
        uint8 [H, W, 3], RGB.
    """
    known = np.where(truth > 0, truth, np.nan)
    panels = [_titled(rgb, "image")]
    for title, depth in {"truth": known, **depths}.items():
        panels.append(_titled(colour_depth(depth.astype(np.float32), "turbo", 0.0, 10.0), title))
    return np.hstack(panels)


def _titled(panel: np.ndarray, text: str) -> np.ndarray:
    title = np.zeros((_CAPTION, panel.shape[1], 3), np.uint8)
    cv2.putText(title, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (240, 240, 240), 1, cv2.LINE_AA)
    return np.vstack([title, panel])


def empty_figure(width: float, height: float) -> Figure:
    """Return a matplotlib figure of a size in inches; raise ValueError if matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("the picture needs matplotlib: pip install matplotlib") from None
    return Figure(figsize=(width, height), layout="constrained")


def calibration_picture(curve: list[dict[str, float]], risk: list[dict[str, float]], path: Path) -> None:
    """
    Plot how often the ground truth lies within the interval that the model predicts, and what leaving pixels out gains.

    Parameters
    ----------
    curve : list of dict
        From `training.breakdown.Calibration.curve`.
    risk : list of dict
        From `training.breakdown.RiskCoverage.curve`.
    path : pathlib.Path
        The PNG file.
    """
    figure = empty_figure(9, 4.5)
    axes, right = figure.subplots(1, 2)
    right.plot([row["coverage"] for row in risk], [row["abs_rel"] for row in risk], marker="o")
    right.set(xlabel="share of pixels kept, the surest first", ylabel="abs_rel of these pixels", xlim=(0, 1))
    right.set_ylim(bottom=0)
    axes.plot([0, 1], [0, 1], color="0.7", label="calibrated")
    axes.plot([row["expected"] for row in curve], [row["observed"] for row in curve], marker="o", label="model")
    axes.set(xlabel="expected share of pixels", ylabel="observed share", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend()
    figure.savefig(path, dpi=120)
