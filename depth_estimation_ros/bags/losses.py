"""Counter of items of a source that could not be read and were skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Losses:
    """
    Counts of skipped items by kind, with the reason for the first of each kind.

    Attributes
    ----------
    counts : collections.Counter
        Number of skipped items by kind, such as ``images of /camera/image``.
    """

    def __init__(self):
        self.counts: Counter = Counter()
        self._reasons: dict[str, str] = {}
        self._told: set[str] = set()

    def add(self, what: str, reason: object) -> None:
        """Count a skipped item."""
        self.counts[what] += 1
        self._reasons.setdefault(what, str(reason).rstrip("."))

    def tried(self, what: str, read: Callable[..., T], *arguments) -> T | None:
        """Return the result of a function; if it raises ValueError, count the item and return None."""
        try:
            return read(*arguments)
        except ValueError as error:
            self.add(what, error)
            return None

    def clear(self) -> None:
        """Reset the counts; kinds that `news` has reported are not reported again."""
        self.counts.clear()
        self._reasons.clear()

    def news(self) -> list[str]:
        """Return a sentence for each kind of loss that was not reported yet."""
        new = [what for what in self.counts if what not in self._told]
        self._told.update(new)
        return [f"one of the {what} is left out: {self._reasons[what]}" for what in new]

    def sentences(self) -> list[str]:
        """Return a sentence with the count for each kind of loss."""
        return [f"{what} left out: {count} (the first: {self._reasons[what]})" for what, count in self.counts.items()]
