"""Filter that smooths a correction over time and releases it slowly when its reference is lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.anchor.alignment import Alignment
from depth_estimation_ros.anchor.gain import LogGain, constant_nodes

FIELD_RELEASE = 1.0
"""Time constant in seconds in which a field without reference decays to one scale, because the view changes."""

CONFIDENCE_RELEASE = 10.0
"""Longest time constant in seconds in which confidence decays, even if the scale is kept forever."""

MEMORY = 30.0
"""Time constant in seconds of the mean that predicts the alignment of relative depth."""

OUT_OF_ORDER = 1.0
"""Seconds; an image older than the previous one by less than this is only late, and gets the previous correction."""


@dataclass(frozen=True)
class Timing:
    """
    Time constants of a correction, in seconds.

    Parameters
    ----------
    smoothing : float
        Time constant of the smoothing of new estimates; 0 turns smoothing off.
    hold : float
        Time for which the last estimate is kept unchanged without a reference.
    release : float
        Time constant with which the scale then returns to 1; infinite keeps the scale.

    Raises
    ------
    ValueError
        If a time is negative, or ``release`` is 0.
    """

    smoothing: float = 0.3
    hold: float = 0.5
    release: float = 10.0

    def __post_init__(self):
        """Check the times."""
        # Written so that NaN fails as well.
        if not (0 <= self.smoothing < math.inf and 0 <= self.hold < math.inf and self.release > 0):
            raise ValueError(
                "smoothing and hold must be finite times of 0 s or more and release more than 0 s, got "
                f"{self.smoothing}, {self.hold} and {self.release}"
            )


class Following:
    """
    Times of a stream of images, and of the last one with an estimate; base of the filters.

    Parameters
    ----------
    timing : Timing
        Time constants.
    """

    def __init__(self, timing: Timing):
        self._timing = timing
        self.reset()

    def reset(self) -> None:
        """Reset to the state before the first estimate."""
        self._stamp = self._measured = -math.inf
        self._step = 0.0

    @property
    def started(self) -> bool:
        """Whether there was an estimate since the start or the last reset."""
        return self._measured > -math.inf

    def held(self) -> bool:
        """Whether the last estimate is still within the hold time."""
        return self.started and self._stamp - self._measured <= self._timing.hold

    def advance(self, stamp: float) -> None:
        """
        Advance to the time of the next image; call `follow` or `release` next.

        Parameters
        ----------
        stamp : float
            Time of the image in seconds. If it is more than `OUT_OF_ORDER` before the last one, as when a bag restarts,
            the filter is reset.
        """
        if stamp < self._stamp - OUT_OF_ORDER:
            self.reset()
        before, self._stamp = self._stamp, max(stamp, self._stamp)
        self._step = self._stamp - before if self.started else 0.0

    def _share(self) -> float:
        """Return the share of the way to a new estimate that the last time step goes, and count it as measured."""
        smoothed = self.started and self._timing.smoothing > 0
        self._measured = self._stamp
        return -math.expm1(-self._step / self._timing.smoothing) if smoothed else 1.0

    def _lost(self) -> float:
        """Return the seconds of the last time step that lie beyond the hold time; negative or 0 if none do."""
        return min(self._step, self._stamp - self._measured - self._timing.hold)


class GainFilter(Following):
    """
    First-order filter of log gains.

    The first estimate is used unchanged. Each later estimate moves the gain towards itself by the share
    ``1 - exp(-dt / smoothing)``, where dt is the time since the last image in seconds. Without an estimate, the gain is
    held and then decays. So the gain does not jump when the reference is lost or comes back.

    Parameters
    ----------
    timing : Timing
        Time constants.
    prior : float
        Standard deviation of the logarithm of the scale before any reference.
    """

    def __init__(self, timing: Timing, prior: float):
        self._prior = prior
        super().__init__(timing)

    def reset(self) -> None:
        """Reset to the state before the first estimate."""
        super().reset()
        self.nodes = constant_nodes(0.0)
        self.log_scale, self.deviation, self.confidence = 0.0, self._prior, 0.0

    @property
    def scale(self) -> float:
        """Factor on depth as one number."""
        return math.exp(self.log_scale)

    def release(self) -> None:
        """Apply the last time step without an estimate."""
        if self.started and (lost := self._lost()) > 0.0:
            keep, detail = math.exp(-lost / self._timing.release), math.exp(-lost / FIELD_RELEASE)
            field = self.nodes - np.float32(self.log_scale)
            self.log_scale *= keep
            self.nodes = np.float32(self.log_scale) + np.float32(detail) * field
            # The uncertainty returns to the prior together with the scale.
            self.deviation = math.sqrt(keep**2 * self.deviation**2 + (1 - keep**2) * self._prior**2)
            self.confidence *= math.exp(-lost / min(self._timing.release, CONFIDENCE_RELEASE))

    def follow(self, estimate: LogGain, confidence: float) -> None:
        """
        Apply the last time step with a new estimate.

        Parameters
        ----------
        estimate : LogGain
            Estimate from the image of that time.
        confidence : float
            0 to 1.
        """
        share = self._share()
        self.nodes += np.float32(share) * (estimate.nodes - self.nodes)
        self.log_scale += share * (estimate.log_scale - self.log_scale)
        self.deviation = math.sqrt((1 - share) * self.deviation**2 + share * estimate.deviation**2)
        self.confidence += share * (confidence - self.confidence)


class AlignmentFilter(Following):
    """
    First-order filter of the alignment of relative depth.

    The first fit is used unchanged. Later ones are followed as by `GainFilter`. A slow mean over the fits predicts the
    next one. Without a fit, the alignment is held, then returns to that mean, and is given up after ``release``.

    Parameters
    ----------
    timing : Timing
        Time constants.
    prior : float
        Expected error of the prediction, in log depth.
    """

    def __init__(self, timing: Timing, prior: float):
        self._prior = prior
        super().__init__(timing)

    def reset(self) -> None:
        """Reset to the state before the first fit."""
        super().reset()
        self._give_up()

    def _give_up(self) -> None:
        self.alignment: Alignment | None = None
        self.expected: Alignment | None = None
        self.deviation, self.confidence = math.nan, 0.0
        self._fits = 0

    @property
    def lost(self) -> bool:
        """Whether the last fit is so long ago that the alignment was given up."""
        return self.started and self._stamp - self._measured > self._timing.hold + self._timing.release

    def advance(self, stamp: float) -> None:
        """Advance as `Following.advance`, and give up the alignment when it is `lost`."""
        super().advance(stamp)
        if self.lost:
            self._give_up()

    def release(self) -> None:
        """Apply the last time step without a fit."""
        if self.alignment is None or self.expected is None or (lost := self._lost()) <= 0.0:
            return
        away = -math.expm1(-lost / self._timing.release)
        self.alignment = self.alignment.towards(self.expected, away)
        self.deviation = math.sqrt(self.deviation**2 + (1.0 - (1.0 - away) ** 2) * self._prior**2)
        self.confidence *= math.exp(-lost / min(self._timing.release, CONFIDENCE_RELEASE))

    def follow(self, alignment: Alignment, deviation: float, confidence: float) -> None:
        """
        Apply the last time step with a new fit.

        Parameters
        ----------
        alignment : Alignment
            Fit to the image of that time.
        deviation : float
            Its relative standard deviation.
        confidence : float
            0 to 1.
        """
        share = self._share()
        self._fits += 1
        memory = max(1.0 / self._fits, -math.expm1(-self._step / MEMORY))
        self.expected = self.expected.towards(alignment, memory) if self.expected else alignment
        if self.alignment is None:
            self.alignment, self.deviation, self.confidence = alignment, deviation, confidence
            return
        self.alignment = self.alignment.towards(alignment, share)
        self.deviation = math.sqrt((1 - share) * self.deviation**2 + share * deviation**2)
        self.confidence += share * (confidence - self.confidence)
