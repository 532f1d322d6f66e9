"""Recording with ground truth, read as a sequence of samples."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from depth_estimation_ros.bags.find import find_recordings
from depth_estimation_ros.bags.messages import COMPRESSED, POSES, TRANSFORMS, frame_of, is_blank, stamp_of
from depth_estimation_ros.bags.pairing import PATIENCE, Matcher, Received
from depth_estimation_ros.bags.reader import BagReader
from depth_estimation_ros.bags.transforms import TransformTree
from depth_estimation_ros.evaluation.recording.clocks import Clocks
from depth_estimation_ros.evaluation.recording.poses import (
    AROUND,
    LONGEST_GAP,
    PoseReader,
    Poses,
    Shot,
    posed,
    surrounded,
)
from depth_estimation_ros.evaluation.recording.rectified import ImageDecoder, message_of
from depth_estimation_ros.evaluation.recording.topics import Topics, choose_topics
from depth_estimation_ros.evaluation.recording.triangulation import Posed, triangulate
from depth_estimation_ros.evaluation.result.sample import Sample
from depth_estimation_ros.ground_truth.calibration import calibration_of, is_rectified
from depth_estimation_ros.ground_truth.reader import TruthReader

__all__ = ["Recording", "Sample", "Topics", "find_recordings"]

_END = 2**62


class Recording:
    """
    Bag with images and ground truth.

    Images and ground truth are matched by header stamps, or by times of receipt if the stamps are zero.

    Parameters
    ----------
    path : path
        Bag file or rosbag2 folder, as `find_recordings` returns it.
    topics : Topics
        Topics to read; empty ones are chosen automatically.
    tolerance : float
        Maximum difference of the stamps of an image and its ground truth, seconds.
    clock_offset : float, optional
        Seconds by which the clock of the ground truth is ahead of the clock of the images. Estimated without it.

    Attributes
    ----------
    name : str
        Name of the file or folder.
    images : int
        Number of images.
    topics : Topics
        Chosen topics.
    kind : str
        Kind of the ground truth: ``depth image``, ``unregistered depth image``, ``point cloud``, ``laser scan`` or
        ``poses (triangulated)``.
    clock_offset : float
        Clock offset in seconds, as given or estimated.
    compressed : bool
        Whether the images are sensor_msgs/CompressedImage.
    notes : list of str
        Notes for the user, one sentence each: chosen topics, clocks, assumptions.
    damage : list of str
        Missing parts of the bag, one sentence each; reading may add more.
    problems : collections.Counter
        Number of images without a sample, by reason, since the last call of `samples`.

    Raises
    ------
    ValueError
        If the bag cannot be read, a topic is missing or ambiguous, a transform is missing, or images and ground truth
        do not overlap in time.
    """

    def __init__(
        self,
        path: str | Path,
        topics: Topics | None = None,
        tolerance: float = 0.02,
        clock_offset: float | None = None,
    ):
        if not 0 <= tolerance < 10:
            raise ValueError(f"the tolerance must lie between 0 and 10 seconds, got {tolerance}")
        self.path = Path(path)
        self.name = self.path.name
        self.problems: Counter = Counter()
        self._tolerance = round(tolerance * 1e9)
        with BagReader(self.path) as reader:
            self.topics, self.notes = choose_topics(reader, topics or Topics())
            self.compressed = reader.topics[self.topics.image].kind == COMPRESSED
            by_poses = reader.topics[self.topics.depth].kind in (*POSES, *TRANSFORMS)
            self._truth: PoseReader | TruthReader
            if by_poses:
                self._truth = PoseReader(reader, self.topics, self._tolerance)
            else:
                self._truth = TruthReader(reader, self.topics)
            self._images = ImageDecoder(is_rectified(self.topics.image))
            self.notes += self._truth.notes
            self.kind = self._truth.kind
            self._image_times = reader.times(self.topics.image)
            self.images = len(self._image_times)
            self._info_times = reader.times(self.topics.camera_info)
            self._note_camera(reader)
            self._by_receipt = self._has_zero_stamps(reader)
            clocks = Clocks(reader, self.topics.image, self.topics.depth)
            self._offset = round((clock_offset or 0.0) * 1e9)
            if clock_offset is None and not self._by_receipt:
                # Poses are interpolated, so their stamps need not be close to those of the images.
                near = max(self._tolerance, LONGEST_GAP // 2) if by_poses else self._tolerance
                self._offset, sentence = clocks.offset(near)
                self.notes += [sentence] if sentence else []
            self.clock_offset = self._offset / 1e9
            clocks.check_overlap(self._stamp, self._offset, self._tolerance)
            self.damage = reader.notes

    def samples(self, start: int = 0, stop: int | None = None, every: int = 1) -> Iterator[Sample]:
        """
        Read images with their ground truth.

        The sample of an image does not depend on where reading starts.

        Parameters
        ----------
        start, stop : int
            Range of image indices; ``stop`` is exclusive. All images without it.
        every : int
            Read only images whose index is a multiple of this number.

        Yields
        ------
        Sample
            Samples in the order of receipt. Images without a sample are counted in `problems`.
        """
        self.problems = Counter()
        stop = self.images if stop is None else min(stop, self.images)
        if start >= stop:
            return
        with BagReader(self.path) as reader:
            read = 0
            for image, make in self._ready(reader, start):
                if image.index >= stop:
                    break
                if image.index < start:
                    continue
                read += 1
                if image.index % every:
                    continue
                try:
                    sample = make()
                except ValueError as error:
                    self.problems[str(error)] += 1
                    continue
                yield sample
            if read < stop - start:
                self.problems["the recording is damaged at this image"] += stop - start - read
            # Without the number of messages, which would differ between the parts of a recording.
            found = reader.notes + [f"messages of {topic} cannot be decoded" for topic in sorted(reader.undecodable)]
            self.damage += [sentence for sentence in found if sentence not in self.damage]

    def _ready(self, reader: BagReader, start: int) -> Iterator[tuple[Received, Callable[[], Sample]]]:
        """Yield each image with a function that makes its sample, once all messages for the sample have been read."""
        truth = self._truth
        first = start if isinstance(truth, TruthReader) else max(0, start - AROUND)
        infos = self._infos_before(reader, int(self._image_times[first]) - PATIENCE)
        if isinstance(truth, TruthReader):
            transforms = truth.transforms()
            placed, add = partial(truth.placed, transforms), partial(truth.add_transforms, transforms)
            for image, measured in self._pairs(reader, placed, add, infos, first):
                yield image, partial(self._sample, truth, image, measured, infos, transforms)
        else:
            poses = truth.transforms()
            placed, add = partial(truth.placed, poses), partial(truth.add_transforms, poses)
            shots = (self._shot(image, infos, poses) for image, _ in self._pairs(reader, placed, add, infos, first))
            for shot, before, after in surrounded(shots):
                yield shot.image, partial(self._triangulated, shot, before, after)

    def _pairs(
        self,
        reader: BagReader,
        placed: Callable[[int], bool],
        add_transforms: Callable[[str, Any, int], None],
        infos: deque,
        start: int,
    ) -> Iterator[tuple[Received, Received | None]]:
        """Pair the images of the bag, from one on, with the ground truth; read everything else for them."""
        t, matcher = self.topics, Matcher(self._tolerance, placed)
        topics = [t.image, t.depth, t.camera_info, t.depth_camera_info, *self._truth.transform_topics]
        same, last = 0, None
        begin = int(self._image_times[start]) - PATIENCE
        for topic, received, message in reader.messages(filter(None, topics), begin):
            if topic == t.image:
                same, last = (same + 1 if received == last else 0), received
                index = int(np.searchsorted(self._image_times, received)) + same
                stamp = received if message is None else self._stamp(message, received)
                matcher.add_image(Received(stamp, received, message, index))
            elif message is None:
                continue
            elif topic == t.depth:
                matcher.add_truth(Received(self._stamp(message, received) - self._offset, received, message))
            if topic in self._truth.transform_topics and message is not None:
                add_transforms(topic, message, self._offset)
            if topic == t.camera_info and not is_blank(message):
                infos.append((received, message))
                while len(infos) > 1 and infos[1][0] < received - 2 * PATIENCE:
                    infos.popleft()
            if topic == t.depth_camera_info and isinstance(self._truth, TruthReader):
                self._truth.add_camera_info(message)
            yield from matcher.pairs(received)
        yield from matcher.pairs(_END)

    def _sample(
        self, truth: TruthReader, image: Received, measured: Received | None, infos: deque, transforms: TransformTree
    ) -> Sample:
        """Decode an image and its ground truth; raises ValueError if they cannot be used."""
        frame_id = frame_of(message_of(image))
        if measured is None:
            raise ValueError(f"no ground truth within {self._tolerance / 1e6:g} ms")
        rgb, calibration = self._images.decode(image, infos)
        depth = truth.read(
            measured.message, calibration, rgb.shape[1], rgb.shape[0], transforms=transforms, stamp=image.stamp
        )
        if not (depth > 0).any():
            raise ValueError("no valid ground truth")
        camera = None if calibration is None else calibration.camera
        return Sample(
            image.index, image.stamp, rgb, camera, truth=depth, delay=measured.stamp - image.stamp, frame_id=frame_id
        )

    def _shot(self, image: Received, infos: deque, poses: Poses) -> Shot:
        """Prepare an image for triangulation."""
        try:
            pose = poses.at(image.stamp)
            message_of(image)
            if pose is None:
                raise ValueError("no pose at the image's time")
            rgb, calibration = self._images.decode(image, infos)
            if calibration is None:
                raise ValueError("no camera_info of the image can be read")
        except ValueError as error:
            return Shot(image, problem=str(error))
        return Shot(image, calibration, posed(rgb, calibration, pose))

    def _triangulated(self, shot: Shot, before: list[Posed], after: list[Posed]) -> Sample:
        """Triangulate the ground truth of an image; raises ValueError if that is not possible."""
        if shot.posed is None or shot.calibration is None:
            raise ValueError(shot.problem)
        depth, deviation = triangulate(shot.posed, before, after)
        # Decoded a second time, because keeping the decoded images of all neighbours would need too much memory.
        image, rgb = shot.image, self._images.decode_as(shot.image, shot.calibration)
        return Sample(
            image.index,
            image.stamp,
            rgb,
            shot.calibration.camera,
            truth=depth,
            delay=0,
            frame_id=frame_of(image.message),
            deviation=deviation,
        )

    def _stamp(self, message, received: int) -> int:
        return received if self._by_receipt else stamp_of(message) or received

    def _infos_before(self, reader: BagReader, moment: int) -> deque:
        """Return the last camera_info before a time of receipt, or else the first one, with its time of receipt."""
        if not len(self._info_times):
            return deque()
        at = int(self._info_times[max(0, int(np.searchsorted(self._info_times, moment)) - 1)])
        message = reader.first(self.topics.camera_info, at)
        return deque([(at, message)] if message is not None else [])

    def _note_camera(self, reader: BagReader) -> None:
        """Add notes about the intrinsics; drop the camera_info of an uncalibrated camera."""
        message = reader.first(self.topics.camera_info) if self.topics.camera_info else None
        calibration = None
        try:
            if message is not None:
                calibration = calibration_of(message, message.width, message.height, is_rectified(self.topics.image))
        except ValueError as error:
            if self._truth.projects:
                raise ValueError(f"{self.topics.camera_info} of '{self.path}': {error}") from None
            self.notes.append(f"{self.topics.camera_info} is not used: {error}")
            self.topics, self._info_times = replace(self.topics, camera_info=""), np.empty(0, np.int64)
        if calibration is None:
            self.notes.append(
                "there is no camera_info: estimates are metric only for the field of view of the training"
            )
        elif calibration.lens is not None:
            self.notes.append(f"the lens of {self.topics.image} has distortion: images and ground truth are rectified")

    def _has_zero_stamps(self, reader: BagReader) -> bool:
        firsts = [reader.first(topic) for topic in (self.topics.image, self.topics.depth)]
        zero = any(message is not None and stamp_of(message) == 0 for message in firsts)
        if zero:
            self.notes.append("stamps are zero: images and ground truth are matched by their times of receipt")
        return zero
