"""
Metric scale correction of depth by reference depths that a robot measures.

A reference (`references`, `floor`) gives true depths at a few points. From their log ratios to the estimated depth,
`robust` fits one scale, or a scale and a shift, and `field` a smooth field; each result is a `LogGain` (`gain`).
`filter` smooths it over time. `ScaleAnchor` combines all of these. `RelativeAnchor` does the same for relative depth,
to which `alignment` fits a scale and a shift first. The package does not use ROS.
"""

from depth_estimation_ros.anchor.floor import floor_reference
from depth_estimation_ros.anchor.references import SparseDepth, points_reference, range_reference
from depth_estimation_ros.anchor.relative_anchor import RelativeAnchor
from depth_estimation_ros.anchor.scale_anchor import CORRECTIONS, Anchored, ScaleAnchor

__all__ = [
    "CORRECTIONS",
    "Anchored",
    "RelativeAnchor",
    "ScaleAnchor",
    "SparseDepth",
    "floor_reference",
    "points_reference",
    "range_reference",
]
