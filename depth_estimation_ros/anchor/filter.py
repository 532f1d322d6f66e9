"""A correction followed in time, and given up slowly when its reference is lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.anchor.gain import LogGain, constant_nodes

FIELD_RELEASE = 1.0
"""Time constant in seconds in which a field without reference becomes one scale: it belongs to a view that passes."""

CONFIDENCE_RELEASE = 10.0
"""Time constant in seconds in which confidence is lost, at most, even where the scale is kept for ever."""

OUT_OF_ORDER = 1.0
"""Seconds; an image that is older than the one before by less than this came late, and takes its correction."""


@dataclass(frozen=True)
class Timing:
    """
    How a correction follows time, in seconds.

    Parameters
    ----------
    smoothing : float
        Time constant with which new estimates are followed; 0 takes each as it is.
    hold : float
        The last estimate stays as it is for so long without a reference.
    release : float
        Time constant with which the scale then goes back to 1; infinite keeps it.

    Raises
    ------
    ValueError
        If a time is negative, or ``release`` is 0.
    """

    smoothing: float = 0.3
    hold: float = 0.5
    release: float = 10.0

    def __post_init__(self):
        """Refuse times that mean nothing."""
        # Written so that NaN fails as well.
        if not (0 <= self.smoothing < math.inf and 0 <= self.hold < math.inf and self.release > 0):
            raise ValueError(
                "smoothing and hold must be finite times of 0 s or more and release more than 0 s, got "
                f"{self.smoothing}, {self.hold} and {self.release}"
            )


class GainFilter:
    """
    First-order filter of log gains.

    The first estimate is taken as it is. From then on, with a new estimate, the gain covers the share
    1 - exp(-dt / smoothing) of the way to it, dt seconds after the last image; without one it rests and then decays. So
    it never jumps, neither when the reference is lost nor when it comes back.

    Parameters
    ----------
    timing : Timing
        Time constants.
    prior : float
        Standard deviation of the logarithm of the scale without any reference.
    """

    def __init__(self, timing: Timing, prior: float):
        self._timing, self._prior = timing, prior
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.nodes = constant_nodes(0.0)
        self.log_scale, self.deviation, self.confidence = 0.0, self._prior, 0.0
        self._stamp = self._measured = -math.inf
        self._step = 0.0

    @property
    def scale(self) -> float:
        """The factor on depth as one number."""
        return math.exp(self.log_scale)

    @property
    def started(self) -> bool:
        """Whether there was an estimate since the start or the last reset."""
        return self._measured > -math.inf

    def held(self) -> bool:
        """Whether the last estimate still counts as new."""
        return self.started and self._stamp - self._measured <= self._timing.hold

    def advance(self, stamp: float) -> None:
        """
        Go to the time of the next image; `follow` or `release` comes next.

        Parameters
        ----------
        stamp : float
            Seconds of the image. Time that goes back by more than `OUT_OF_ORDER`, as when a bag starts anew, forgets
            everything.
        """
        if stamp < self._stamp - OUT_OF_ORDER:
            self.reset()
        before, self._stamp = self._stamp, max(stamp, self._stamp)
        self._step = self._stamp - before if self.started else 0.0

    def release(self) -> None:
        """Let the time pass that was advanced by, without an estimate."""
        if not self.started:
            return
        # The part of this step that lies beyond the hold.
        lost = min(self._step, self._stamp - self._measured - self._timing.hold)
        if lost > 0.0:
            keep, detail = math.exp(-lost / self._timing.release), math.exp(-lost / FIELD_RELEASE)
            field = self.nodes - np.float32(self.log_scale)
            self.log_scale *= keep
            self.nodes = np.float32(self.log_scale) + np.float32(detail) * field
            # What is known of the scale is forgotten with it.
            self.deviation = math.sqrt(keep**2 * self.deviation**2 + (1 - keep**2) * self._prior**2)
            self.confidence *= math.exp(-lost / min(self._timing.release, CONFIDENCE_RELEASE))

    def follow(self, estimate: LogGain, confidence: float) -> None:
        """
        Take a new estimate, at the time last advanced to.

        Parameters
        ----------
        estimate : LogGain
            Of the image of that time.
        confidence : float
            0 to 1.
        """
        share = 1.0
        if self.started and self._timing.smoothing > 0:
            share = -math.expm1(-self._step / self._timing.smoothing)
        self.nodes += np.float32(share) * (estimate.nodes - self.nodes)
        self.log_scale += share * (estimate.log_scale - self.log_scale)
        self.deviation = math.sqrt((1 - share) * self.deviation**2 + share * estimate.deviation**2)
        self.confidence += share * (confidence - self.confidence)
        self._measured = self._stamp
