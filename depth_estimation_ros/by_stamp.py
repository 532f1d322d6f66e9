"""What comes beside the images and is looked up by their stamps; any thread may call any method."""

from __future__ import annotations

import threading
from collections import deque

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo

from depth_estimation_ros.anchoring import Reference
from depth_estimation_ros.pipeline import fits


def nanoseconds(stamp: Time) -> int:
    """Return a stamp as one number."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


class CameraInfos:
    """The latest camera_info messages."""

    def __init__(self):
        self._latest: deque[CameraInfo] = deque(maxlen=64)
        self._changed = threading.Condition()

    def add(self, msg: CameraInfo) -> None:
        """Keep a message."""
        with self._changed:
            self._latest.append(msg)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all."""
        with self._changed:
            self._latest.clear()

    def of(self, stamp: Time, size: tuple[int, int], patience: float) -> CameraInfo | None:
        """
        Return the message of an image's stamp, or else the newest; None if none came.

        Where it does not fit the image's (width, height), one that does is waited for, at most `patience` seconds.
        """

        def find() -> CameraInfo | None:
            newest_first = list(reversed(self._latest))
            same = (msg for msg in newest_first if msg.header.stamp == stamp)
            return next(same, *newest_first[:1] or [None])

        with self._changed:
            self._changed.wait_for(lambda: (msg := find()) and fits(msg, size), patience)
            return find()


class References:
    """The latest messages of true distances."""

    def __init__(self):
        self._latest: deque[Reference] = deque(maxlen=64)

    def add(self, msg: Reference) -> None:
        """Keep a message."""
        self._latest.append(msg)

    def clear(self) -> None:
        """Forget all."""
        self._latest.clear()

    def near(self, stamp: Time, max_age: float) -> Reference | None:
        """Return the message nearest to a stamp, if no more than so many seconds lie between; the newest of stamp 0."""
        messages, moment = list(self._latest), nanoseconds(stamp)
        if not messages or not moment:
            return messages[-1] if messages else None
        nearest = min(messages, key=lambda msg: abs(nanoseconds(msg.header.stamp) - moment))
        return nearest if abs(nanoseconds(nearest.header.stamp) - moment) <= 1e9 * max_age else None
