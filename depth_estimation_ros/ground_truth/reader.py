"""Reading of ground truth messages: the method is chosen once per recording, then applied to each message."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depth_estimation_ros.bags.frame_tree import FrameTree
from depth_estimation_ros.bags.messages import CLOUD, SCAN, depth_of, frame_of, points_of, rgb_of
from depth_estimation_ros.bags.reader import BagReader
from depth_estimation_ros.bags.topics import Topics
from depth_estimation_ros.bags.transforms import TransformTree
from depth_estimation_ros.geometry.laser_scan import scan_points
from depth_estimation_ros.geometry.pose import camera_pose
from depth_estimation_ros.ground_truth.calibration import Calibration, Calibrations, is_rectified, same_shape, same_view
from depth_estimation_ros.ground_truth.projection import camera_truth, points_truth, registered_truth
from depth_estimation_ros.support.sentences import choices

REGISTERED, PROJECTED, ASSUMED = "registered", "projected", "taken as registered"
"""Relation of a depth image to the image: registered, to be projected, or unknown and assumed to be registered."""

_SAME_PLACE = 1e-3  # maximum difference in metres, and of the entries of a rotation
_BODY = camera_pose(0.0)[:3, :3]  # axes of an optical frame in a body frame, x forward (REP 103)
_ALIKE = 1 + 2 * np.cos(np.radians(20))  # trace of a rotation by 20 degrees


class TruthReader:
    """
    Reader of the ground truth of a recording.

    A depth image is registered to the image if it has the same TF frame and the same intrinsics. It is assumed to be
    registered, with a note, if this cannot be checked because it has no camera_info or there is no transform. Otherwise
    it is projected.

    Parameters
    ----------
    reader : BagReader
        The bag.
    topics : Topics
        Chosen topics.

    Attributes
    ----------
    topics : Topics
        Topics, as given.
    kind : str
        Kind of the ground truth, see `Recording`.
    standing : str
        One of `REGISTERED`, `PROJECTED` and `ASSUMED`.
    projects : bool
        Whether the intrinsics of the image are needed.
    notes : list of str
        Notes for the user.
    transform_topics : tuple of str
        Topics with moving frames, which are read along with the images and added to a `TransformTree`; empty if not
        needed.

    Raises
    ------
    ValueError
        If the ground truth cannot be transformed into the view of the image.
    """

    def __init__(self, reader: BagReader, topics: Topics):
        self.notes: list[str] = []
        self.transform_topics: tuple[str, ...] = ()
        self.topics, self._path = topics, reader.path
        self._moves, self._depth_calibrations = False, Calibrations(is_rectified(topics.depth))
        self._same_views: dict[tuple[Calibration, Calibration], bool] = {}
        self._tree = FrameTree(reader, int(reader.times(topics.image)[0]))
        image, truth = reader.first(topics.image), reader.first(topics.depth)
        if image is None or truth is None:
            raise ValueError(f"no message of {topics.depth if image else topics.image} in '{reader.path}' can be read")
        self._info = reader.first(topics.camera_info) if topics.camera_info else None
        self._depth_info = None
        self._target = frame_of(image) or (self._info is not None and frame_of(self._info)) or ""
        self._source = frame_of(truth)
        kind = reader.topics[topics.depth].kind
        self._is_image = kind not in (CLOUD, SCAN)
        self.kind = {CLOUD: "point cloud", SCAN: "laser scan"}.get(kind, "unregistered depth image")
        if self._is_image and topics.depth_camera_info:
            self._depth_info = reader.first(topics.depth_camera_info)
            self._source = self._source or (self._depth_info is not None and frame_of(self._depth_info)) or ""
        self._place()
        self.standing = self._stands(image, truth) if self._is_image else PROJECTED
        self.projects = self.standing == PROJECTED
        if not self.projects:
            self.kind = "depth image"
        elif self._info is None:
            raise ValueError(
                f"{topics.depth} of '{reader.path}' ({self.kind}) can only be projected into the image with the "
                "camera_info of the image: set its topic (--camera-info), or record it"
            )
        elif not self._same_frame and self._pose is None:
            raise ValueError(
                f"{topics.depth} of '{reader.path}' is in frame '{self._source}', the image in '{self._target}', "
                f"and no transform of the bag connects them (its frames: {choices(self._names, self._target)}): "
                "record /tf_static, and /tf if they move"
            )

    def transforms(self) -> TransformTree:
        """Return a tree with the fixed frames."""
        return self._tree.fixed()

    def add_transforms(self, transforms: TransformTree, topic: str, message, offset: int) -> None:
        """Add a message of `transform_topics`; its clock is assumed to be the clock of the images."""
        transforms.add(message, static=False)

    def placed(self, transforms: TransformTree, stamp: int) -> bool:
        """Whether all transforms needed at a stamp have been read."""
        return not self._moves or transforms.known_until(self._target, self._source) >= stamp

    def add_camera_info(self, message) -> None:
        """Use the intrinsics of this message for the depth camera from now on."""
        if self._depth_info is not None:
            self._depth_info = message

    def read(
        self, message, calibration: Calibration | None, width: int, height: int, transforms: TransformTree, stamp: int
    ) -> np.ndarray:
        """
        Return the ground truth of a message in the view of the image.

        Parameters
        ----------
        message : object
            Message with ground truth.
        calibration : Calibration or None
            Calibration of the image.
        width, height : int
            Size of the image in pixels.
        transforms : TransformTree
            Tree with the fixed frames and the moving frames around this stamp.
        stamp : int
            Stamp of the image, nanoseconds.

        Returns
        -------
        numpy.ndarray
            Ground truth as in `Sample.truth`.

        Raises
        ------
        ValueError
            If the message does not fit the image or cannot be decoded; the message is the reason.
        """
        depth = depth_of(message) if self._is_image else None
        source = self._depth_calibration(depth) if depth is not None and self._depth_info is not None else None
        if depth is not None and (self.standing == ASSUMED or self._fits(source, calibration)):
            if not same_shape(depth.shape[1], depth.shape[0], width, height):
                raise ValueError(f"depth of {depth.shape[1]}x{depth.shape[0]} does not fit images of {width}x{height}")
            return registered_truth(depth, calibration)
        if calibration is None:
            raise ValueError("no camera_info of the image can be read")
        pose = self._to_image(transforms, stamp)
        if pose is None:
            raise ValueError(f"no transform from {self._source} to {self._target} at the image's time")
        if self.kind == "point cloud":
            return points_truth(points_of(message), pose, calibration)
        if self.kind == "laser scan":
            m = message
            return points_truth(
                scan_points(m.ranges, m.angle_min, m.angle_increment, m.range_min, m.range_max), pose, calibration
            )
        if depth is None or source is None:
            raise ValueError("no camera_info of the depth camera can be read")
        return camera_truth(depth, source, pose, calibration)

    def _depth_calibration(self, depth: np.ndarray) -> Calibration:
        try:
            return self._depth_calibrations.of(self._depth_info, depth.shape[1], depth.shape[0])
        except ValueError as error:
            raise ValueError(f"of the depth camera: {error}") from None

    def _place(self) -> None:
        """Determine the transform between the frames."""
        self._pose: np.ndarray | None = None
        self._names: list[str] = []
        self._before, self._after = np.eye(4), np.eye(4)  # corrections from body frames to optical frames
        unnamed = self._is_image and not (self._source and self._target)
        self._same_frame = self._source == self._target or unnamed
        if not self._same_frame:
            fixed = self._tree.fixed()
            # Old drivers and simulators stamp images with the body frame of the camera. Frames of points are correct.
            self._target = fixed.optical(self._target)
            self._source = fixed.optical(self._source) if self._is_image else self._source
            self._same_frame = self._source == self._target
        if self._same_frame:
            self._pose = self._beside()
            return
        self._pose = self._probe()
        if not self._is_image or self._pose is None:
            return
        # Two cameras with a common view look in about the same direction; otherwise one frame is a body frame.
        to_body, to_optical = np.eye(4), np.eye(4)
        to_body[:3, :3], to_optical[:3, :3] = _BODY, _BODY.T
        if np.trace((to_optical @ self._pose)[:3, :3]) > _ALIKE:
            self._after, frame = to_optical, self._target
        elif np.trace((self._pose @ to_body)[:3, :3]) > _ALIKE:
            self._before, frame = to_body, self._source
        else:
            return
        self._pose = self._after @ self._pose @ self._before
        self.notes.append(f"{frame} is a body frame (x forward): its images are assumed to be in its optical frame")

    def _to_image(self, transforms: TransformTree, stamp: int) -> np.ndarray | None:
        """Return the transform [4, 4] from the frame of the ground truth to the frame of the image."""
        if self._same_frame:
            return self._pose
        pose = transforms.between(self._target, self._source, stamp)
        return None if pose is None else self._after @ pose @ self._before

    def _beside(self) -> np.ndarray:
        """Return the transform within one frame; P has the offset of the right camera of a stereo pair."""
        pose = np.eye(4)
        if self._is_image and self._info is not None and self._depth_info is not None:
            pose[:2, 3] = np.subtract(_offset(self._info), _offset(self._depth_info))
        return pose

    def _stands(self, image, truth) -> str:
        """Return the relation of the depth image to the image; raises ValueError if it cannot be determined."""
        near = self._pose is not None and np.allclose(self._pose, np.eye(4), atol=_SAME_PLACE)
        source = self._calibration_of_first(self._depth_calibrations, depth_of, truth, self._depth_info)
        calibration = self._calibration_of_first(
            Calibrations(is_rectified(self.topics.image)), rgb_of, image, self._info
        )
        if source is None:
            self._depth_info = None
        if source is None or calibration is None:
            source = calibration = None
        if near:
            return REGISTERED if source is None or self._fits(source, calibration) else PROJECTED
        if self._pose is not None:
            if source is None:
                raise ValueError(
                    f"{self.topics.depth} of '{self._path}' is in frame {self._source}, the image in {self._target}; "
                    "to project it, the camera_info of both is needed: set their topics (--camera-info, "
                    "--depth-camera-info), or record them"
                )
            return PROJECTED
        if source is not None and calibration is not None and not same_view(source, calibration):
            return PROJECTED
        why = "their intrinsics are the same" if source is not None else "there is no transform between them"
        self.notes.append(
            f"{self.topics.depth} is in frame {self._source}, the image in {self._target}, and {why}: depth is assumed "
            "to be registered to the image"
        )
        return ASSUMED

    def _calibration_of_first(self, calibrations: Calibrations, decode: Callable, message, info) -> Calibration | None:
        """Return the calibration of the first message; None if it is unknown."""
        if info is None:
            return None
        try:
            height, width = decode(message).shape[:2]
        except ValueError:
            height, width = info.height, info.width
        try:
            return calibrations.of(info, width, height)
        except ValueError as error:
            self.notes.append(f"the intrinsics of {frame_of(message) or 'a camera'} are not known: {error}")
            return None

    def _fits(self, source: Calibration | None, calibration: Calibration | None) -> bool:
        """Whether a depth image is registered to the image, as far as transform and intrinsics show."""
        if self._pose is None or not np.allclose(self._pose, np.eye(4), atol=_SAME_PLACE):
            return False
        if source is None or calibration is None:
            return True
        if (source, calibration) not in self._same_views:
            self._same_views[source, calibration] = same_view(source, calibration)
        return self._same_views[source, calibration]

    def _probe(self) -> np.ndarray | None:
        """Return the first transform between the frames from /tf_static and, if needed, /tf; None if unconnected."""

        def connected(tree: TransformTree) -> bool:
            return tree.moves(self._target, self._source) is not None

        tree = self._tree.fixed()
        self._moves = not connected(tree)
        if self._moves:
            tree, self.transform_topics = self._tree.probe(connected), self._tree.moving
        self._names = tree.names()
        if not connected(tree):
            return None
        moment = tree.known_until(self._target, self._source)
        return tree.between(self._target, self._source, 0 if moment == float("inf") else int(moment))


def _offset(info) -> tuple[float, float]:
    """Return the offset of a camera from the first one of a stereo pair, metres: Tx / fx and Ty / fy of P."""
    p = info.p if hasattr(info, "p") else info.P
    return (p[3] / p[0], p[7] / p[5]) if p[0] > 0 and p[5] > 0 else (0.0, 0.0)
