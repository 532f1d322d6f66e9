"""Results of frames as rows of numbers in a file, so that memory use does not grow with the recording."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from depth_estimation_ros.evaluation.alignment import SAMPLES
from depth_estimation_ros.evaluation.metrics import METRICS
from depth_estimation_ros.evaluation.result.frame_result import FrameResult

FLICKER = ("pixels", "share", "change", "common", "truth")
GROUPED = ("by_distance", "by_region")

ROW = np.dtype(
    [
        *((name, np.int64) for name in ("index", "stamp", "known")),
        *((name, np.float64) for name in ("delay_ms", "invalid", "pixels", *METRICS, "scale")),
        *((f"{kind}_{metric}", np.float64) for kind in ("scaled", "aligned") for metric in METRICS),
        *((f"flicker_{name}", np.float64) for name in FLICKER),
        *((name, np.float64) for name in ("log_bias", "inference_ms", "latency_ms", "truth_deviation")),
        ("pixels_drawn", np.float32, (SAMPLES, 2)),
    ]
)
"""A `FrameResult` without names and sums; NaN where there is no value. ``log_bias``: mean log(estimate / truth)."""

_AT_ONCE = 4096  # rows in memory
_UNWRITTEN = 256  # rows


class FrameTable:
    """
    Results of one model on one recording, in the order of the images.

    Parameters
    ----------
    file : binary file, optional
        File for the rows; several tables may share one. Rows are kept in memory without it.

    Attributes
    ----------
    sums : dict
        ``by_distance`` and ``by_region`` of `FrameResult`, summed over the frames with an estimate.
    estimated : int
        Number of frames with an estimate.
    """

    def __init__(self, file: BinaryIO | None = None):
        self.sums: dict[str, dict[str, np.ndarray]] = {name: {} for name in GROUPED}
        self.estimated = 0
        self._file = io.BytesIO() if file is None else file
        self._parts: list[tuple[int, int]] = []  # where rows begin in the file, and how many follow
        self._unwritten: list[tuple] = []

    def __len__(self) -> int:
        """Return the number of frames."""
        return sum(count for _, count in self._parts) + len(self._unwritten)

    def add(self, frame: FrameResult) -> None:
        """Add the next frame."""
        self._unwritten.append(_row(frame))
        if frame.raw:
            self._add_sums({name: getattr(frame, name) for name in GROUPED}, 1)
        if len(self._unwritten) >= _UNWRITTEN:
            self._flush()

    def extend(self, other: FrameTable) -> None:
        """Append the frames of another table."""
        for rows in other.chunks():
            self.append(rows, {}, 0)
        self._add_sums(other.sums, other.estimated)

    def append(self, rows: np.ndarray, sums: dict[str, dict[str, np.ndarray]], estimated: int) -> None:
        """Append frames, given as an array of `chunks`, `sums` and `estimated` of another table."""
        self._flush()
        begin = self._file.seek(0, os.SEEK_END)
        self._file.write(rows.astype(ROW, copy=False).tobytes())
        self._parts.append((begin, len(rows)))
        self._add_sums(sums, estimated)

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the rows in arrays of dtype `ROW`."""
        self._flush()
        for begin, count in self._parts:
            for start in range(0, count, _AT_ONCE):
                yield self._read(begin + start * ROW.itemsize, min(_AT_ONCE, count - start))

    def column(self, name: str, estimated: bool = False) -> np.ndarray:
        """
        Return one column for all frames.

        Parameters
        ----------
        name : str
            Name of a field of `ROW`.
        estimated : bool
            Return only frames with an estimate.
        """
        parts = [rows[name][_estimated(rows)] if estimated else rows[name].copy() for rows in self.chunks()]
        return np.concatenate(parts) if parts else np.empty(0, ROW[name])

    def aligned(self, name: str) -> np.ndarray:
        """Return one column for the frames that could be aligned with the ground truth."""
        column, known = self.column(name), ~np.isnan(self.column("aligned_abs_rel"))
        return column[known]

    def drawn(self) -> Iterator[np.ndarray]:
        """Yield the pixels of the frames for `alignment.sequence_metrics`."""
        for rows in self.chunks():
            yield rows["pixels_drawn"]

    def row(self, number: int) -> np.void:
        """Return the row of a frame by its number among the frames with an estimate."""
        for rows in self.chunks():
            places = np.flatnonzero(_estimated(rows))
            if number < len(places):
                return rows[places[number]]
            number -= len(places)
        raise IndexError("no such frame")

    def _read(self, begin: int, count: int) -> np.ndarray:
        self._file.seek(begin)
        return np.frombuffer(self._file.read(count * ROW.itemsize), ROW)

    def _flush(self) -> None:
        if self._unwritten:
            rows, self._unwritten = np.array(self._unwritten, ROW), []
            self.append(rows, {}, 0)

    def _add_sums(self, sums: dict[str, dict[str, np.ndarray]], estimated: int) -> None:
        self.estimated += estimated
        for name, groups in sums.items():
            own = self.sums[name]
            for key, values in groups.items():
                own[key] = own[key] + values if key in own else values


Tables = dict[str, dict[str, FrameTable]]
"""Tables by recording and model."""


def tabulate(results: Tables | Iterable[FrameResult]) -> Tables:
    """Return results as tables in the order of the images; tables are returned unchanged."""
    if isinstance(results, dict):
        return results
    tables: Tables = {}
    for frame in sorted(results, key=lambda frame: (frame.recording, frame.index)):
        tables.setdefault(frame.recording, {}).setdefault(frame.model, FrameTable()).add(frame)
    return tables


def indices(tables: Iterable[FrameTable]) -> np.ndarray:
    """Return the indices of the images in any of the tables of a recording, int64 [n], ascending."""
    found = np.empty(0, np.int64)
    for table in tables:
        found = np.union1d(found, table.column("index"))
    return found


def csv_values(row: Sequence, names: Sequence[str]) -> list:
    """Return the named fields of a row (tuple of `ROW`) with None for NaN."""
    return [None if (value := row[_PLACES[name]]) != value else value for name in names]


_PLACES = {name: place for place, name in enumerate(ROW.names or ())}


def _estimated(rows: np.ndarray) -> np.ndarray:
    return ~np.isnan(rows["scale"])


def _row(frame: FrameResult) -> tuple:
    def figure(value: float | None) -> float:
        return math.nan if value is None else value

    return (
        *(frame.index, frame.stamp, frame.known, frame.delay_ms, frame.invalid),
        *(figure(frame.raw.get(name)) for name in ("pixels", *METRICS)),
        figure(frame.scale),
        *(figure(found.get(metric)) for found in (frame.scaled, frame.aligned) for metric in METRICS),
        *(figure((frame.flicker or {}).get(name)) for name in FLICKER),
        float(frame.by_distance["log"].sum()) if frame.raw else math.nan,
        *(figure(value) for value in (frame.inference_ms, frame.latency_ms, frame.truth_deviation)),
        frame.pixels,
    )
