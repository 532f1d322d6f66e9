"""Anchor of relative depth: makes it metric by a reference, and keeps scale and shift over time."""

from __future__ import annotations

import math

import numpy as np

from depth_estimation_ros.anchor.alignment import fit_alignment, value_range
from depth_estimation_ros.anchor.field import FieldModel
from depth_estimation_ros.anchor.filter import AlignmentFilter, Timing
from depth_estimation_ros.anchor.matching import pair
from depth_estimation_ros.anchor.references import SparseDepth
from depth_estimation_ros.anchor.scale_anchor import (
    CORRECTIONS,
    LEAST_INLIER_SHARE,
    Anchored,
    ScaleAnchor,
)
from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.model_info import KINDS


class RelativeAnchor:
    """
    Maker of metric depth from a camera's relative depth by a reference.

    Depth is NaN until the first good fit, and again after the reference was lost for the hold and release times.

    Parameters
    ----------
    kind : {"inverse_relative", "depth_relative"}
        Kind of depth, which must be that of the depth maps.
    correction : {"field", "scale", "scale_shift"}
        ``scale``: one scale. ``scale_shift``: a scale and a shift, in inverse depth for ``inverse_relative``, else in
        depth. ``field``: these, and then the smooth field of scales of `ScaleAnchor`.
    timing : Timing, optional
        Time constants. ``release`` is the time from the end of the hold time until depth becomes invalid.
    prior : float
        Expected error, in log depth, of the scale that past fits predict.
    model : FieldModel, optional
        Assumptions of the field about the errors of the estimate.

    Raises
    ------
    ValueError
        If the kind is not relative, or another parameter is as `ScaleAnchor` refuses it.
    """

    def __init__(
        self,
        kind: str,
        correction: str = "field",
        timing: Timing | None = None,
        prior: float = 0.2,
        model: FieldModel | None = None,
    ):
        relative = [name for name in KINDS if name != "metric"]
        if kind not in relative:
            raise ValueError(f"the kind of relative depth must be one of {', '.join(relative)}, got {kind!r}")
        timing = timing or Timing()
        self.kind, self.correction, self.prior = kind, correction, prior
        # Also checks correction and prior.
        field = ScaleAnchor(correction, timing, prior, model)
        self._field = field if correction == CORRECTIONS[0] else None
        self._filter = AlignmentFilter(timing, prior)

    @property
    def scale(self) -> float:
        """Current scale, see `Alignment`; NaN before the first good fit."""
        alignment = self._filter.alignment
        return math.nan if alignment is None else alignment.scale

    def reset(self) -> None:
        """Reset to the state before the first reference."""
        self._filter.reset()
        if self._field:
            self._field.reset()

    def update(self, depth_map: DepthMap, reference: SparseDepth | None, stamp: float) -> Anchored:
        """
        Make the next image's depth metric.

        Parameters
        ----------
        depth_map : DepthMap
            Relative depth of this anchor's kind; it needs a camera if there is a reference.
        reference : SparseDepth or None
            Reference depths at about the time of the image, or None.
        stamp : float
            Time of the image in seconds. If it goes back by more than a second, the anchor is reset.

        Returns
        -------
        Anchored

        Raises
        ------
        ValueError
            If there is a reference and the depth map has no camera, or its depth is of another kind.
        """
        if depth_map.kind != self.kind:
            raise ValueError(f"this anchor is for {self.kind} depth, and the depth map is {depth_map.kind}")
        state = self._filter
        state.advance(stamp)
        points = inliers = 0
        believed, trouble = False, ""
        if reference is not None and len(reference):
            pairs = pair(depth_map, reference)
            if not len(pairs):
                trouble = "none of its points lies where there is depth"
            else:
                fit = fit_alignment(
                    pairs,
                    value_range(depth_map),
                    self.kind == "inverse_relative",
                    self.correction != "scale",
                    state.expected,
                    self.prior,
                )
                points, inliers, trouble = fit.points, fit.inliers, fit.fault
                if fit.alignment and inliers >= max(LEAST_INLIER_SHARE * points, 1):
                    believed = True
                    sureness = max(1.0 - fit.deviation / self.prior, 0.0)
                    state.follow(fit.alignment, fit.deviation, sureness * inliers / points)
                elif fit.alignment:
                    trouble = f"{points - inliers} of its {points} points contradict the others"
        if not believed:
            state.release()
        metric = self._metric(depth_map, reference if believed else None, stamp)
        shift = state.alignment.shift if state.alignment else math.nan
        confidence = state.confidence
        return Anchored(
            metric, self.scale, state.deviation, confidence, points, inliers, self._label(believed), shift, trouble
        )

    def apply(self, depth_map: DepthMap) -> DepthMap:
        """Apply the current alignment and field to relative depth of the last image, of any size."""
        if self._filter.alignment is None:
            return DepthMap(np.full(depth_map.depth.shape, np.nan, np.float32), depth_map.camera)
        aligned = self._filter.alignment.apply(depth_map)
        return self._field.apply(aligned) if self._field else aligned

    def _metric(self, depth_map: DepthMap, reference: SparseDepth | None, stamp: float) -> DepthMap:
        alignment = self._filter.alignment
        if self._field is None:
            return self.apply(depth_map)
        if alignment is None:
            self._field.reset()
            return self.apply(depth_map)
        return self._field.update(alignment.apply(depth_map), reference, stamp).depth_map

    def _label(self, believed: bool) -> str:
        state = self._filter
        if not state.started:
            return "none"
        if believed:
            return "anchored"
        return "lost" if state.lost else "held" if state.held() else "released"
