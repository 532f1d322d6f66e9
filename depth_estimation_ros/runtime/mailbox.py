"""A mailbox with one slot: the newest item is the only one worth having."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """
    Hands items from threads that never wait to one that does; a new item takes the place of an unread one.

    Iterating takes items out, waits where there is none, and ends once the mailbox is closed. Every item put
    in comes out exactly once: from the iterator, or as the result of the `put` or `close` that displaced it.
    """

    def __init__(self):
        self._slot: list[T] = []
        self._open = True
        self._changed = threading.Condition()

    def put(self, item: T) -> T | None:
        """Leave an item and return the unread one it displaces; a closed mailbox returns the item itself."""
        with self._changed:
            if not self._open:
                return item
            displaced = self._empty()
            self._slot.append(item)
            self._changed.notify()
            return displaced

    def close(self) -> T | None:
        """End the iteration and return the item that nobody will read any more, if there is one."""
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
            # A waiting reader must not keep the last item's memory.
            del item

    def _empty(self) -> T | None:
        return self._slot.pop() if self._slot else None
