"""What could not be read of a source, counted and told, while the rest goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Losses:
    """
    Items that were left out, by what they are, with the reason of the first of each.

    Attributes
    ----------
    counts : collections.Counter
        By what, such as ``images of /camera/image``.
    """

    def __init__(self):
        self.counts: Counter = Counter()
        self._reasons: dict[str, str] = {}
        self._told: set[str] = set()

    def add(self, what: str, reason: object) -> None:
        """Count an item that is left out."""
        self.counts[what] += 1
        self._reasons.setdefault(what, str(reason).rstrip("."))

    def tried(self, what: str, read: Callable[..., T], *arguments) -> T | None:
        """Return what a function reads; None, and count it, if that raises ValueError."""
        try:
            return read(*arguments)
        except ValueError as error:
            self.add(what, error)
            return None

    def clear(self) -> None:
        """Count from the beginning; what was told stays told."""
        self.counts.clear()
        self._reasons.clear()

    def news(self) -> list[str]:
        """Return a sentence for each kind of loss that was not told yet."""
        new = [what for what in self.counts if what not in self._told]
        self._told.update(new)
        return [f"one of the {what} is left out: {self._reasons[what]}" for what in new]

    def sentences(self) -> list[str]:
        """Return all of them with their numbers."""
        return [f"{what} left out: {count} (the first: {self._reasons[what]})" for what, count in self.counts.items()]
