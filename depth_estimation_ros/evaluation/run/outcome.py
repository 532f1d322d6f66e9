"""Outcome of a run: results and problems of each recording."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from depth_estimation_ros.evaluation.report.gallery import Gallery
from depth_estimation_ros.evaluation.result.frame_table import FrameTable, Tables, indices
from depth_estimation_ros.evaluation.run.work import SliceResult, Survey


@dataclass
class RecordingResult:
    """
    Results and problems of a recording.

    Parameters
    ----------
    path, name : str
        Path, and name in the report.
    survey : Survey or None
        Survey of the recording; None if it was not opened.
    file : binary file
        File for the rows of `frames`.
    frames : dict of FrameTable
        Table of each model, in the order of the options.
    problems : Counter
        Number of images that were not compared, by reason.
    errors : list of str
        Problems of the recording, one sentence each.
    models : dict
        Result of `summary.describe_model` for each model.
    images : int
        Number of processed images.
    """

    path: str
    name: str
    survey: Survey | None = None
    file: BinaryIO = field(default_factory=io.BytesIO, repr=False)
    frames: dict[str, FrameTable] = field(default_factory=dict)
    problems: Counter = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    models: dict[str, dict] = field(default_factory=dict)
    images: int = 0

    def open(self, survey: Survey) -> None:
        """Set the survey of the recording."""
        self.survey = survey
        self.errors += survey.damage

    def add(self, result: SliceResult, images: int) -> None:
        """Add the next slice."""
        for name, table in result.frames.items():
            self.table(name).extend(table)
        self.problems.update(result.problems)
        self.note_damage(result.errors)
        self.models.update(result.models)
        self.images += images

    def table(self, model: str) -> FrameTable:
        """Return the table of a model."""
        return self.frames.setdefault(model, FrameTable(self.file))

    def note_damage(self, sentences: Iterable[str]) -> None:
        """Add sentences about missing parts; a sentence that several slices report is added once."""
        self.errors += [sentence for sentence in dict.fromkeys(sentences) if sentence not in self.errors]

    def facts(self) -> dict[str, Any]:
        """Return the facts of the recording for `summary.summarise`."""
        facts = {"name": self.name, "problems": dict(self.problems), "error": "; ".join(self.errors) or None}
        if self.survey is None:
            return facts
        return facts | {
            "images": self.survey.images,
            "images_done": self.images,
            "kind": self.survey.kind,
            "topics": {use: topic for use, topic in vars(self.survey.topics).items() if topic},
            "clock_offset": self.survey.clock_offset,
            "notes": list(self.survey.notes),
            "triangulated": self._triangulated(),
        }

    def _triangulated(self) -> dict[str, float] | None:
        """Return medians of points per frame and of their deviation if ground truth is triangulated, else None."""
        table = max(self.frames.values(), key=len, default=FrameTable())
        deviation = table.column("truth_deviation")
        estimated = ~np.isnan(deviation)
        if not estimated.any():
            return None
        figures = {"points": table.column("known")[estimated], "deviation": deviation[estimated]}
        return {name: float(np.median(values)) for name, values in figures.items()}

    def complaint(self) -> str:
        """Return all problems of the recording in one line; empty without problems."""
        compared = len(indices(self.frames.values()))
        if self.errors:
            return "; ".join([*self.errors, f"{compared} of its images were compared"] if compared else self.errors)
        if compared or self.survey is None:
            return ""
        reasons = ", ".join(f"{reason} ({count})" for reason, count in self.problems.most_common())
        return f"'{self.path}': none of its images could be compared: {reasons or 'it has none'}"


@dataclass
class Outcome:
    """
    Outcome of a run.

    Parameters
    ----------
    recordings : list of RecordingResult
        Results in the order of the arguments.
    gallery : Gallery
        Worst and best frames of all recordings.
    fault : str
        Why the run failed, one sentence; empty if it did not.
    interrupted : bool
        Whether the user stopped the run.
    """

    recordings: list[RecordingResult]
    gallery: Gallery
    fault: str = ""
    interrupted: bool = False

    @property
    def frames(self) -> Tables:
        """All results by recording and model."""
        return {recording.name: recording.frames for recording in self.recordings}

    @property
    def empty(self) -> bool:
        """Whether no frame was compared."""
        return not any(len(table) for recording in self.recordings for table in recording.frames.values())

    @property
    def broken_off(self) -> bool:
        """Whether the run ended before all images were done."""
        return self.interrupted or bool(self.fault)

    def images_done(self) -> tuple[int, int]:
        """Return the number of processed images and the number of all images."""
        opened = [(recording.images, recording.survey) for recording in self.recordings if recording.survey]
        return sum(done for done, _ in opened), sum(survey.images for _, survey in opened)

    def complaints(self) -> list[str]:
        """Return the problems of the run, one line each."""
        # After an early end, a recording without compared images is not a problem yet.
        lines = [r.complaint() for r in self.recordings if r.errors or not self.broken_off]
        return [line for line in (*lines, self.fault) if line]
