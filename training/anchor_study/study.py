"""Accuracy of anchored depth on frames with ground truth, of which the anchor gets a few points."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from rich.progress import track

from depth_estimation_ros.anchor import CORRECTIONS, ScaleAnchor, SparseDepth, points_reference
from depth_estimation_ros.anchor.field import FieldModel
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.estimator import DepthEstimator, DepthMap
from depth_estimation_ros.evaluation.metrics import DepthMetrics
from training.data.module import hold_out
from training.evaluate import frame_of, open_frames
from training.protocols import PROTOCOLS

PROTOCOL = PROTOCOLS["eigen"]
NOISE = 0.01
"""Standard deviation of the true depths that are given, as a share of the depth."""

WRONG = (0.5, 10.0)
"""Metres between which wrong points lie, evenly."""

POINTS = (10, 20, 50, 100, 200, 500)

HELD_OUT = 0.1
"""Share of the training frames on which the field's assumptions are chosen: those the recipe demo.yaml holds out."""

TRIED = {
    "deviation": (0.1, 0.15, 0.2, 0.25, 0.3),
    "width": (0.14, 0.18, 0.22, 0.26, 0.32),
    "log_depth_width": (0.15, 0.2, 0.3, 0.45, 0.7, 5.0),
    "noise": (0.04, 0.05, 0.06, 0.08, 0.1),
    "outlier_share": (0.1, 0.2, 0.3, 0.4, 0.5),
}


@dataclass(frozen=True)
class Reference:
    """
    The ground truth that the anchor gets of a frame.

    Parameters
    ----------
    points : int
        Number of random pixels with known depth. 0 takes all of the middle row, as a laser scanner would measure it.
    outliers : float
        Probability that a point is wrong (`WRONG`).
    """

    points: int
    outliers: float = 0.0

    @property
    def name(self) -> str:
        """Name in a table."""
        return f"{self.points} points" if self.points else "one row"

    def draw(self, truth: np.ndarray, camera: PinholeCamera, seed: int) -> SparseDepth:
        """
        Draw the points of a frame.

        Parameters
        ----------
        truth : numpy.ndarray
            [h, w] metres, 0 where unknown.
        camera : PinholeCamera
            Camera of that size.
        seed : int
            Seed of the frame.
        """
        generator = np.random.default_rng([seed, self.points])
        if self.points:
            known = np.flatnonzero(truth)
            chosen = generator.choice(known, min(self.points, known.size), replace=False)
        else:
            middle = truth.shape[0] // 2 * truth.shape[1]
            chosen = middle + np.flatnonzero(truth[truth.shape[0] // 2])
        depth = truth.reshape(-1)[chosen] * np.exp(generator.normal(0.0, NOISE, chosen.size))
        wrong = generator.random(chosen.size) < self.outliers
        depth = np.where(wrong, generator.uniform(*WRONG, chosen.size), depth)
        rays = camera.rays().reshape(-1, 2)[chosen]
        return points_reference(np.concatenate([rays, np.ones((chosen.size, 1))], axis=1) * depth[:, None])


@dataclass(frozen=True)
class Frame:
    """Estimate and ground truth of a frame, [h, w] metres, 0 where unknown, and the camera of the ground truth."""

    estimate: DepthMap
    truth: np.ndarray
    camera: PinholeCamera


def estimate_frames(estimator: DepthEstimator, data: Path, depth_scale: float, split: str) -> list[Frame]:
    """
    Estimate the depth of frames of NYU Depth v2.

    Parameters
    ----------
    estimator : DepthEstimator
        The model.
    data, depth_scale
        As for `training.evaluate.open_frames`.
    split : {"test", "held_out"}
        The test frames, or `HELD_OUT` of the training frames.

    Returns
    -------
    list of Frame
    """
    frames, names = open_frames(data, "test" if split == "test" else "train", depth_scale, PROTOCOL)
    chosen: Sequence[int] = range(len(names))
    if split == "held_out":
        held = set(hold_out(names, HELD_OUT)[1])
        chosen = [i for i, name in enumerate(names) if name in held]
    found = []
    for i in track(chosen, description="estimating"):
        rgb, truth, camera = frame_of(frames, i)
        found.append(Frame(estimator.estimate(rgb, camera), truth, camera))
    return found


def accuracy(
    frames: list[Frame],
    correction: str | None = None,
    reference: Reference | None = None,
    model: FieldModel | None = None,
    label: str = "",
) -> dict[str, float]:
    """
    Return the accuracy of estimates, each corrected with the reference of its own frame only.

    Parameters
    ----------
    frames : list of Frame
        The estimates.
    correction : str, optional
        One of `depth_estimation_ros.anchor.CORRECTIONS`; by default no correction.
    reference : Reference, optional
        The ground truth that the anchor gets of each frame.
    model : FieldModel, optional
        Assumptions of the field.
    label : str
        Label of a progress bar; without it there is no bar.

    Returns
    -------
    dict
        Metrics by the Eigen protocol. With a correction also ``milliseconds``, the median time of an update,
        ``confidence``, its mean, and ``inliers``, the mean fraction of inliers.
    """
    metrics, spent, confidence, inliers = DepthMetrics(), [], [], []
    for seed, frame in enumerate(track(frames, description=label) if label else frames):
        estimate = frame.estimate
        if correction and reference:
            drawn = reference.draw(frame.truth, frame.camera, seed)
            anchor = ScaleAnchor(correction, model=model)
            start = time.perf_counter()
            anchored = anchor.update(estimate, drawn, 0.0)
            spent.append(1e3 * (time.perf_counter() - start))
            estimate = anchored.depth_map
            confidence.append(anchored.confidence)
            inliers.append(anchored.inliers / max(anchored.points, 1))
        depth = estimate.resized(frame.camera.width, frame.camera.height).depth
        depth, counted = PROTOCOL.compared(depth, frame.truth)
        metrics.add(depth, frame.truth, counted)
    found = PROTOCOL.figures(metrics)
    if spent:
        found |= {
            "milliseconds": float(np.median(spent)),
            "confidence": float(np.mean(confidence)),
            "inliers": float(np.mean(inliers)),
        }
    return found


def study(frames: list[Frame], references: list[Reference]) -> list[dict]:
    """Return a row for the uncorrected estimates, and one for each reference and correction."""
    rows = [{"reference": "none", "points": 0, "outliers": 0.0, "correction": "none", **accuracy(frames)}]
    for reference in references:
        for correction in CORRECTIONS:
            label = f"{reference.name}, {reference.outliers:.0%} wrong, {correction}"
            found = accuracy(frames, correction, reference, label=label)
            rows.append({"reference": reference.name, **asdict(reference), "correction": correction, **found})
    return rows


def tune(frames: list[Frame], rounds: int = 2) -> tuple[FieldModel, list[dict]]:
    """
    Choose the assumptions of the field, one after another among `TRIED`.

    The best assumptions have the smallest geometric mean of ``abs_rel`` over all numbers of points, with and without
    wrong points, and over one row of pixels.

    Parameters
    ----------
    frames : list of Frame
        Held-out training frames, never test frames.
    rounds : int
        How often each assumption is chosen.

    Returns
    -------
    model : FieldModel
        The best assumptions.
    trials : list of dict
        All assumptions that were tried, with that mean as ``abs_rel``.
    """
    references = [Reference(n, share) for n in POINTS for share in (0.0, 1 / 3)] + [Reference(0)]
    best, trials = FieldModel(), []

    @cache
    def score(model: FieldModel) -> float:
        found = [accuracy(frames, "field", reference, model)["abs_rel"] for reference in references]
        mean = float(np.exp(np.mean(np.log(found))))
        trials.append({**asdict(model), "abs_rel": mean})
        return mean

    for name in track([n for _ in range(rounds) for n in TRIED], description="choosing"):
        candidates = [best, *(replace(best, **{name: value}) for value in TRIED[name])]
        best = min(candidates, key=score)
    return best, trials
