"""Buffers of messages that are looked up by the image's stamp. All methods are thread-safe."""

from __future__ import annotations

import threading
from collections import deque

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo

from depth_estimation_ros.conversions import camera_from_info
from depth_estimation_ros.pipeline.anchoring import Reference


def nanoseconds(stamp: Time) -> int:
    """Return a stamp in nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


class CameraInfos:
    """Buffer of the latest camera_info messages."""

    def __init__(self):
        self._latest: deque[CameraInfo] = deque(maxlen=64)
        self._changed = threading.Condition()

    def add(self, msg: CameraInfo) -> None:
        """Keep a message."""
        with self._changed:
            self._latest.append(msg)
            self._changed.notify_all()

    def clear(self) -> None:
        """Drop all messages but the newest one, because some cameras publish camera_info only once."""
        with self._changed:
            self._latest = deque(list(self._latest)[-1:], maxlen=self._latest.maxlen)

    def of(self, stamp: Time, size: tuple[int, int], patience: float) -> CameraInfo | None:
        """
        Return the camera_info for an image.

        Parameters
        ----------
        stamp : builtin_interfaces.msg.Time
            Stamp of the image.
        size : tuple of int
            (width, height) of the image.
        patience : float
            Maximum time in seconds to wait for a message that fits `size`.

        Returns
        -------
        CameraInfo or None
            Message with the same stamp, otherwise the newest one. None if no message has been received.
        """

        def find() -> CameraInfo | None:
            newest_first = list(reversed(self._latest))
            same = (msg for msg in newest_first if msg.header.stamp == stamp)
            return next(same, *newest_first[:1] or [None])

        with self._changed:
            self._changed.wait_for(lambda: (msg := find()) and fits(msg, size), patience)
            return find()


class References:
    """Buffer of the latest anchor messages (measured distances)."""

    def __init__(self):
        self._latest: deque[tuple[int, Reference]] = deque(maxlen=64)

    def add(self, moment: int, msg: Reference) -> None:
        """Keep a message with its time in nanoseconds."""
        self._latest.append((moment, msg))

    def clear(self) -> None:
        """Drop all messages."""
        self._latest.clear()

    def near(self, moment: int, max_age: float) -> Reference | None:
        """
        Return the message nearest to a time in nanoseconds, or None if no message has been received.

        Raises
        ------
        ValueError
            If the nearest message is more than `max_age` seconds away.
        """
        found = min(self._latest.copy(), key=lambda entry: abs(entry[0] - moment), default=None)
        if found is None:
            return None
        if abs(age := 1e-9 * (moment - found[0])) > max_age:
            raise ValueError(
                f"the nearest message of the anchor is {abs(age):.1f} s {'before' if age > 0 else 'after'} the image: "
                "does the sensor still send, do its stamps come from the same clock, or is anchor_max_age too short?"
            )
        return found[1]


def fits(info: CameraInfo, size: tuple[int, int]) -> bool:
    """Whether a camera_info has usable intrinsics for an image of `size` (width, height)."""
    try:
        camera = camera_from_info(info)
    except ValueError:
        return False
    return (camera.width, camera.height) == size
