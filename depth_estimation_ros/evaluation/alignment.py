"""
Alignment of depth with the ground truth, to compare relative models with each other and with metric ones.

1/Z = scale p + shift by least squares over the pixels of an image (Ranftl et al. 2020, "Towards Robust Monocular Depth
Estimation", MiDaS), or over those of a sequence (Chen et al. 2025, "Video Depth Anything"). Inverse depth below that of
the farthest ground truth is set to it. This needs the ground truth, so the figures say nothing about the scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from depth_estimation_ros.evaluation.metrics import METRICS, PixelErrors, depth_metrics

ALIGNED = ("abs_rel", "rmse", "delta1")
"""Metrics of a sequence."""

SAMPLES = 64
"""Number of pixels of each frame from which a sequence is aligned and compared."""


def inverse_values(depth: np.ndarray, kind: str) -> np.ndarray:
    """
    Return the values p of a depth map, float64, NaN where there are none.

    Parameters
    ----------
    depth : numpy.ndarray
        Depth of a model.
    kind : str
        Its kind, see `ModelInfo`. Of metric and of relative depth, p is the inverse.
    """
    values = depth.astype(np.float64)
    if kind == "inverse_relative":
        return np.where(np.isfinite(values), values, np.nan)
    return np.divide(1.0, values, out=np.full(values.shape, np.nan), where=np.isfinite(values) & (values > 0.0))


def fit_line(sums: np.ndarray) -> tuple[float, float]:
    """
    Return scale and shift by least squares.

    Parameters
    ----------
    sums : numpy.ndarray
        float64 [5], sums of 1, p, p^2, 1/Z and p/Z over the pixels, from `line_sums`.
    """
    n, p, pp, y, py = sums
    spread = pp - p * p / n
    # Where p is constant, so is the best depth.
    scale = (py - p * y / n) / spread if spread > 1e-12 * pp else 0.0
    return float(scale), float((y - scale * p) / n)


def line_sums(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the sums that `fit_line` needs of values p and ground truth in metres, float64 [n] each."""
    y = 1.0 / truth
    return np.array([values.size, values.sum(), values @ values, y.sum(), values @ y])


def aligned_metrics(values: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """
    Return the metrics of one image after alignment, see `metrics.depth_metrics`.

    Parameters
    ----------
    values, truth : numpy.ndarray
        Values p (`inverse_values`) and ground truth in metres, float64 [n], without NaN.
    """
    # Centred, because the sums of squares of large values would lose the digits that matter.
    centred = values - values.mean()
    return depth_metrics(_depth(centred, fit_line(line_sums(centred, truth)), float(truth.max())), truth)


def drawn(values: np.ndarray, truth: np.ndarray, count: int = SAMPLES) -> np.ndarray:
    """
    Return evenly spaced pixels of an image, for `sequence_metrics`.

    Returns
    -------
    numpy.ndarray
        float32 [count, 2], p and ground truth; NaN behind the last pixel.
    """
    found = np.full((count, 2), np.nan, np.float32)
    if values.size:
        chosen = np.unique(((np.arange(count) + 0.5) * (values.size / count)).astype(np.intp))
        found[: len(chosen), 0], found[: len(chosen), 1] = values[chosen], truth[chosen]
    return found


def sequence_metrics(chunks: Callable[[], Iterable[np.ndarray]]) -> dict[str, float] | None:
    """
    Return the metrics of a sequence that is aligned once, means over its frames.

    Parameters
    ----------
    chunks : callable
        Function that returns the pixels of all frames in arrays [frames, count, 2] of `drawn`; called twice.

    Returns
    -------
    dict or None
        `ALIGNED`; None without pixels.
    """
    sums, farthest = np.zeros(5), 0.0
    for pixels in chunks():
        values, truth, _ = _known(pixels)
        sums += line_sums(values, truth)
        farthest = max(farthest, truth.max(initial=0.0))
    if not sums[0]:
        return None
    line, totals, frames = fit_line(sums), dict.fromkeys(ALIGNED, 0.0), 0
    for pixels in chunks():
        values, truth, frame = _known(pixels)
        groups = PixelErrors(_depth(values, line, farthest), truth).grouped(frame, len(pixels))
        used = groups["pixels"] > 0
        count = groups["pixels"][used]
        totals["abs_rel"] += float((groups["abs_rel"][used] / count).sum())
        totals["rmse"] += float(np.sqrt(groups["sq"][used] / count).sum())
        totals["delta1"] += float((groups["delta1"][used] / count).sum())
        frames += int(used.sum())
    return {name: total / frames for name, total in totals.items()}


class AlignedMetrics:
    """
    Metrics of many images after alignment: of each image, and of all of them at once.

    Parameters
    ----------
    count : int
        Pixels of each image for the latter.
    """

    def __init__(self, count: int = 4096):
        self._count = count
        self._per_image: list[dict[str, float]] = []
        self._pixels: list[np.ndarray] = []

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._per_image)

    def add(self, depth: np.ndarray, kind: str, truth: np.ndarray, mask: np.ndarray) -> None:
        """Add an image: depth of a kind, ground truth in metres, and the pixels that count; [h, w] each."""
        values = inverse_values(depth, kind)
        known = mask & np.isfinite(values)
        values, true = values[known], truth[known].astype(np.float64)
        if true.size:
            self._per_image.append(aligned_metrics(values, true))
            self._pixels.append(drawn(values, true, self._count))

    def per_image(self) -> dict[str, float]:
        """Return the means over the images, each aligned; empty without images."""
        return {name: float(np.mean([row[name] for row in self._per_image])) for name in METRICS} if len(self) else {}

    def at_once(self) -> dict[str, float]:
        """Return the means over the images, which are aligned at once; see `sequence_metrics`."""
        return sequence_metrics(lambda: (pixels[None] for pixels in self._pixels)) or {}


def _known(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values and ground truth of all pixels of some frames, and the number of the frame of each."""
    known = np.isfinite(pixels).all(axis=2)
    values, truth = pixels[known].astype(np.float64).T
    return values, truth, np.nonzero(known)[0]


def _depth(values: np.ndarray, line: tuple[float, float], farthest: float) -> np.ndarray:
    scale, shift = line
    return 1.0 / np.maximum(scale * values + shift, 1.0 / farthest)
