"""Selection of the messages to show: the newest frame, with everything of the same stamp."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

_WAITING = 12  # images that wait for their depth
_LATE = 3  # shown frames whose other messages may still come
_ALONE = 1.0  # seconds without depth after which images are shown without it


class Frames:
    """
    Thread-safe buffer of serialized messages. What is not taken in time is replaced by newer messages.

    Messages of a frame have the same stamp. A frame is complete with its depth; messages that follow the depth are
    given out as soon as they come. While no depth comes, the newest image is a frame.

    Parameters
    ----------
    image, depth : str
        Topics that make a frame.
    """

    def __init__(self, image: str, depth: str):
        self._image, self._depth = image, depth
        self._lock = threading.Lock()
        self._frames: OrderedDict[int, dict[str, bytes]] = OrderedDict()
        self._shown: list[int] = []
        self._latest: dict[str, bytes] = {}
        self._depth_at = -_ALONE

    def put(self, topic: str, stamp: int, raw: bytes) -> None:
        """Add a message of a frame."""
        with self._lock:
            if topic == self._depth:
                self._depth_at = time.monotonic()
            if self._shown and stamp < self._shown[-1] and stamp not in self._shown:
                if self._shown[-1] - stamp < 10**9:
                    return  # of a frame that is not shown
                self.clear_frames()  # time has jumped back
            self._frames.setdefault(stamp, {})[topic] = raw
            while len(self._frames) > _WAITING:
                self._frames.popitem(last=False)

    def put_latest(self, topic: str, raw: bytes) -> None:
        """Add a message that belongs to no frame; it replaces the one before."""
        with self._lock:
            self._latest[topic] = raw

    def clear_frames(self) -> None:
        """Forget all frames."""
        self._frames.clear()
        self._shown.clear()

    def take(self) -> tuple[list[tuple[int, dict[str, bytes]]], dict[str, bytes]]:
        """Return stamps and messages of frames to show now, and the newest message of each other topic."""
        with self._lock:
            alone = time.monotonic() - self._depth_at > _ALONE
            wanted = self._image if alone else self._depth
            stamps = [stamp for stamp, messages in self._frames.items() if wanted in messages]
            if stamps and max(stamps) not in self._shown:
                newest = max(stamps)
                self._shown = [*self._shown, newest][-_LATE:]
                for stamp in [stamp for stamp in self._frames if stamp < newest and stamp not in self._shown]:
                    del self._frames[stamp]
            found = [(stamp, self._frames.pop(stamp)) for stamp in self._shown if stamp in self._frames]
            latest, self._latest = self._latest, {}
            return found, latest
