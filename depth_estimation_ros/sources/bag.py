"""Bag (ROS 1, rosbag2 sqlite3 or mcap) as a source of images, intrinsics and ground truth, read without a player."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from depth_estimation_ros.bags.losses import Losses
from depth_estimation_ros.bags.messages import (
    COMPRESSED,
    IMAGE,
    INFO,
    distorts,
    frame_of,
    is_depth,
    rgb_of,
    stamp_of,
)
from depth_estimation_ros.bags.pairing import Matcher, Received
from depth_estimation_ros.bags.reader import BagReader
from depth_estimation_ros.bags.topics import camera_infos, camera_rank, node_outputs, only_depth, without_twins
from depth_estimation_ros.bags.transforms import TransformTree
from depth_estimation_ros.ground_truth.calibration import Calibrations, is_rectified
from depth_estimation_ros.ground_truth.choice import best_depth
from depth_estimation_ros.ground_truth.reader import TruthReader
from depth_estimation_ros.sources.frame import Frame
from depth_estimation_ros.support.sentences import choices

_SAME_MOMENT_NS = 20_000_000  # maximum difference of the stamps of an image and its depth
_END = 2**62


class Bag:
    """
    Recording as a source. Each image gets the depth nearest in time, within 20 ms, transformed into its view.

    Times of receipt replace stamps of zero. Each message that cannot be read is skipped.

    Parameters
    ----------
    path : pathlib.Path
        Bag file or rosbag2 folder.
    image_topic, camera_info_topic, depth_topic : str
        Topics to read; if empty, the one that fits best is used and named in ``notes``.
        If camera_info_topic is None, no camera_info is read.

    Raises
    ------
    ValueError
        If it is not a readable bag, has no image topic, does not have a requested topic, or the requested depth cannot
        be transformed into the view of the image.
    """

    def __init__(self, path: Path, image_topic: str = "", camera_info_topic: str | None = "", depth_topic: str = ""):
        self._path, self.rate, self.live, self.losses = path, None, False, Losses()
        with BagReader(path) as reader:
            self.notes = reader.notes
            infos, own = reader.of_kind(INFO), node_outputs(reader.topics)
            images = reader.of_kind(IMAGE) + reader.of_kind(COMPRESSED)
            firsts = {topic: message for topic in images if (message := reader.first(topic))}
            depths = [topic for topic, message in firsts.items() if is_depth(message, topic) and topic not in own]
            cameras = [topic for topic in firsts if topic not in depths and topic not in own]
            cameras.sort(key=lambda topic: (*camera_rank(topic, firsts[topic], infos), "depth" in topic))
            self.image_topic = self._choose("image", image_topic, cameras, images)
            if not self.image_topic:
                besides = " besides what depth_estimation_node published" if own else ""
                raise ValueError(f"bag '{path}' has no image topic{besides}; its topics are {reader.listing()}")
            self._calibrations = Calibrations(is_rectified(self.image_topic))
            fitting = [] if camera_info_topic is None else camera_infos(reader, self.image_topic, depths)
            self.camera_info_topic = self._choose("camera_info", camera_info_topic or "", fitting, infos)
            self._first_info = self._find_info(reader)
            self._truth = self._find_truth(reader, depth_topic, depths, images)
            self.depth_topic = self._truth.topics.depth if self._truth else ""
            # If the stamps of one topic are zero, those of the other are by a different clock.
            chosen = [firsts.get(topic) for topic in filter(None, (self.image_topic, self.depth_topic))]
            self._by_receipt = any(message is not None and stamp_of(message) == 0 for message in chosen)
            if self._by_receipt:
                self.notes.append("stamps are zero: the times of receipt are used instead")
            count = reader.topics[self.image_topic].count
        self.description = f"bag {path}: {count} images of {self.image_topic}"

    def _choose(self, what: str, wanted: str, fitting: list[str], allowed: list[str]) -> str:
        if wanted and wanted not in allowed:
            raise ValueError(f"bag '{self._path}' has no {what} topic '{wanted}'; there are {choices(allowed, wanted)}")
        if not wanted and len(fitting) > 1:
            self.notes.append(f"took {fitting[0]} as {what}; parameter {what}_topic selects one of {choices(fitting)}")
        return wanted or (fitting[0] if fitting else "")

    def _find_info(self, reader: BagReader):
        """Return the first camera_info; None if there is none or it cannot be used."""
        info = reader.first(self.camera_info_topic) if self.camera_info_topic else None
        image = reader.first(self.image_topic)
        if info is None or image is None:
            return info
        try:
            height, width = rgb_of(image).shape[:2]
        except ValueError:
            return info  # reported when the image is read
        try:
            calibration = self._calibrations.of(info, width, height)
        except ValueError as error:
            self.notes.append(f"{self.camera_info_topic} is not used: {error}")
            self.camera_info_topic = ""
            return None
        if calibration.lens is not None:
            self.notes.append(f"{self.image_topic} has a lens with distortion ({calibration.lens.model})")
        return info

    def _find_truth(self, reader: BagReader, wanted: str, depths: list[str], allowed: list[str]) -> TruthReader | None:
        """Return the reader of the depth that belongs to the image; None if there is none."""
        fitting = without_twins(only_depth(depths))
        fitting = [self._choose("depth", wanted, fitting, allowed)] if wanted else fitting
        truth, problems = best_depth(reader, self.image_topic, self.camera_info_topic, fitting)
        if truth is None:
            if wanted:
                raise ValueError(problems[0])
            self.notes += [f"no ground truth: {problem}" for problem in problems]
            return None
        depth = truth.topics.depth
        self.notes += truth.notes
        if len(fitting) > 1:
            self.notes.append(f"took {depth} as depth; parameter depth_topic selects one of {choices(fitting)}")
        if truth.projects:
            self.notes.append(f"{depth} is from another camera than {self.image_topic}: it is projected into its view")
        return truth

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the images in the order of the recording."""
        self.losses.clear()
        truth, topics = self._truth, [self.image_topic, self.camera_info_topic]
        if truth is not None:
            topics += [self.depth_topic, truth.topics.depth_camera_info, *truth.transform_topics]
        transforms = TransformTree() if truth is None else truth.transforms()
        info = self._first_info
        matcher = Matcher(_SAME_MOMENT_NS, lambda stamp: truth is None or truth.placed(transforms, stamp))
        with BagReader(self._path) as reader:
            for topic, received, message in reader.messages(filter(None, topics)):
                if message is None:
                    self.losses.add(f"messages of {topic}", "it cannot be decoded")
                elif topic == self.camera_info_topic:
                    info = self._usable(message) or info
                elif topic == self.depth_topic:
                    matcher.add_truth(Received(self._moment(message, received), received, message))
                elif topic == self.image_topic:
                    matcher.add_image(Received(self._moment(message, received), received, (message, info)))
                elif truth is not None and topic == truth.topics.depth_camera_info:
                    truth.add_camera_info(message)
                elif truth is not None:
                    truth.add_transforms(transforms, topic, message, 0)
                # Without depth there is nothing to wait for.
                for image, depth in matcher.pairs(received if self.depth_topic else _END):
                    yield from self._frame(image, depth, transforms)
            for image, depth in matcher.pairs(_END):
                yield from self._frame(image, depth, transforms)
            self.notes += [note for note in reader.notes if note not in self.notes]

    def _moment(self, message, received: int) -> int:
        return received if self._by_receipt else stamp_of(message) or received

    def _usable(self, info):
        """Return a camera_info if it is valid; None if its camera is not calibrated or has impossible intrinsics."""
        what = f"messages of {self.camera_info_topic}"
        return info if self.losses.tried(what, self._calibrations.of, info, info.width, info.height) else None

    def _frame(self, received: Received, depth: Received | None, transforms: TransformTree) -> Iterator[Frame]:
        """Yield a frame with the image and the readable ones of camera_info and depth; nothing without an image."""
        message, info = received.message
        image = self.losses.tried(f"images of {self.image_topic}", rgb_of, message)
        if image is None:
            return
        size = image.shape[1], image.shape[0]
        calibration = info and self.losses.tried(
            f"messages of {self.camera_info_topic}", self._calibrations.of, info, *size
        )
        what, metres = f"depth images of {self.depth_topic}", None
        if depth is not None and self._truth is not None:
            metres = self.losses.tried(
                what, self._truth.read, depth.message, calibration, *size, transforms, received.stamp
            )
        if calibration is None:
            yield Frame(image, received.stamp, None, metres, frame_id=frame_of(message))
            return
        # A camera_info with distortion does not describe an image that is already rectified.
        recorded = info if calibration.lens is not None or not distorts(info) else None
        yield Frame(
            image,
            received.stamp,
            camera=calibration.camera,
            depth=metres,
            lens=calibration.lens,
            info=recorded,
            frame_id=frame_of(message),
        )
