"""Accuracy before and after an adaptation, on the held-out part of the recordings and on NYU Depth v2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.evaluation.metrics import METRICS
from depth_estimation_ros.evaluation.result.frame_result import compare
from depth_estimation_ros.evaluation.result.sample import Sample
from depth_estimation_ros.imaging.resample import shrink
from training.adapt.frames import on_grid
from training.adapt.site import Split
from training.evaluate import evaluate, open_frames
from training.pictures import comparison_picture
from training.predictor import Predictor
from training.protocols import PROTOCOLS

MOST = 300
"""Largest number of held-out images that are compared, evenly spread over the recordings."""

PICTURED = 4
"""Number of images in the picture."""

_WIDTH = 320  # of an image in the picture, pixels


@dataclass(frozen=True)
class Comparison:
    """
    Two models on the same frames.

    Parameters
    ----------
    what : str
        Description of the frames.
    frames : int
        Their number.
    before, after : dict
        Mean over the frames of each metric, by name.
    """

    what: str
    frames: int
    before: dict[str, float]
    after: dict[str, float]

    @property
    def change(self) -> float:
        """Relative change of AbsRel; negative is better."""
        return self.after["abs_rel"] / self.before["abs_rel"] - 1


def on_site(
    splits: Sequence[Split], before: DepthEstimator, after: DepthEstimator, tick: Callable[[], None] = lambda: None
) -> tuple[Comparison, np.ndarray]:
    """
    Compare two models on the held-out part of recordings, as ``evaluate_bag`` does.

    Parameters
    ----------
    splits : sequence of Split
        The recordings.
    before, after : DepthEstimator
        The models.
    tick : callable
        Called after each image.

    Returns
    -------
    comparison : Comparison
    picture : numpy.ndarray
        uint8 [h, w, 3]: some of the images with ground truth and both estimates.
    """
    rows, most = [], max(1, MOST // len(splits))
    pictures: list[np.ndarray] = []
    for split in splits:
        chosen = split.indices(True, most)
        waiting = [chosen[i] for i in np.linspace(0, len(chosen) - 1, PICTURED).round().astype(int)]
        for sample in split.samples(True, most):
            depths = [model.estimate(sample.rgb, sample.camera).depth for model in (before, after)]
            found = [compare(sample, depth, split.recording.name, "").raw for depth in depths]
            if all(found):  # a model may estimate no depth where the truth is known
                rows.append(found)
            if waiting and sample.index >= waiting[0] and len(pictures) < PICTURED:
                waiting = [index for index in waiting if index > sample.index]
                pictures.append(_drawn(sample, *depths))
            tick()
    if not rows:
        raise ValueError("no image of the held-out part has both ground truth and an estimate: nothing was written")
    means = ({name: float(np.mean([row[i][name] for row in rows])) for name in METRICS} for i in (0, 1))
    return Comparison("held-out part of the site", len(rows), *means), np.vstack(pictures)


def on_nyu(data: Path, depth_scale: float, before: DepthEstimator, after: DepthEstimator) -> Comparison:
    """Compare two models on the test frames of NYU Depth v2; ``data``, ``depth_scale``: see `evaluate.open_frames`."""
    protocol = PROTOCOLS["eigen"]
    frames, names = open_frames(data, "test", depth_scale, protocol)
    means = (evaluate(Predictor(model), frames, names, protocol).mean() for model in (before, after))
    return Comparison("test frames of NYU Depth v2", len(names), *means)


def _drawn(sample: Sample, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Draw an image with its ground truth, sparse points enlarged, and the estimates; colours span the truth."""
    height = round(_WIDTH * sample.rgb.shape[0] / sample.rgb.shape[1])
    truth = on_grid(sample.truth, (height, _WIDTH))
    if (truth > 0).mean() < 0.2:
        truth = np.where(truth > 0, truth, cv2.dilate(truth, np.ones((5, 5), np.uint8)))
    scale = 9 / truth.max()  # the picture's colours go to 10 m
    estimates = {"before": before, "after": after}
    depths = {title: scale * cv2.resize(depth, (_WIDTH, height)) for title, depth in estimates.items()}
    return comparison_picture(shrink(sample.rgb, _WIDTH, height), scale * truth, depths)
