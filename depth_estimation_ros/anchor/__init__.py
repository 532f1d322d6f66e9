"""
Metric scale that holds: depth corrected by what a robot knows of true distances.

A reference (`references`, `floor`) gives true depths at a few points. Their log ratios to the estimated depth give one
robust scale, a scale and a shift (`robust`), or a smooth field (`field`), each a `LogGain` (`gain`); `filter` follows
it in time. `ScaleAnchor` is all of it together. No ROS here.
"""

from depth_estimation_ros.anchor.floor import floor_reference
from depth_estimation_ros.anchor.references import SparseDepth, points_reference, range_reference
from depth_estimation_ros.anchor.scale_anchor import CORRECTIONS, Anchored, ScaleAnchor

__all__ = [
    "CORRECTIONS",
    "Anchored",
    "ScaleAnchor",
    "SparseDepth",
    "floor_reference",
    "points_reference",
    "range_reference",
]
