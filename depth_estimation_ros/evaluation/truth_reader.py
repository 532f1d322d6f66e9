"""From a message with truth to true depth in the image: decides once for a recording how, then does it."""

from __future__ import annotations

import numpy as np

from depth_estimation_ros.anchor.references import scan_points
from depth_estimation_ros.evaluation.frame_tree import FrameTree
from depth_estimation_ros.evaluation.topics import Topics
from depth_estimation_ros.evaluation.transforms import Transforms
from depth_estimation_ros.evaluation.truth import camera_truth, points_truth, registered_truth
from depth_estimation_ros.sources.bag_messages import CLOUD, SCAN, depth_of, frame_of, points_of, rgb_of
from depth_estimation_ros.sources.bag_reader import BagReader
from depth_estimation_ros.sources.views import View, is_rectified, same_shape, view_of

_SAME = 0.01  # share by which intrinsics of one view may differ


class TruthReader:
    """
    Reads the truth of a recording.

    A depth image is taken as registered to the image if it is in the same frame with the same intrinsics, or if nothing
    says that it is not: no camera_info of its own.

    Parameters
    ----------
    reader : BagReader
        The bag.
    topics : Topics
        As chosen.

    Attributes
    ----------
    kind : str
        See `Recording`.
    projects : bool
        Whether the intrinsics of the image are needed.
    notes : list of str
        What the user should know.
    transform_topics : tuple of str
        Of frames that move, to be read along with the images and given to `Transforms`; empty if none is needed.

    Raises
    ------
    ValueError
        If the truth cannot be brought into the image.
    """

    def __init__(self, reader: BagReader, topics: Topics):
        self.notes, self.transform_topics, self._topics, self._path = [], (), topics, reader.path
        self._moves, self._depth_info = False, None
        self._depth_views: dict[tuple[int, int], View] = {}
        self._tree = FrameTree(reader, int(reader.times(topics.image)[0]))
        image, truth = reader.first(topics.image), reader.first(topics.depth)
        if image is None or truth is None:
            raise ValueError(f"no message of {topics.depth if image else topics.image} in '{reader.path}' can be read")
        info = reader.first(topics.camera_info) if topics.camera_info else None
        self._target = frame_of(image) or (info is not None and frame_of(info)) or ""
        self._source = frame_of(truth)
        kind = reader.topics[topics.depth].kind
        self.kind = {CLOUD: "point cloud", SCAN: "laser scan"}.get(kind, "unregistered depth image")
        is_image = kind not in (CLOUD, SCAN)
        if is_image:
            self._depth_info = reader.first(topics.depth_camera_info) if topics.depth_camera_info else None
        self.projects = not is_image or not self._is_registered(image, truth, info)
        if not self.projects:
            self.kind = "depth image"
        elif info is None:
            raise ValueError(
                f"{topics.depth} of '{reader.path}' ({self.kind}) can only be brought into the image with the image's "
                "camera_info: name its topic with --camera-info, or record it"
            )
        else:
            self._find_transform()

    def transforms(self) -> Transforms:
        """Return a tree with the frames that do not move."""
        return self._tree.fixed()

    def add_transforms(self, transforms: Transforms, topic: str, message, offset: int) -> None:
        """Take in a message of `transform_topics`; the robot's clock is that of the images."""
        transforms.add(message, static=False)

    def placed(self, transforms: Transforms, stamp: int) -> bool:
        """Whether all transforms for a moment have been read."""
        return not self._moves or transforms.known_until(self._target, self._source) >= stamp

    def add_camera_info(self, message) -> None:
        """Take the intrinsics of the depth camera from now on from this message."""
        if self._depth_info is None or _calibration(message) != _calibration(self._depth_info):
            self._depth_views.clear()
        self._depth_info = message

    def read(
        self, message, view: View | None, width: int, height: int, transforms: Transforms, stamp: int
    ) -> np.ndarray:
        """
        Bring a truth into the image.

        Parameters
        ----------
        message : object
            The truth.
        view : View or None
            Of the image.
        width, height : int
            Of the image.
        transforms : Transforms
            The tree, with the frames that move around this time.
        stamp : int
            Of the image.

        Returns
        -------
        numpy.ndarray
            As `Sample.truth`.

        Raises
        ------
        ValueError
            If it does not fit or cannot be decoded; the reason.
        """
        if not self.projects:
            depth = depth_of(message)
            if not same_shape(depth.shape[1], depth.shape[0], width, height):
                raise ValueError(f"depth of {depth.shape[1]}x{depth.shape[0]} does not fit images of {width}x{height}")
            return registered_truth(depth, view)
        if view is None:
            raise ValueError("no camera_info of the image can be read")
        pose = np.eye(4) if self._source == self._target else transforms.between(self._target, self._source, stamp)
        if pose is None:
            raise ValueError(f"no transform from {self._source} to {self._target} at the image's time")
        if self.kind == "point cloud":
            return points_truth(points_of(message), pose, view)
        if self.kind == "laser scan":
            m = message
            return points_truth(
                scan_points(m.ranges, m.angle_min, m.angle_increment, m.range_min, m.range_max), pose, view
            )
        depth = depth_of(message)
        return camera_truth(depth, self._depth_view(depth.shape[1], depth.shape[0]), pose, view)

    def _depth_view(self, width: int, height: int) -> View:
        if (width, height) not in self._depth_views:
            try:
                self._depth_views[width, height] = view_of(
                    self._depth_info, width, height, is_rectified(self._topics.depth)
                )
            except ValueError as error:
                raise ValueError(f"of the depth camera: {error}") from None
        return self._depth_views[width, height]

    def _is_registered(self, image, truth, info) -> bool:
        same_frame = self._source == self._target or not self._source or not self._target
        pose = None if same_frame else self._probe()
        near = same_frame or (pose is not None and np.allclose(pose, np.eye(4), atol=1e-3))
        if self._depth_info is None or info is None:
            if not same_frame and pose is None:
                self.notes.append(
                    f"{self._topics.depth} is in frame {self._source}, the image in {self._target}, and nothing says "
                    "how they lie to each other: depth is taken as registered to the image"
                )
            elif not near:
                raise ValueError(
                    f"{self._topics.depth} of '{self._path}' is seen from {self._source}, not from {self._target}; to "
                    "project it, the camera_info of both is needed: name them with --camera-info and "
                    "--depth-camera-info"
                )
            return True
        depth, rgb = depth_of(truth), rgb_of(image)
        of_depth = _plain(self._depth_view(depth.shape[1], depth.shape[0]))
        of_image = _plain(view_of(info, rgb.shape[1], rgb.shape[0], is_rectified(self._topics.image)))
        if near and same_shape(of_depth.width, of_depth.height, of_image.width, of_image.height):
            scaled = of_depth.resized(of_image.width, of_image.height)
            distances = [abs(scaled.fx / of_image.fx - 1), abs(scaled.fy / of_image.fy - 1)]
            distances += [abs(scaled.cx - of_image.cx) / of_image.width, abs(scaled.cy - of_image.cy) / of_image.height]
            if max(distances) <= _SAME:
                return True
        return False

    def _find_transform(self) -> None:
        unnamed = self.kind == "unregistered depth image" and not (self._source and self._target)
        if self._source == self._target or unnamed:
            self._source = self._target
            return
        if self._probe() is None:
            raise ValueError(
                f"{self._topics.depth} of '{self._path}' is in frame '{self._source}', the image in '{self._target}', "
                f"and no transform of the bag connects them (its frames: {', '.join(self._names) or 'none'}): "
                "record /tf_static, and /tf if they move"
            )

    def _probe(self) -> np.ndarray | None:
        """Look whether the frames are connected, by /tf_static or with /tf too; return the first transform."""

        def connected(tree: Transforms) -> bool:
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


def _plain(view: View):
    """Return the pinhole camera that the unrectified image would have without its distortion."""
    return view.lens.camera if view.lens else view.camera


def _calibration(info) -> tuple:
    k, d, p = (info.k, info.d, info.p) if hasattr(info, "k") else (info.K, info.D, info.P)
    return info.width, info.height, *k, *d, *p
