"""Collection of the worst and best frames as small pictures, gathered frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.evaluation.report import Picture
from depth_estimation_ros.evaluation.result.frame_result import FrameResult

if TYPE_CHECKING:
    from depth_estimation_ros.evaluation.result.sample import Sample

KEPT = 3
"""Number of pictures for each model and kind."""

KINDS = {"worst": -1, "best": 1}
_WIDTH = 320  # pixels
_APART = 30  # images: neighbours look alike, so one picture of each block of images is kept
_ARRAYS = ("rgb", "depth", "truth")


class Gallery:
    """
    Frames with the largest and smallest AbsRel of each model, at most one of every `_APART` images.

    The result depends neither on the order of the frames nor on how galleries were merged.
    """

    def __init__(self):
        self._pictures: dict[tuple[str, str], list[Picture]] = {}

    def offer(self, sample: Sample, depth: np.ndarray, frame: FrameResult) -> None:
        """Keep a frame if it is among the worst or the best."""
        if not frame.raw:
            return
        for kind in KINDS:
            place = frame.recording, frame.index, frame.raw["abs_rel"]
            if self._admits(frame.model, kind, *place):
                rgb, depths = sample.rgb, (DepthMap(depth), DepthMap(sample.truth))
                width = min(_WIDTH, rgb.shape[1])
                size = width, max(1, round(width * rgb.shape[0] / rgb.shape[1]))
                small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
                estimate = depths[0].resized(*size).depth
                truth = _shrunk(sample.truth, *size)
                picture = Picture(
                    recording=frame.recording,
                    model=frame.model,
                    index=frame.index,
                    kind=kind,
                    rgb=small,
                    depth=estimate,
                    truth=truth,
                    abs_rel=place[2],
                )
                self._add(picture)

    def merge(self, other: Gallery) -> None:
        """Add the pictures of another gallery."""
        for picture in other.pictures:
            if self._admits(picture.model, picture.kind, picture.recording, picture.index, picture.abs_rel):
                self._add(picture)

    @property
    def pictures(self) -> list[Picture]:
        """All pictures, grouped by model and kind, the most extreme first."""
        return [picture for group in self._pictures.values() for picture in group]

    def to_arrays(self) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
        """Return the gallery as values for JSON and arrays by name, the input of `from_arrays`."""
        facts, arrays = [], {}
        for number, picture in enumerate(self.pictures):
            names = ("recording", "model", "index", "kind", "abs_rel")
            facts.append({name: getattr(picture, name) for name in names})
            arrays.update({f"{number}_{name}": getattr(picture, name) for name in _ARRAYS})
        return facts, arrays

    @classmethod
    def from_arrays(cls, facts: list[dict[str, Any]], arrays: Mapping[str, np.ndarray]) -> Gallery:
        """Create a gallery from the result of `to_arrays`."""
        gallery = cls()
        for number, values in enumerate(facts):
            values = values | {name: arrays[f"{number}_{name}"] for name in _ARRAYS}
            gallery._add(Picture(**values))
        return gallery

    def _admits(self, model: str, kind: str, recording: str, index: int, abs_rel: float) -> bool:
        """Return whether a frame would be kept; checked before its picture is made."""
        group = self._pictures.get((model, kind), [])
        rank = _rank(kind, recording, index, abs_rel)
        neighbour = [p for p in group if (p.recording, p.index // _APART) == (recording, index // _APART)]
        rivals = neighbour or (group if len(group) >= KEPT else [])
        return not rivals or rank < max(_rank_of(p) for p in rivals)

    def _add(self, picture: Picture) -> None:
        group = self._pictures.setdefault((picture.model, picture.kind), [])
        block = picture.recording, picture.index // _APART
        group[:] = [p for p in group if (p.recording, p.index // _APART) != block]
        group.append(picture)
        group.sort(key=_rank_of)
        del group[KEPT:]


def _rank(kind: str, recording: str, index: int, abs_rel: float) -> tuple[float, str, int]:
    return KINDS[kind] * abs_rel, recording, index


def _rank_of(picture: Picture) -> tuple[float, str, int]:
    return _rank(picture.kind, picture.recording, picture.index, picture.abs_rel)


def _shrunk(truth: np.ndarray, width: int, height: int) -> np.ndarray:
    """Shrink ground truth by taking the nearest depth of each cell, so that isolated pixels of a laser are kept."""
    small = np.full((height, width), np.inf, np.float32)
    v, u = np.nonzero(np.isfinite(truth))
    cells = v * height // truth.shape[0], u * width // truth.shape[1]
    np.minimum.at(small, cells, truth[v, u])
    return np.where(np.isfinite(small), small, np.float32(np.nan))
