"""Settings of the scale anchor."""

from __future__ import annotations

from dataclasses import dataclass

from depth_estimation_ros.anchor import CORRECTIONS
from depth_estimation_ros.parameters.declaration import Effect, ParameterGroup, parameter


@dataclass(frozen=True)
class AnchorSettings(ParameterGroup):
    """Correction of the metric scale by measured distances."""

    reference: str = parameter(
        "none",
        "Reference that corrects the metric scale: measured distances on anchor/scan, anchor/points or anchor/range, "
        "or the floor as seen by a camera with known pose over base_frame. none applies no correction. A model of "
        "relative depth needs scan or points.",
        Effect.ACTIVATE,
        choices=("none", "scan", "points", "range", "floor"),
        name="anchor",
    )
    correction: str = parameter(
        "auto",
        "Correction estimated from the anchor: a smooth field, one scale, or a scale and a shift. auto uses field for "
        "scan and points, and scale for range and floor. Relative depth gets a scale and a shift before the field.",
        choices=("auto", *CORRECTIONS),
        name="anchor_correction",
    )
    smoothing: float = parameter(
        0.0,
        "Time constant in seconds with which the correction follows the anchor. 0 uses 0.3 for scan and points, and 2 "
        "for range and floor.",
        limits=(0.001, 60.0),
        off=0.0,
        name="anchor_smoothing",
    )
    hold: float = parameter(
        0.5,
        "Time in seconds for which the correction is kept after the anchor is lost.",
        limits=(0.0, 3600.0),
        name="anchor_hold",
    )
    release: float = parameter(
        10.0,
        "Time constant in seconds with which the scale returns to the model's own after anchor_hold. Relative depth "
        "has no scale of its own: after this time it is invalid.",
        limits=(0.01, 1e6),
        name="anchor_release",
    )
    prior: float = parameter(
        0.2,
        "Expected error of the model's own scale, as standard deviation of its logarithm; of relative depth, of the "
        "scale that past anchors predict. A larger value gives more weight to the anchor when it has few points.",
        limits=(0.01, 2.0),
        name="anchor_prior",
    )
    max_age: float = parameter(
        0.2,
        "Maximum time in seconds between an image and its anchor message.",
        limits=(0.0, 60.0),
        name="anchor_max_age",
    )
