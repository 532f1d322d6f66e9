"""Scale anchor of the node: depth is corrected by messages of measured distances, or by the floor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from geometry_msgs.msg import Vector3Stamped
from sensor_msgs.msg import LaserScan, PointCloud2, Range
from std_msgs.msg import Header

from depth_estimation_ros.anchor import (
    Anchored,
    RelativeAnchor,
    ScaleAnchor,
    SparseDepth,
    floor_reference,
    points_reference,
    range_reference,
)
from depth_estimation_ros.anchor.filter import Timing
from depth_estimation_ros.conversions import message_to_points
from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.geometry.laser_scan import scan_points
from depth_estimation_ros.pipeline.navigation import Latest
from depth_estimation_ros.settings import AnchorSettings
from depth_estimation_ros.support.sentences import quoted

REFERENCE_TYPES = {"scan": LaserScan, "points": PointCloud2, "range": Range}
"""Message types of the topics ``anchor/...``, by the value of the parameter ``anchor``."""

Reference: TypeAlias = LaserScan | PointCloud2 | Range


SEVERAL = ("points", "scan")
"""Values of the parameter ``anchor`` with several true depths an image, which relative depth needs."""


class Anchoring:
    """
    Correction of the metric scale of one camera's depth, or its metric depth if the model's is relative.

    Attributes
    ----------
    result : Anchored or None
        Result of the last correction; None without an anchor.
    trouble : str
        Reason why the depth could not be anchored, one sentence; empty if it was.
    """

    def __init__(self):
        self._anchor: Latest[ScaleAnchor | RelativeAnchor] = Latest()
        self._relative = False
        self.result: Anchored | None = None
        self.trouble = ""

    def __call__(
        self,
        depth_map: DepthMap,
        header: Header,
        settings: AnchorSettings,
        reference: Callable[[], Reference | None],
        pose_of: Callable[[str], np.ndarray],
        pose: Callable[[], np.ndarray],
    ) -> DepthMap:
        """
        Correct the depth of the next image.

        Parameters
        ----------
        depth_map : DepthMap
            Estimated depth with its camera, in the image's TF frame.
        header : std_msgs.msg.Header
            Header of the image.
        settings : AnchorSettings
            Settings of the anchor.
        reference : callable
            Function that returns the anchor message for the image, or None.
        pose_of : callable
            Function that returns the transform from a TF frame to the image's, float [4, 4], or raises ValueError.
        pose : callable
            Function that returns the camera's pose over the floor, float [4, 4], or raises ValueError.

        Returns
        -------
        DepthMap
            Corrected depth; `depth_map` itself if the settings have no anchor.

        Raises
        ------
        ValueError
            If the depth is relative and the settings have no anchor with several points.
        """
        if settings.reference not in SEVERAL:
            depth_map.require_metres()
        if settings.reference == "none":
            self.result, self.trouble = None, ""
            return depth_map
        kind, self._relative = depth_map.kind, depth_map.kind != "metric"
        anchor = self._anchor((kind, *_options(settings)), lambda: _make_anchor(kind, settings))
        found, trouble, frame_id = None, "", ""
        try:
            if settings.reference == "floor":
                found = floor_reference(depth_map, pose(), anchor.scale)
            elif (message := reference()) is not None:
                frame_id = message.header.frame_id
                found = _sparse_depth(message, depth_map, pose_of(frame_id))
        except ValueError as error:
            trouble = f"depth is not anchored: {error}"
        stamp = header.stamp.sec + 1e-9 * header.stamp.nanosec
        self.result = result = anchor.update(depth_map, found, stamp or time.monotonic())
        if settings.reference in SEVERAL and found is not None and result.state != "anchored":
            seen = f"{result.points} points of anchor/{settings.reference} lie where there is depth"
            why = f"and {result.inliers} of them agree; is their frame {quoted(frame_id)}?"
            if result.points and result.trouble:
                why = f"but {result.trouble}"
            trouble = f"depth is not anchored: {seen}, {why}"
        self.trouble = trouble
        return result.depth_map

    def describe(self) -> dict[str, str]:
        """Return facts about the anchor by name, for diagnostics."""
        if self.result is None:
            return {}
        r = self.result
        shift = {"anchor_shift": f"{r.shift:.4g}"} if self._relative else {}
        return {
            "anchor": r.state,
            "anchor_scale": f"{r.scale:.3f}",
            **shift,
            "anchor_deviation": f"{r.deviation:.3f}",
            "anchor_confidence": f"{r.confidence:.2f}",
            "anchor_points": str(r.points),
            "anchor_inliers": str(r.inliers),
        }

    def message(self, header: Header) -> Vector3Stamped:
        """
        Return the message of ``depth/scale``.

        x is the scale, y its relative standard deviation, z its confidence. They are 1, NaN, 0 without an anchor.
        """
        message, result = Vector3Stamped(header=header), self.result
        known = (1.0, float("nan"), 0.0) if result is None else (result.scale, result.deviation, result.confidence)
        message.vector.x, message.vector.y, message.vector.z = map(float, known)
        return message


def _options(settings: AnchorSettings) -> tuple[str, float, float, float, float]:
    exact = settings.reference in ("scan", "points")
    correction = settings.correction
    return (
        ("field" if exact else "scale") if correction == "auto" else correction,
        settings.smoothing or (0.3 if exact else 2.0),
        settings.hold,
        settings.release,
        settings.prior,
    )


def _make_anchor(kind: str, settings: AnchorSettings) -> ScaleAnchor | RelativeAnchor:
    correction, smoothing, hold, release, prior = _options(settings)
    timing = Timing(smoothing, hold, release)
    if kind == "metric":
        return ScaleAnchor(correction, timing, prior)
    return RelativeAnchor(kind, correction, timing, prior)


def _sparse_depth(message: Reference, depth_map: DepthMap, to_optical: np.ndarray) -> SparseDepth | None:
    """Return the measured depths of an anchor message, or None if it contains none."""
    if isinstance(message, Range):
        if not 0.0 <= message.min_range < message.max_range:
            raise ValueError(
                f"anchor/range gives distances between min_range {message.min_range:g} m and max_range "
                f"{message.max_range:g} m, where no reading can lie"
            )
        # A range that is infinite or outside the limits means that no object was detected (REP 117).
        if not message.min_range <= message.range <= message.max_range or math.isinf(message.range):
            return None
        return range_reference(depth_map, message.range, message.field_of_view, to_optical)
    if isinstance(message, LaserScan):
        m = message
        xyz = scan_points(m.ranges, m.angle_min, m.angle_increment, m.range_min, m.range_max)
    else:
        xyz = message_to_points(message).reshape(-1, 3)
    return points_reference(xyz, to_optical)
