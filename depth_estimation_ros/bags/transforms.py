"""Transforms between the TF frames of a recording: ``/tf_static``, and ``/tf`` with interpolation in time."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from depth_estimation_ros.bags.messages import stamp_of
from depth_estimation_ros.geometry.pose import camera_pose, pose_from_transform

_BEYOND = 100_000_000  # ns before the first or after the last pose within which the nearest pose is used
_LONGEST = 20_000_000_000  # ns of /tf that are kept

_BODY = camera_pose(0.0)  # pose of an optical frame in a body frame (x forward)
_ONE_PLACE = 2e-3  # maximum difference in metres, and of the entries of a rotation

Translation: TypeAlias = tuple[float, float, float]
Quaternion: TypeAlias = tuple[float, float, float, float]  # x, y, z, w


@dataclass
class _Moving:
    """Poses of a frame in its parent: stamp, translation and quaternion, in the order of stamps."""

    parent: str
    poses: list[tuple[int, Translation, Quaternion]] = field(default_factory=list)

    def at(self, moment: int) -> np.ndarray | None:
        k = bisect_left(self.poses, (moment,))
        if k == len(self.poses) or k == 0:
            stamp, position, rotation = self.poses[min(k, len(self.poses) - 1)]
            return pose_from_transform(position, rotation) if abs(stamp - moment) <= _BEYOND else None
        (t0, p0, q0), (t1, p1, q1) = self.poses[k - 1], self.poses[k]
        share = (moment - t0) / (t1 - t0)
        x, y, z = np.array(p0) + share * np.subtract(p1, p0)
        return pose_from_transform((x, y, z), _slerp(q0, q1, share))

    def gap(self, moment: int, near: int) -> float:
        k = bisect_left(self.poses, (moment,))
        around = [pose[0] for pose in self.poses[max(k - 1, 0) : k + 1]]
        if min(abs(stamp - moment) for stamp in around) <= near:
            return 0
        return around[1] - around[0] if k and len(around) == 2 else math.inf


class TransformTree:
    """
    Tree of TF frames, filled from the messages of a bag; names have no leading slash.

    Poses of moving frames are kept for the last 20 s of the added messages.
    """

    def __init__(self):
        self._fixed: dict[str, tuple[str, np.ndarray]] = {}
        self._moving: dict[str, _Moving] = {}

    def add(self, message, static: bool, offset: int = 0) -> None:
        """Add a message of ``/tf_static`` or ``/tf`` whose clock is `offset` ns ahead."""
        for transform in message.transforms:
            parent, child = (n.lstrip("/") for n in (transform.header.frame_id, transform.child_frame_id))
            t, q = transform.transform.translation, transform.transform.rotation
            translation, quaternion = (t.x, t.y, t.z), (q.x, q.y, q.z, q.w)
            if not static:
                self.move(stamp_of(transform) - offset, parent, child, translation, quaternion)
                continue
            with suppress(ValueError):
                self._fixed[child] = parent, pose_from_transform(translation, quaternion)

    def move(self, stamp: int, parent: str, child: str, translation: tuple, quaternion: tuple) -> None:
        """Add the pose of a frame at a stamp (ns); an invalid pose, such as a zero quaternion, is ignored."""
        try:
            pose_from_transform(translation, quaternion)
        except ValueError:
            return
        moving = self._moving.setdefault(child, _Moving(parent))
        moving.parent = parent
        insort(moving.poses, (stamp, translation, quaternion))
        while moving.poses[-1][0] - moving.poses[0][0] > _LONGEST:
            moving.poses.pop(0)

    def above(self, frame: str) -> list[str]:
        """Return a frame and its ancestors, the root last."""
        found = [frame]
        while True:
            over = self._fixed[frame][0] if frame in self._fixed else getattr(self._moving.get(frame), "parent", None)
            if over is None or over in found:
                return found
            found.append(frame := over)

    def optical(self, frame: str) -> str:
        """Return the optical frame (REP 103) of a camera's body frame; any other frame is returned unchanged."""
        if "optical" in frame:
            return frame
        for other in (name for name in self._fixed if "optical" in name):
            pose = None if self.moves(frame, other) else self.between(frame, other, 0)
            if pose is not None and np.allclose(pose, _BODY, atol=_ONE_PLACE):
                return other
        return frame

    def gap(self, target: str, source: str, moment: int, near: int) -> float:
        """
        Return the time (ns) between the two poses that `between` interpolates at a moment.

        It is 0 if the frames are fixed or have a pose within `near` (ns) of the moment, and infinite if they are not
        connected or the moment is before the first or after the last pose.
        """
        path = self._path(target, source)
        if path is None:
            return math.inf
        moving = [self._moving[child] for part in path for child in part if child not in self._fixed]
        return max((m.gap(moment, near) for m in moving), default=0)

    def names(self) -> list[str]:
        """Return all frames, sorted."""
        parents = {parent for parent, _ in self._fixed.values()} | {m.parent for m in self._moving.values()}
        return sorted(parents | self._fixed.keys() | self._moving.keys())

    def moves(self, target: str, source: str) -> bool | None:
        """Whether ``/tf`` is needed between two frames; None if they are not connected."""
        path = self._path(target, source)
        return path and any(child not in self._fixed for part in path for child in part)

    def known_until(self, target: str, source: str) -> float:
        """Return the time (ns) up to which two frames are connected: infinite if fixed, minus infinity if never."""
        path = self._path(target, source)
        if path is None:
            return -math.inf
        moving = [self._moving[child] for part in path for child in part if child not in self._fixed]
        return min((m.poses[-1][0] for m in moving), default=math.inf)

    def between(self, target: str, source: str, moment: int) -> np.ndarray | None:
        """
        Return the transform from one frame to another at a moment.

        Parameters
        ----------
        target, source : str
            Frames; the transform maps points of `source` to `target`.
        moment : int
            Time in nanoseconds, for moving frames.

        Returns
        -------
        numpy.ndarray or None
            float64 [4, 4]. None if the frames are not connected, or if the moment is more than 0.1 s before the first
            or after the last pose.
        """
        path = self._path(target, source)
        if path is None:
            return None
        ends = []
        for part in path:
            pose = np.eye(4)
            for child in part:
                step = self._fixed[child][1] if child in self._fixed else self._moving[child].at(moment)
                if step is None:
                    return None
                pose = step @ pose
            ends.append(pose)
        return np.linalg.inv(ends[0]) @ ends[1]

    def _path(self, target: str, source: str) -> tuple[list[str], list[str]] | None:
        """Return the frames from each of the two up to, but without, their nearest common ancestor."""
        ups = [self.above(target), self.above(source)]
        common = next((frame for frame in ups[1] if frame in set(ups[0])), None)
        return None if common is None else (ups[0][: ups[0].index(common)], ups[1][: ups[1].index(common)])


def _slerp(q0: Quaternion, q1: Quaternion, share: float) -> Quaternion:
    a, b = (np.array(q) / np.linalg.norm(q) for q in (q0, q1))
    cosine = float(a @ b)
    if cosine < 0:  # the same rotation, along the shorter path
        b, cosine = -b, -cosine
    angle = math.acos(min(cosine, 1.0))
    if angle < 1e-4:
        x, y, z, w = a + share * (b - a)
    else:
        x, y, z, w = (math.sin((1 - share) * angle) * a + math.sin(share * angle) * b) / math.sin(angle)
    return x, y, z, w
