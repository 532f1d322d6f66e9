"""Errors of a model by distance, and compared with the standard deviations that it estimates."""

from __future__ import annotations

import math

import numpy as np

from depth_estimation_ros.evaluation.metrics import DepthMetrics

# Edges of the ranges, metres of ground truth depth. The last range is open.
DISTANCES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
LEVELS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])


class ErrorByDistance:
    """Metrics over the pixels in each range of ground truth depth between `DISTANCES`."""

    def __init__(self):
        self._ranges = [DepthMetrics() for _ in DISTANCES]

    def add(self, depth: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> None:
        """Add an image: depth and ground truth in metres, and the mask of pixels that count."""
        depth, truth = depth[mask], truth[mask]
        index = np.searchsorted(DISTANCES, truth, side="right") - 1
        for i in np.unique(index):
            inside = index == i
            self._ranges[i].add(depth[inside], truth[inside])

    def table(self) -> list[dict[str, float]]:
        """
        Return one row for each range that has pixels.

        Returns
        -------
        list of dict
            ``from``, ``to`` (metres; ``to`` is infinite for the last), ``share`` of all pixels, and the metrics.
        """
        ends = (*DISTANCES[1:], math.inf)
        rows = [
            {"from": float(a), "to": float(b), **metrics.pooled()}
            for a, b, metrics in zip(DISTANCES, ends, self._ranges, strict=True)
            if metrics.per_image
        ]
        total = sum(row["pixels"] for row in rows)
        return [{**row, "share": row["pixels"] / total} for row in rows]


class Calibration:
    """
    Calibration of a model: how often the ground truth lies within the interval that the model predicts.

    The error is assumed to have a Laplace distribution with the variance v = 2 b^2 that the model estimates. With
    probability p, it is then smaller than -b ln(1 - p). For a calibrated model this holds for every p.
    """

    def __init__(self):
        self._within, self._pixels, self._variance = np.zeros(len(LEVELS)), 0, 0.0

    def add(self, depth: np.ndarray, truth: np.ndarray, deviation: np.ndarray, mask: np.ndarray) -> None:
        """Add an image: depth, ground truth and standard deviation in metres, and the mask of pixels that count."""
        variance = deviation[mask].astype(np.float64) ** 2
        scaled = np.abs(depth[mask] - truth[mask]) / np.sqrt(0.5 * variance)
        self._within += [(scaled <= -math.log1p(-level)).sum() for level in LEVELS]
        self._pixels += scaled.size
        self._variance += variance.sum()

    @property
    def used(self) -> bool:
        """Whether any image was added."""
        return self._pixels > 0

    def curve(self) -> list[dict[str, float]]:
        """Return the ``expected`` and ``observed`` fraction of pixels for each of `LEVELS`."""
        observed = self._within / self._pixels
        return [{"expected": float(e), "observed": float(o)} for e, o in zip(LEVELS, observed, strict=True)]

    def summary(self) -> dict[str, float]:
        """Return the mean distance of the curve from the diagonal, and the root of the mean variance in metres."""
        distance = np.mean([abs(row["observed"] - row["expected"]) for row in self.curve()])
        return {"calibration_error": float(distance), "deviation": math.sqrt(self._variance / self._pixels)}


class RiskCoverage:
    """
    Error of the pixels that remain when those with the largest relative deviation are left out.

    This is what the node's parameter ``max_relative_deviation`` does to clouds and scans. If the deviation says where
    the depth is wrong, the error falls with the coverage (risk-coverage curve, Geifman and El-Yaniv 2017).
    """

    # Limits of the deviation divided by depth. Pixels are counted between them, so that memory does not grow.
    _LIMITS = np.geomspace(0.005, 5.0, 1201)

    def __init__(self):
        self._pixels, self._errors = np.zeros((2, len(self._LIMITS) + 1))

    def add(self, depth: np.ndarray, truth: np.ndarray, deviation: np.ndarray, mask: np.ndarray) -> None:
        """Add an image: depth, ground truth and standard deviation in metres, and the mask of pixels that count."""
        depth, truth = depth[mask].astype(np.float64), truth[mask]
        index = np.searchsorted(self._LIMITS, deviation[mask] / depth)
        self._pixels += np.bincount(index, minlength=len(self._pixels))
        self._errors += np.bincount(index, np.abs(depth - truth) / truth, minlength=len(self._errors))

    def curve(self) -> list[dict[str, float]]:
        """
        Return one row for each of `COVERAGES`.

        Returns
        -------
        list of dict
            ``coverage``: fraction of pixels that remain; ``limit``: their largest deviation divided by depth;
            ``abs_rel``: their mean error.
        """
        pixels, errors = np.cumsum(self._pixels), np.cumsum(self._errors)
        limits = np.append(self._LIMITS, np.inf)
        rows = []
        for coverage in COVERAGES:
            last = int(np.searchsorted(pixels, coverage * pixels[-1] * (1 - 1e-9)))
            row = {"coverage": pixels[last] / pixels[-1], "limit": limits[last], "abs_rel": errors[last] / pixels[last]}
            rows.append({name: float(value) for name, value in row.items()})
        return rows
