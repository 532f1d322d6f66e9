"""Scale anchor: corrects an estimate by a reference, and returns the corrected estimate with its confidence."""

from __future__ import annotations

from dataclasses import dataclass

from depth_estimation_ros.anchor import gain
from depth_estimation_ros.anchor.field import FieldModel, fit_field
from depth_estimation_ros.anchor.filter import GainFilter, Timing
from depth_estimation_ros.anchor.gain import LogGain
from depth_estimation_ros.anchor.matching import Matches, match
from depth_estimation_ros.anchor.references import SparseDepth
from depth_estimation_ros.anchor.robust import fit_scale, fit_scale_and_shift
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.estimator import DepthMap

CORRECTIONS = ("field", "scale", "scale_shift")

LEAST_INLIER_SHARE = 0.3
"""Minimum share of inliers; a reference with fewer is ignored."""


@dataclass(frozen=True)
class Anchored:
    """
    Corrected estimate.

    Parameters
    ----------
    depth_map : DepthMap
        Corrected depth; a deviation is scaled too.
    scale : float
        Factor on depth as one number; a field varies around it. Of relative depth: see `Alignment`; NaN without one.
    deviation : float
        Standard deviation of the scale, as a fraction of it.
    confidence : float
        0 (nothing is known) to 1: the share of inliers times the reduction of the scale's uncertainty by the reference.
    points, inliers : int
        Number of reference points used for this image, and of inliers among them.
    state : str
        ``"none"`` (no reference yet), ``"anchored"``, ``"held"`` (last correction kept unchanged), ``"released"``
        (last correction decays), or ``"lost"`` (relative depth only: invalid again).
    shift : float
        Shift of relative depth, see `Alignment`; 0 for metric depth.
    trouble : str
        Why the reference was not used, as the end of a sentence; empty if it was, or there was none.
    """

    depth_map: DepthMap
    scale: float
    deviation: float
    confidence: float
    points: int
    inliers: int
    state: str
    shift: float = 0.0
    trouble: str = ""


class ScaleAnchor:
    """
    Corrector of the metric scale of a camera's estimates by a reference.

    Parameters
    ----------
    correction : {"field", "scale", "scale_shift"}
        Type of correction: a smooth field of scales, which equals one scale far from the points; one scale; or a scale
        and a shift.
    timing : Timing, optional
        Time constants.
    prior : float
        Standard deviation of the logarithm of the scale before any reference; 0.18 for the model ``small`` on held-out
        frames of its own camera. It matters if points are few: the larger it is, the more weight they have.
    model : FieldModel, optional
        Assumptions of the field about the errors of the estimate.

    Raises
    ------
    ValueError
        If the correction is unknown, or the prior is not positive or above 2.
    """

    def __init__(
        self,
        correction: str = "field",
        timing: Timing | None = None,
        prior: float = 0.2,
        model: FieldModel | None = None,
    ):
        if correction not in CORRECTIONS:
            raise ValueError(f"the correction must be one of {', '.join(CORRECTIONS)}, got {correction!r}")
        if not 0.0 < prior <= 2.0:
            raise ValueError(f"the prior deviation of the logarithmic scale must lie above 0 and up to 2, got {prior}")
        self.correction, self.prior, self._model = correction, prior, model
        self._filter = GainFilter(timing or Timing(), prior)

    @property
    def scale(self) -> float:
        """Current factor on depth as one number; 1 before any reference."""
        return self._filter.scale

    def reset(self) -> None:
        """Reset to the state before the first reference."""
        self._filter.reset()

    def update(self, depth_map: DepthMap, reference: SparseDepth | None, stamp: float) -> Anchored:
        """
        Correct the next image's estimate.

        Parameters
        ----------
        depth_map : DepthMap
            Estimate; it needs a camera if there is a reference.
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
            If there is a reference and the depth map has no camera, or the depth is relative.
        """
        depth_map.require_metres()
        state = self._filter
        state.advance(stamp)
        points = inliers = 0
        believed = False
        if reference is not None and len(reference) and len(matches := match(depth_map, reference)):
            estimate = self._fit(matches, depth_map.known_camera)
            points, inliers = estimate.points, estimate.inliers
            believed = inliers >= max(LEAST_INLIER_SHARE * points, 1)
            if believed:
                sureness = max(1.0 - estimate.deviation / self.prior, 0.0)
                state.follow(estimate, sureness * inliers / points)
        if not believed:
            state.release()
        if believed:
            label = "anchored"
        elif not state.started:
            label = "none"
        else:
            label = "held" if state.held() else "released"
        return Anchored(
            self.apply(depth_map),
            scale=state.scale,
            deviation=state.deviation,
            confidence=state.confidence,
            points=points,
            inliers=inliers,
            state=label,
        )

    def apply(self, depth_map: DepthMap) -> DepthMap:
        """Apply the current correction to an estimate of the last image, of any size."""
        return gain.apply(depth_map, self._filter.nodes) if self._filter.started else depth_map

    def _fit(self, matches: Matches, camera: PinholeCamera) -> LogGain:
        expected = self._filter.log_scale
        if self.correction == "field":
            return fit_field(matches, camera, expected, self.prior, self._model)
        fit = fit_scale if self.correction == "scale" else fit_scale_and_shift
        return fit(matches, expected, self.prior)
