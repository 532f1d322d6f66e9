"""A recording with truth, as images with their true depth, one at a time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.evaluation.clocks import check_overlap, find_offset
from depth_estimation_ros.evaluation.find import find_recordings
from depth_estimation_ros.evaluation.matching import PATIENCE, Matcher, Received
from depth_estimation_ros.evaluation.topics import Topics, choose_topics
from depth_estimation_ros.evaluation.transforms import Transforms
from depth_estimation_ros.evaluation.truth import View, is_rectified, view_of
from depth_estimation_ros.evaluation.truth_reader import TruthReader
from depth_estimation_ros.geometry.rectify import Lens, Rectifier
from depth_estimation_ros.sources.bag_messages import frame_of, rgb_of, stamp_of
from depth_estimation_ros.sources.bag_reader import BagReader

__all__ = ["Recording", "Sample", "Topics", "find_recordings"]

_END = 2**62


@dataclass(frozen=True)
class Sample:
    """
    One image with its truth.

    Parameters
    ----------
    index : int
        Of the image among all images of the recording, from 0.
    stamp : int
        Of the image, nanoseconds.
    rgb : numpy.ndarray
        uint8 [H, W, 3]; rectified where the lens distorts.
    camera : PinholeCamera or None
        Intrinsics of this image.
    truth : numpy.ndarray
        float32 [h, w], metres along z in the view of the image, NaN unknown. Of the image's size, or of another size of
        the same view where a depth camera measures more coarsely.
    delay : int
        Stamp of the truth, by the images' clock, less that of the image; nanoseconds.
    frame_id : str
        Of the image.
    """

    index: int
    stamp: int
    rgb: np.ndarray
    camera: PinholeCamera | None
    truth: np.ndarray
    delay: int
    frame_id: str


class Recording:
    """
    A bag with images and truth.

    Frames are matched by header stamps; where stamps are zero, by the times of receipt.

    Parameters
    ----------
    path : path
        A bag file or rosbag2 folder; one of `find_recordings`.
    topics : Topics
        Which to read; empty ones are guessed.
    tolerance : float
        Seconds by which the stamps of an image and its truth may differ.
    clock_offset : float, optional
        Seconds by which the truth's clock is ahead of the images'; without it, estimated.

    Attributes
    ----------
    name : str
        Of the file or folder.
    images : int
        How many there are.
    topics : Topics
        As chosen.
    kind : str
        ``depth image``, ``unregistered depth image``, ``point cloud`` or ``laser scan``.
    clock_offset : float
        Seconds, as given or estimated.
    notes : list of str
        What the user should know, one sentence each: choices, damage, clocks.
    problems : collections.Counter
        Images without a sample, by reason; of the latest `samples`.

    Raises
    ------
    ValueError
        If it cannot be read, its topics are not there or not certain, a transform is missing, or image and truth do
        not overlap in time.
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
        self._rectifiers: dict[Lens, Rectifier] = {}
        self._views: dict[tuple, View | str] = {}
        with BagReader(self.path) as reader:
            self.notes = reader.notes
            self.topics, notes = choose_topics(reader, topics or Topics())
            self.notes += notes
            self._truth = TruthReader(reader, self.topics)
            self.notes += self._truth.notes
            self.kind = self._truth.kind
            self._image_times = reader.times(self.topics.image)
            self.images = len(self._image_times)
            self._info_times = reader.times(self.topics.camera_info)
            self._note_camera(reader)
            self._by_receipt = self._has_zero_stamps(reader)
            self._offset = round((clock_offset or 0.0) * 1e9)
            if clock_offset is None and not self._by_receipt:
                self._offset, sentence = find_offset(reader, self.topics.image, self.topics.depth, self._tolerance)
                self.notes += [sentence] if sentence else []
            self.clock_offset = self._offset / 1e9
            check_overlap(reader, self.topics.image, self.topics.depth, self._stamp, self._offset, self._tolerance)

    def samples(self, start: int = 0, stop: int | None = None) -> Iterator[Sample]:
        """
        Read images with their truth; what an image gives does not depend on where reading begins.

        Parameters
        ----------
        start, stop : int
            Indices among all images, from and before; all without.

        Yields
        ------
        Sample
            In the order of receipt. Images that have none are counted in `problems`.
        """
        self.problems = Counter()
        stop = self.images if stop is None else min(stop, self.images)
        if start >= stop:
            return
        with BagReader(self.path) as reader:
            transforms = self._truth.transforms()
            matcher = Matcher(self._tolerance, lambda stamp: self._truth.placed(transforms, stamp))
            infos = self._infos_before(reader, int(self._image_times[start]) - PATIENCE)
            read = 0
            for image, truth in self._pairs(reader, matcher, transforms, infos, start):
                if image.index >= stop:
                    break
                if image.index < start:
                    continue
                read += 1
                if sample := self._sample(image, truth, infos, transforms):
                    yield sample
            if read < stop - start:
                self.problems["the recording is damaged where the image is"] += stop - start - read
            notes = reader.notes + [f"{n} messages of {t} cannot be decoded" for t, n in reader.undecodable.items()]
            self.notes += [note for note in notes if note not in self.notes]

    def _pairs(
        self, reader: BagReader, matcher: Matcher, transforms: Transforms, infos: deque, start: int
    ) -> Iterator[tuple[Received, Received | None]]:
        """Stream the bag through the matcher, beginning a little before an image."""
        t = self.topics
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
            elif topic in self._truth.transform_topics:
                transforms.add(message, static="static" in topic)
            if topic == t.camera_info:
                infos.append((received, message))
                while len(infos) > 1 and infos[1][0] < received - 2 * PATIENCE:
                    infos.popleft()
            if topic == t.depth_camera_info:
                self._truth.add_camera_info(message)
            yield from matcher.pairs(received)
        yield from matcher.pairs(_END)

    def _sample(self, image: Received, truth: Received | None, infos: deque, transforms: Transforms) -> Sample | None:
        """Decode an image and its truth; None, and a problem counted, if there is something wrong with them."""
        try:
            if image.message is None:
                raise ValueError("the image's message cannot be decoded")
            if truth is None:
                raise ValueError(f"no truth within {self._tolerance / 1e6:g} ms")
            rgb = rgb_of(image.message)
            view = self._view(image, infos, rgb.shape[1], rgb.shape[0])
            depth = self._truth.read(truth.message, view, rgb.shape[1], rgb.shape[0], transforms, image.stamp)
            if not (depth > 0).any():
                raise ValueError("no valid truth")
        except ValueError as error:
            self.problems[str(error)] += 1
            return None
        if view is not None and view.lens is not None:
            rgb = self._rectifier(view.lens)(rgb)
        camera = view and view.camera
        delay = truth.stamp - image.stamp
        return Sample(image.index, image.stamp, rgb, camera, depth, delay, frame_of(image.message))

    def _view(self, image: Received, infos: deque, width: int, height: int) -> View | None:
        """Return the view by the camera_info nearest in time, one of the image's size rather than another."""
        if not infos:
            return None
        _, info = min(
            infos, key=lambda item: ((item[1].width, item[1].height) != (width, height), abs(item[0] - image.received))
        )
        calibration = (info.k, info.d, info.r, info.p) if hasattr(info, "k") else (info.K, info.D, info.R, info.P)
        key = (width, height, info.width, info.height, info.distortion_model, *(tuple(part) for part in calibration))
        key += (info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height, info.binning_x, info.binning_y)
        if key not in self._views:
            try:
                self._views[key] = view_of(info, width, height, is_rectified(self.topics.image))
            except ValueError as error:
                self._views[key] = str(error)
        if isinstance(self._views[key], str):
            raise ValueError(self._views[key])
        return self._views[key]

    def _rectifier(self, lens: Lens) -> Rectifier:
        if lens not in self._rectifiers:
            self._rectifiers[lens] = Rectifier(lens, lens.rectified)
        return self._rectifiers[lens]

    def _stamp(self, message, received: int) -> int:
        return received if self._by_receipt else stamp_of(message) or received

    def _infos_before(self, reader: BagReader, moment: int) -> deque:
        """Return the last camera_info before a moment, or the first of all, with its time of receipt."""
        if not len(self._info_times):
            return deque()
        at = int(self._info_times[max(0, int(np.searchsorted(self._info_times, moment)) - 1)])
        message = reader.first(self.topics.camera_info, at)
        return deque([(at, message)] if message is not None else [])

    def _note_camera(self, reader: BagReader) -> None:
        """Say what is known of the intrinsics; do without those of a camera that nobody calibrated."""
        message = reader.first(self.topics.camera_info) if self.topics.camera_info else None
        try:
            view = message and view_of(message, message.width, message.height, is_rectified(self.topics.image))
        except ValueError as error:
            if self._truth.projects:
                raise ValueError(f"{self.topics.camera_info} of '{self.path}': {error}") from None
            self.notes.append(f"{self.topics.camera_info} is not used: {error}")
            self.topics, self._info_times = replace(self.topics, camera_info=""), np.empty(0, np.int64)
            view = None
        if view is None:
            self.notes.append("there is no camera_info: estimates are metric only for the training's field of view")
        elif view.lens is not None:
            self.notes.append(f"{self.topics.image} has a lens with distortion: image and truth are rectified")

    def _has_zero_stamps(self, reader: BagReader) -> bool:
        firsts = [reader.first(topic) for topic in (self.topics.image, self.topics.depth)]
        zero = any(message is not None and stamp_of(message) == 0 for message in firsts)
        if zero:
            self.notes.append("stamps are zero: images and truth are matched by the times of receipt")
        return zero
