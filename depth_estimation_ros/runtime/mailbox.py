"""Mailbox with one slot, which keeps only the newest item."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """
    Thread-safe mailbox that keeps the newest item; a new item replaces an unread one.

    Iterating takes items out. It waits while the mailbox is empty, and ends when the mailbox is closed. Every item that
    is put in comes out exactly once: from the iterator, or as the return value of the `put` or `close` that removed it.
    """

    def __init__(self):
        self._slot: list[T] = []
        self._open = True
        self._changed = threading.Condition()

    def put(self, item: T) -> T | None:
        """Store an item and return the unread one that it replaces; a closed mailbox returns the item itself."""
        with self._changed:
            if not self._open:
                return item
            displaced = self._empty()
            self._slot.append(item)
            self._changed.notify()
            return displaced

    def close(self) -> T | None:
        """End the iteration and return the unread item, if there is one."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
            return self._empty()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._slot or not self._open)
                if not self._slot:
                    return
                item = self._slot.pop()
            yield item
            # Free the item's memory while the reader waits for the next one.
            del item

    def _empty(self) -> T | None:
        return self._slot.pop() if self._slot else None
