"""Recordings of the site, split in time, and a bounded number of their frames in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depth_estimation_ros.evaluation.recording.recording import Recording, Sample
from depth_estimation_ros.model import ModelInfo
from training.adapt.frames import KEPT, Frame, FrameMaker

MEMORY = 256 << 20
"""Memory for the frames to train on, bytes. Of longer recordings, evenly spread frames are kept."""

GAP = 0.1
"""Share of a recording between the frames to train on and those held out."""

LEAST_TRAINED, LEAST_HELD_OUT = 6, 3
"""Least numbers of frames with ground truth."""

MOST_HELD_OUT = 40
"""Largest number of frames that decide when to stop; looking at them takes time from the training."""

_ALIKE = 2.0  # grey levels by which small images differ at least if the camera has moved


@dataclass(frozen=True)
class Split:
    """
    Division of a recording in time: frames to train on, a gap that nothing uses, and the end, which is held out.

    Parameters
    ----------
    recording : Recording
        The recording.
    trained, held_out : int
        Images before the first index are trained on, those from the second on are held out.
    """

    recording: Recording
    trained: int
    held_out: int

    @classmethod
    def of(cls, recording: Recording, share: float) -> Split:
        """Divide a recording, of which ``share`` is held out."""
        held_out = round(recording.images * (1 - share))
        return cls(recording, max(0, held_out - max(1, round(GAP * recording.images))), held_out)

    def indices(self, held_out: bool, most: int) -> range:
        """Return the indices of at most ``most`` evenly spread images of one part."""
        start, stop = (self.held_out, self.recording.images) if held_out else (0, self.trained)
        every = max(1, -(-(stop - start) // most))
        return range(-(-start // every) * every, stop, every)  # `Recording.samples` counts from the first image

    def samples(self, held_out: bool, most: int) -> Iterator[Sample]:
        """Read the samples of these images; those without ground truth are left out."""
        chosen = self.indices(held_out, most)
        yield from self.recording.samples(chosen.start, chosen.stop, chosen.step)


@dataclass(frozen=True)
class Site:
    """
    Frames of all recordings.

    Parameters
    ----------
    splits : sequence of Split
        The recordings.
    trained, held_out : list of Frame
        Frames to train on, and frames that decide when to stop.
    problems : collections.Counter
        Number of images that could not be used, by reason.
    """

    splits: Sequence[Split]
    trained: list[Frame]
    held_out: list[Frame]
    problems: Counter

    @property
    def coverage(self) -> float:
        """Share of the pixels of the depth to train on that are known."""
        return sum((frame.truth > 0).mean() for frame in self.trained) / len(self.trained)

    @property
    def moves(self) -> bool:
        """Whether most held-out images differ from all images to train on, so that the camera has moved between."""
        trained = [_thumbnail(frame) for frame in self.trained]
        nearest = [min(np.abs(_thumbnail(frame) - other).mean() for other in trained) for frame in self.held_out]
        return float(np.median(nearest)) > _ALIKE


def most_frames(info: ModelInfo) -> int:
    """Return the number of frames that fit into `MEMORY`."""
    pixels = info.input_width * info.input_height
    return max(LEAST_TRAINED, MEMORY // round(KEPT**2 * 3 * pixels + 8 * pixels))


def read_site(splits: Sequence[Split], maker: FrameMaker, tick: Callable[[], None] = lambda: None) -> Site:
    """
    Read the frames of the site.

    Parameters
    ----------
    splits : sequence of Split
        The recordings.
    maker : FrameMaker
        Maker of frames for the model.
    tick : callable
        Called after each frame.

    Raises
    ------
    ValueError
        If there are too few frames with ground truth.
    """
    problems: Counter = Counter()

    def read(held_out: bool, most: int) -> list[Frame]:
        found = []
        for split in splits:
            for sample in split.samples(held_out, max(1, most // len(splits))):
                frame = maker.of_truth(sample.rgb, sample.camera, sample.truth, remember=True)
                found += [frame] if frame.truth.any() else []
                tick()
            problems.update(split.recording.problems)
        return found

    site = Site(splits, read(False, most_frames(maker.info)), read(True, MOST_HELD_OUT), problems)
    for part, least, what in (
        (site.trained, LEAST_TRAINED, "to train on"),
        (site.held_out, LEAST_HELD_OUT, "held out"),
    ):
        if len(part) < least:
            images = sum(split.recording.images for split in splits)
            why = "".join(f" ({number} images: {reason})" for reason, number in problems.most_common(1))
            raise ValueError(
                f"of {images} images, {len(part)} with ground truth are {what}, and at least {least} are needed{why}: "
                "record a longer walk through the site"
            )
    return site


def _thumbnail(frame: Frame) -> np.ndarray:
    grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (16, 12), interpolation=cv2.INTER_AREA).astype(np.float32)
