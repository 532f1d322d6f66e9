"""
Accuracy metrics of metric depth, shared by training and evaluation.

The definitions are those of Eigen et al. (NIPS 2014) and Laina et al. (3DV 2016). Predictions are not scaled to fit the
ground truth: a wrong scale counts as an error.
"""

from __future__ import annotations

import numpy as np

METRICS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "delta1", "delta2", "delta3")

# Every metric is computed from these sums; pooling adds them up over images.
_SUMS = ("abs_rel", "sq_rel", "sq", "sq_log", "abs_log10", "log", "delta1", "delta2", "delta3")


def depth_metrics(prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float]:
    """
    Compare one depth map, or several concatenated ones, with the ground truth.

    Parameters
    ----------
    prediction, truth : numpy.ndarray
        Depth in metres, both of the same shape. Pixels whose ground truth is not a positive number are ignored.
    mask : numpy.ndarray of bool, optional
        Pixels to compare, of the same shape. All pixels without it.

    Returns
    -------
    dict
        ``abs_rel``, ``sq_rel`` (metres), ``rmse`` (metres), ``rmse_log`` (natural logarithm), ``log10``,
        ``silog`` (x 100), ``delta1`` to ``delta3`` (shares of pixels with a ratio below 1.25, 1.25^2, 1.25^3), and
        ``pixels`` (number of compared pixels).

    Raises
    ------
    ValueError
        If the shapes differ, no pixel can be compared, or a compared prediction is not a positive number.
    """
    return _metrics(*_sums(prediction, truth, mask))


def eigen_crop_mask(truth: np.ndarray, near: float = 1e-3, far: float = 10.0) -> np.ndarray:
    """
    Return the mask of the pixels that the Eigen protocol of NYU Depth v2 evaluates.

    These are rows 45 to 470 and columns 41 to 600 of 640x480 where ``near < truth < far``. For a map that holds every
    n-th pixel, the same window is used.

    Parameters
    ----------
    truth : numpy.ndarray
        Ground truth, [h, w] metres, of 640x480 pixels or 640x480 divided by a whole number.
    near, far : float
        Range of valid ground truth in metres.

    Returns
    -------
    numpy.ndarray
        bool [h, w].

    Raises
    ------
    ValueError
        If the map is not 4:3 with 640 a multiple of its width.
    """
    h, w = truth.shape
    if 640 % w or h * 4 != w * 3:
        raise ValueError(f"the Eigen crop is defined for 640x480 or a whole fraction of it, not {w}x{h}")
    rows, columns = np.arange(h) * (640 // w), np.arange(w) * (640 // w)
    window = ((rows >= 45) & (rows < 471))[:, None] & ((columns >= 41) & (columns < 601))
    return window & (truth > near) & (truth < far)


class DepthMetrics:
    """Metrics over many images: averaged over images, or pooled over all pixels."""

    def __init__(self):
        self.per_image: list[dict[str, float]] = []
        self._pixels, self._totals = 0, dict.fromkeys(_SUMS, 0.0)

    def add(self, prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float]:
        """Add one image and return its metrics; parameters, result and errors are those of `depth_metrics`."""
        pixels, sums = _sums(prediction, truth, mask)
        self._pixels += pixels
        for name in _SUMS:
            self._totals[name] += sums[name]
        self.per_image.append(_metrics(pixels, sums))
        return self.per_image[-1]

    def mean(self) -> dict[str, float]:
        """Return the mean of the per-image metrics; empty without images."""
        if not self.per_image:
            return {}
        return {name: float(np.mean([row[name] for row in self.per_image])) for name in METRICS}

    def pooled(self) -> dict[str, float]:
        """Return the metrics of all pixels taken together; empty without images."""
        return _metrics(self._pixels, self._totals) if self.per_image else {}


class PixelErrors:
    """
    Errors of a set of pixels, from which metrics are computed for all pixels or for groups of pixels.

    Parameters
    ----------
    prediction, truth : numpy.ndarray
        Positive float64 [n], metres.
    """

    def __init__(self, prediction: np.ndarray, truth: np.ndarray):
        self._terms = _terms(prediction, truth)
        self._pixels = truth.size

    def sums(self) -> dict[str, float]:
        """Return the sums over all pixels; sums of several images can be added."""
        return {name: float(values.sum()) for name, values in self._terms.items()}

    def metrics(self) -> dict[str, float]:
        """Return the metrics of all pixels, as `depth_metrics` does."""
        return _metrics(self._pixels, self.sums())

    def grouped(self, groups: np.ndarray, count: int) -> dict[str, np.ndarray]:
        """
        Return the sums over the pixels of each group; sums of several images can be added.

        Parameters
        ----------
        groups : numpy.ndarray of int
            Group of each pixel, [n], 0 <= group < count.
        count : int
            Number of groups.

        Returns
        -------
        dict
            float64 [count] each: ``pixels``, ``abs_rel``, ``sq`` (squared error in square metres; ``rmse`` is the root
            of its mean), ``log`` (logarithm of prediction / truth) and ``delta1``.
        """
        sums = {name: np.bincount(groups, self._terms[name], count) for name in ("abs_rel", "sq", "log", "delta1")}
        return {"pixels": np.bincount(groups, minlength=count).astype(np.float64), **sums}


def _sums(prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray | None) -> tuple[int, dict[str, float]]:
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape or (mask is not None and mask.shape != truth.shape):
        raise ValueError(f"prediction {prediction.shape}, truth {truth.shape} and mask must have one shape")
    with np.errstate(invalid="ignore"):
        counted = np.isfinite(truth) & (truth > 0)
    if mask is not None:
        counted &= mask
    d, g = prediction[counted].astype(np.float64), truth[counted].astype(np.float64)
    if not g.size:
        raise ValueError("no pixel has a positive true depth inside the mask: there is nothing to compare")
    if not (np.isfinite(d).all() and (d > 0).all()):
        raise ValueError("predictions must be positive numbers where they are counted: clamp or mask them first")
    return g.size, PixelErrors(d, g).sums()


def _terms(d: np.ndarray, g: np.ndarray) -> dict[str, np.ndarray]:
    """Return the contribution of each pixel to each of `_SUMS`."""
    error, log_error = d - g, np.log(d) - np.log(g)
    ratio = np.maximum(d / g, g / d)
    return {
        "abs_rel": np.abs(error) / g,
        "sq_rel": error**2 / g,
        "sq": error**2,
        "sq_log": log_error**2,
        "abs_log10": np.abs(log_error) / np.log(10),
        "log": log_error,
        **{f"delta{n}": ratio < 1.25**n for n in (1, 2, 3)},
    }


def _metrics(pixels: int, sums: dict[str, float]) -> dict[str, float]:
    mean = {name: value / pixels for name, value in sums.items()}
    return {
        "abs_rel": mean["abs_rel"],
        "sq_rel": mean["sq_rel"],
        "rmse": mean["sq"] ** 0.5,
        "rmse_log": mean["sq_log"] ** 0.5,
        "log10": mean["abs_log10"],
        "silog": 100.0 * max(mean["sq_log"] - mean["log"] ** 2, 0.0) ** 0.5,
        "delta1": mean["delta1"],
        "delta2": mean["delta2"],
        "delta3": mean["delta3"],
        "pixels": pixels,
    }
