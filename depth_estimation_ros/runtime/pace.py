"""Rate limit for events."""

from __future__ import annotations

import math


class Pace:
    """
    Rate limiter that decides when the next of at most `rate` events per second is due.

    The due time advances by one period per event, so that events selected from a faster stream keep the rate on
    average: a rate of 20 Hz from a 30 Hz camera gives 20 Hz, not 15.
    """

    def __init__(self):
        self._last = -math.inf

    def due(self, now: float, rate: float) -> bool:
        """Return whether an event is due at `now` (seconds of any steady clock). A `rate` of 0 sets no limit."""
        return rate == 0.0 or now >= self._last + 1.0 / rate

    def take(self, now: float, rate: float) -> bool:
        """Return whether an event is due, and if so record it."""
        if not self.due(now, rate):
            return False
        period = 1.0 / rate if rate else 0.0
        on_time = now < self._last + 2.0 * period
        self._last = self._last + period if on_time else now
        return True
