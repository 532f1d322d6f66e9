"""Doing something at most so many times a second."""

from __future__ import annotations

import math


class Pace:
    """
    Says when the next of at most `rate` events a second is due.

    Due times move on by one period an event, so that events picked from a faster stream keep the rate on
    average: 20 a second of a 30 Hz camera are 20, not 15.
    """

    def __init__(self):
        self._last = -math.inf

    def due(self, now: float, rate: float) -> bool:
        """Whether an event may happen at `now` (seconds of any steady clock); a `rate` of 0 has no limit."""
        return rate == 0.0 or now >= self._last + 1.0 / rate

    def take(self, now: float, rate: float) -> bool:
        """Like `due`, and if so the event counts as having happened."""
        if not self.due(now, rate):
            return False
        period = 1.0 / rate if rate else 0.0
        on_time = now < self._last + 2.0 * period
        self._last = self._last + period if on_time else now
        return True
