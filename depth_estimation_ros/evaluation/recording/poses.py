"""Poses of a moving camera, from which ground truth is triangulated."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import cv2
import numpy as np

from depth_estimation_ros.bags.frame_tree import FrameTree
from depth_estimation_ros.bags.messages import ODOMETRY, TRANSFORMS, frame_of, stamp_of
from depth_estimation_ros.bags.pairing import Received
from depth_estimation_ros.bags.reader import BagReader
from depth_estimation_ros.bags.topics import Topics
from depth_estimation_ros.bags.transforms import TransformTree
from depth_estimation_ros.evaluation.recording.triangulation import Posed
from depth_estimation_ros.ground_truth.calibration import Calibration
from depth_estimation_ros.ground_truth.projection import shown_of
from depth_estimation_ros.support.sentences import choices

AROUND = 30
"""Number of images kept before and after each image, if within `_SPAN`; it bounds the memory."""

WIDTH = 960
"""Maximum width in pixels at which images are tracked and ground truth is given."""

LONGEST_GAP = 250_000_000
"""Maximum time between two poses, nanoseconds, over which they may be interpolated."""

_SPAN = 2_000_000_000  # ns


class PoseReader:
    """
    Reader of the camera's poses.

    Parameters
    ----------
    reader : BagReader
        The bag.
    topics : Topics
        Chosen topics. `depth` has type nav_msgs/Odometry, geometry_msgs/PoseStamped, PoseWithCovarianceStamped or
        tf2_msgs/TFMessage.
    tolerance : int
        Maximum time between an image and a pose, nanoseconds, if the image is not between two poses, or if these are
        too far apart to interpolate.

    Attributes
    ----------
    kind, projects, notes, transform_topics :
        See `TruthReader`; the topic of the poses is one of the `transform_topics`.

    Raises
    ------
    ValueError
        If no pose of the camera can be derived from the topic.
    """

    kind = "poses (triangulated)"
    projects = True

    def __init__(self, reader: BagReader, topics: Topics, tolerance: int):
        image, pose = reader.first(topics.image), reader.first(topics.depth)
        if image is None or pose is None:
            raise ValueError(f"no message of {topics.depth if image else topics.image} in '{reader.path}' can be read")
        if not topics.camera_info:
            raise ValueError(
                f"{topics.depth} of '{reader.path}' has poses, which are only useful with the camera_info of the "
                "image: set its topic with --camera-info, or record it"
            )
        info = reader.first(topics.camera_info)
        self._camera = frame_of(image) or (info is not None and frame_of(info)) or "camera"
        self._topic, self._kind, self._tolerance = topics.depth, reader.topics[topics.depth].kind, tolerance
        self._tree = FrameTree(reader, int(reader.times(topics.image)[0]))
        self.transform_topics: tuple[str, ...] = (topics.depth,)
        self.notes = ["there is no depth sensor: ground truth is triangulated from the images and the camera's poses"]
        if self._kind in TRANSFORMS:
            self._body, self._world = self._camera, self._fixed_frame(str(reader.path))
            self.transform_topics = self._tree.moving
        elif self._kind == ODOMETRY and pose.child_frame_id:
            self._body, self._world = pose.child_frame_id.lstrip("/"), frame_of(pose)
            self._mount(str(reader.path))
        else:
            self._body, self._world = self._camera, frame_of(pose)
            self.notes.append(f"{topics.depth} is assumed to be the pose of the camera's optical frame (z forward)")

    def transforms(self) -> Poses:
        """Return an empty collection of poses with the fixed transforms."""
        return Poses(self._tree.fixed(), self._body, self._camera, self._world or "world", self._tolerance)

    def add_transforms(self, poses: Poses, topic: str, message, offset: int) -> None:
        """Add a message of `transform_topics`; its clock is `offset` ns ahead of the clock of the images."""
        if self._kind in TRANSFORMS or topic != self._topic:
            poses.tree.add(message, static=False, offset=offset)
            return
        pose = message.pose if hasattr(message.pose, "position") else message.pose.pose
        p, q = pose.position, pose.orientation
        poses.add(stamp_of(message) - offset, (p.x, p.y, p.z), (q.x, q.y, q.z, q.w))

    def placed(self, poses: Poses, stamp: int) -> bool:
        """Whether all poses needed at a stamp have been read."""
        return poses.known_until() >= stamp

    def _mount(self, path: str) -> None:
        """Check that the pose of the camera on the body is known."""

        def connected(tree: TransformTree) -> bool:
            return tree.moves(self._camera, self._body) is not None

        if self._body == self._camera or connected(self._tree.fixed()):
            return
        tree = self._tree.probe(connected)
        if not connected(tree):
            raise ValueError(
                f"{self._topic} of '{path}' is the pose of frame '{self._body}', the image is in frame "
                f"'{self._camera}', and no transform of the bag connects them (its frames: "
                f"{choices(tree.names(), self._camera)}): record /tf_static"
            )
        self.transform_topics += self._tree.moving

    def _fixed_frame(self, path: str) -> str:
        """Return the frame in which the camera moves; ``odom`` if it exists, because it is continuous (REP 105)."""

        def known(tree: TransformTree) -> bool:
            return tree.above(self._camera)[-1] in ("odom", "map", "world", "earth")

        above = (tree := self._tree.probe(known)).above(self._camera)
        world = "odom" if "odom" in above else above[-1]
        if not tree.moves(world, self._camera):
            raise ValueError(
                f"{self._topic} of '{path}' has no moving transform above '{self._camera}', the frame of the image "
                f"(frames above it: {', '.join(above[1:]) or 'none'}): set a topic with poses by --depth"
            )
        return world


class Poses:
    """Poses of the camera around the images that are being read; see `PoseReader.transforms`."""

    def __init__(self, tree: TransformTree, body: str, camera: str, world: str, tolerance: int):
        self.tree, self._body, self._camera, self._world, self._tolerance = tree, body, camera, world, tolerance
        # Separate from the tree, where the body may have another parent.
        self._track = TransformTree()

    def add(self, stamp: int, translation: tuple, quaternion: tuple) -> None:
        """Add a pose of the body at a stamp in nanoseconds."""
        self._track.move(stamp, self._world, self._body, translation, quaternion)

    def known_until(self) -> float:
        """Return the time (ns) up to which the camera's pose is known."""
        return min(part.known_until(target, source) for part, target, source in self._parts())

    def at(self, stamp: int) -> np.ndarray | None:
        """Return the camera's pose [4, 4] in the world; None if the poses around the stamp are too far from it."""
        parts = list(self._parts())
        if any(part.gap(target, source, stamp, self._tolerance) > LONGEST_GAP for part, target, source in parts):
            return None
        pose = np.eye(4)
        for part, target, source in parts:
            step = part.between(target, source, stamp)
            if step is None:
                return None
            pose = pose @ step
        return pose

    def _parts(self) -> Iterator[tuple[TransformTree, str, str]]:
        if self._track.names():
            yield self._track, self._world, self._body
            yield self.tree, self._body, self._camera
        else:
            yield self.tree, self._world, self._camera


@dataclass(frozen=True, eq=False)
class Shot:
    """
    Image that is to be triangulated.

    Parameters
    ----------
    image : Received
        The received message.
    calibration : Calibration or None
        Calibration of the image.
    posed : Posed or None
        Image with pose for tracking; None if the image cannot be used.
    problem : str
        Why the image cannot be used; empty otherwise.
    """

    image: Received
    calibration: Calibration | None = None
    posed: Posed | None = None
    problem: str = ""


def posed(rgb: np.ndarray, calibration: Calibration, pose: np.ndarray) -> Posed:
    """Prepare an image, uint8 [h, w, 3], for tracking: grey, at most `WIDTH` pixels wide, with its pose."""
    camera, grey = calibration.camera, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if camera.width > WIDTH:
        camera = camera.resized(WIDTH, max(1, round(WIDTH * camera.height / camera.width)))
        grey = cv2.resize(grey, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    shown = shown_of(calibration.lens, camera.width, camera.height) if calibration.lens else None
    return Posed(grey, camera, pose, shown)


def surrounded(shots: Iterable[Shot]) -> Iterator[tuple[Shot, list[Posed], list[Posed]]]:
    """
    Yield every image with its neighbours before and after it, in order.

    The neighbours of an image do not depend on where reading starts, if it starts at least `AROUND` images before.
    """
    kept: deque[Shot] = deque()
    place = 0  # of the next image to yield
    for shot in chain(shots, [None]):
        if shot is not None:
            kept.append(shot)
        while place < len(kept) and (shot is None or not _near(kept[place], shot)):
            target = kept[place]
            before = [s.posed for s in islice(kept, place) if s.posed and _near(target, s)]
            after = [s.posed for s in islice(kept, place + 1, None) if s.posed and _near(target, s)]
            yield target, before, after
            place += 1
            while kept[0].image.index < target.image.index - AROUND:
                kept.popleft()
                place -= 1


def _near(a: Shot, b: Shot) -> bool:
    return abs(a.image.index - b.image.index) <= AROUND and abs(a.image.stamp - b.image.stamp) <= _SPAN
