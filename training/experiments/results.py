"""Results of a training of the study over its seeds, with the uncertainty due to the choice of test frames."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from depth_estimation_ros.evaluation.result.bootstrap import Interval as Difference
from depth_estimation_ros.evaluation.result.bootstrap import mean_interval
from training.curves import read_curves
from training.experiments.grid import grid_amplitude


@dataclass(frozen=True)
class Result:
    """
    Result of one training of an experiment.

    Parameters
    ----------
    name, title : str
        Name of the training, and its title in the report.
    folders : tuple of pathlib.Path
        Folder of each seed, with ``frames.csv`` of the test frames.
    seeds : tuple of dict
        ``figures.json`` of each seed.
    """

    name: str
    title: str
    folders: tuple[Path, ...]
    seeds: tuple[dict[str, Any], ...]

    def mean(self, protocol: str, metric: str) -> float:
        """Return a metric on the test frames as the protocol averages it, mean over the seeds."""
        kind = "pooled" if protocol == "fcrn" else "per_image_mean"
        return float(np.mean([seed[protocol][kind][metric] for seed in self.seeds]))

    def spread(self, metric: str) -> tuple[float, float]:
        """Return the smallest and largest value over the seeds, Eigen crop."""
        values = [seed["eigen"]["per_image_mean"][metric] for seed in self.seeds]
        return min(values), max(values)

    @property
    def training_abs_rel(self) -> float:
        """``abs_rel`` on frames that the network was trained on, mean over the seeds."""
        return float(np.mean([seed["training_frames"]["abs_rel"] for seed in self.seeds]))

    @property
    def gap(self) -> float:
        """Ratio of ``abs_rel`` on test frames to that on frames that the network was trained on."""
        return self.mean("eigen", "abs_rel") / self.training_abs_rel

    @property
    def loss_gap(self) -> float:
        """Ratio of the loss on held-out frames to that on training frames after the last epoch, mean over the seeds."""
        ratios = []
        for folder in self.folders:
            curves = read_curves(folder)
            ratios.append(curves["val/loss"][1][-1] / curves["train/loss"][1][-1])
        return float(np.mean(ratios))

    @property
    def spectrum(self) -> np.ndarray:
        """Mean power of the depth maps, see `grid.spectrum`."""
        return np.mean([seed["spectrum"] for seed in self.seeds], axis=0)

    @property
    def grid(self) -> dict[int, float]:
        """Amplitude of the grid by period, see `grid.grid_amplitude`."""
        return grid_amplitude(self.spectrum)

    @cached_property
    def frames(self) -> dict[str, np.ndarray]:
        """Metrics of each test frame by name (Eigen crop, mean over the seeds), and ``name`` of each frame."""
        tables = []
        for folder in self.folders:
            with open(folder / "frames.csv", newline="") as file:
                tables.append(list(csv.DictReader(file)))
        metrics = [key for key in tables[0][0] if key != "name"]
        found = {m: np.mean([[float(row[m]) for row in table] for table in tables], axis=0) for m in metrics}
        return {"name": np.array([row["name"] for row in tables[0]]), **found}


def difference(result: Result, reference: Result, metric: str = "abs_rel") -> Difference:
    """
    Compare two results frame by frame.

    Parameters
    ----------
    result, reference : Result
        Results on the same test frames.
    metric : str
        A metric of every frame.

    Returns
    -------
    Difference
        Metric of ``result`` minus that of ``reference``. The interval covers the choice of frames (percentile
        bootstrap, Efron 1979). Only several seeds show how much another seed of the training would change.
    """
    apart = result.frames[metric] - reference.frames[metric]
    # No blocks, because the test frames of NYU Depth v2 are single images of many places.
    return mean_interval([apart[:, None]])[0]
