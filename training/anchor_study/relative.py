"""
A metric model turned into a relative one: what anchored relative depth loses, measured without another model.

Inverse depth gets a random scale and shift, which drift from frame to frame. The anchor gets the same points as that of
the metric model, and keeps its scale and shift from frame to frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np
from rich.progress import track

from depth_estimation_ros.anchor import RelativeAnchor, ScaleAnchor
from depth_estimation_ros.anchor.filter import Timing
from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.evaluation.metrics import DepthMetrics
from training.anchor_study.study import PROTOCOL, Frame, Reference

DRIFT = 0.02
"""Standard deviation of the change of the logarithm of the scale from one frame to the next; of the shift, a tenth."""

PUBLISHED = (
    ("500 points", "OMNI-DC v1.1", 0.014, 0.112),
    ("200 points", "OMNI-DC v1.1", 0.019, 0.143),
    ("100 points", "OMNI-DC v1.1", 0.024, 0.167),
    ("50 points", "OMNI-DC v1.1", 0.029, 0.193),
    ("50 points", "OMNI-DC v1.0", 0.041, 0.225),
    ("5 points", "OMNI-DC v1.1", 0.070, 0.330),
    ("all pixels", "Depth Anything V1 S, aligned", 0.053, None),
    ("all pixels", "MiDaS BEiT-L, aligned", 0.048, None),
)
"""Published AbsRel and RMSE (m) on NYU Depth v2: networks that complete depth, and relative ones with dense truth."""


def as_relative(frames: Sequence[Frame], seed: int = 0, drift: float = DRIFT) -> Iterator[DepthMap]:
    """Yield the estimates as the relative inverse depth of an unknown, drifting scale and shift."""
    generator = np.random.default_rng(seed)
    log_scale, shift = generator.normal(0.0, 1.0), generator.normal(0.0, 0.3)
    for frame in frames:
        values = (1.0 / frame.estimate.depth - shift) * math.exp(-log_scale)
        yield replace(frame.estimate, depth=values.astype(np.float32), deviation=None, kind="inverse_relative")
        log_scale += drift * generator.normal()
        shift += 0.1 * drift * generator.normal()


def relative_study(
    frames: Sequence[Frame], references: Sequence[Reference], correction: str = "field", seed: int = 0
) -> list[dict]:
    """
    Compare anchored relative depth with anchored metric depth of the same model and points.

    Parameters
    ----------
    frames : sequence of Frame
        Estimates of a metric model.
    references : sequence of Reference
        What the anchors get of each frame.
    correction : str
        One of `depth_estimation_ros.anchor.CORRECTIONS`.
    seed : int
        Seed of scale, shift and drift.

    Returns
    -------
    list of dict
        For each reference ``abs_rel`` and ``rmse`` of ``metric`` and ``relative`` depth over the frames for which
        there is relative depth, their ``ratio`` of ``abs_rel``, and the number of frames ``without_depth``.
    """
    rows = []
    for reference in references:
        label = f"{reference.name}, {reference.outliers:.0%} wrong"
        # Frames are views of different rooms, so nothing is smoothed.
        relative = RelativeAnchor("inverse_relative", correction, Timing(smoothing=0.0))
        found = {"metric": DepthMetrics(), "relative": DepthMetrics()}
        without = 0
        both = zip(track(frames, description=label), as_relative(frames, seed), strict=True)
        for seconds, (frame, depth) in enumerate(both):
            drawn = reference.draw(frame.truth, frame.camera, seconds)
            anchored = relative.update(depth, drawn, float(seconds))
            if anchored.state in ("none", "lost"):
                without += 1
                continue
            metric = ScaleAnchor(correction).update(frame.estimate, drawn, 0.0)
            for name, estimate in (("metric", metric.depth_map), ("relative", anchored.depth_map)):
                shown = estimate.resized(frame.camera.width, frame.camera.height).depth
                shown, counted = PROTOCOL.compared(shown, frame.truth)
                found[name].add(shown, frame.truth, counted)
        figures = {name: PROTOCOL.figures(metrics) for name, metrics in found.items() if metrics.per_image}
        if not figures:
            raise ValueError(f"with {label}, no frame got relative depth")
        rows.append(
            {
                "reference": reference.name,
                **asdict(reference),
                **{
                    name: {key: values[key] for key in ("abs_rel", "rmse", "delta1")}
                    for name, values in figures.items()
                },
                "ratio": figures["relative"]["abs_rel"] / figures["metric"]["abs_rel"],
                "without_depth": without,
            }
        )
    return rows


def print_relative(rows: list[dict], title: str) -> None:
    """Print the rows of `relative_study`, and published figures below them."""
    print(title)
    print(f"{'reference':<12}{'wrong':>6}{'metric':>10}{'relative':>10}{'ratio':>8}{'RMSE, m':>10}{'no depth':>10}")
    for row in rows:
        print(
            f"{row['reference']:<12}{row['outliers']:>6.0%}{row['metric']['abs_rel']:10.4f}"
            f"{row['relative']['abs_rel']:10.4f}{row['ratio']:8.3f}{row['relative']['rmse']:10.3f}"
            f"{row['without_depth']:10d}"
        )
    print("\npublished on NYU Depth v2, other networks (AbsRel, RMSE)")
    for reference, method, abs_rel, rmse in PUBLISHED:
        print(f"{reference:<12}{method:<32}{abs_rel:8.3f}" + ("" if rmse is None else f"{rmse:8.3f} m"))
