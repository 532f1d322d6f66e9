"""What comes beside the images and is looked up by their stamps; any thread may call any method."""

from __future__ import annotations

import threading
from collections import deque

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo

from depth_estimation_ros.conversions import camera_from_info
from depth_estimation_ros.pipeline.anchoring import Reference


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
        """Forget all but the newest: some cameras send theirs once."""
        with self._changed:
            self._latest = deque(list(self._latest)[-1:], maxlen=self._latest.maxlen)

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
        self._latest: deque[tuple[int, Reference]] = deque(maxlen=64)

    def add(self, moment: int, msg: Reference) -> None:
        """Keep a message of a time in nanoseconds."""
        self._latest.append((moment, msg))

    def clear(self) -> None:
        """Forget all."""
        self._latest.clear()

    def near(self, moment: int, max_age: float) -> Reference | None:
        """
        Return the message nearest to a time in nanoseconds; None if none came.

        Raises
        ------
        ValueError
            If more than `max_age` seconds lie between.
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
    """Whether a camera_info has usable intrinsics of an image's (width, height)."""
    try:
        camera = camera_from_info(info)
    except ValueError:
        return False
    return (camera.width, camera.height) == size
