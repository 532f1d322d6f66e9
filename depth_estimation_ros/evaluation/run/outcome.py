"""What a run came to: results, and what is wrong with the recordings."""

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
    What became of a recording.

    Parameters
    ----------
    path, name : str
        Where it is, and what the report calls it.
    survey : Survey or None
        None if it was not opened.
    file : binary file
        Takes the rows of `frames`.
    frames : dict of FrameTable
        Of each model, in the order of the options.
    problems : Counter
        Images that were not compared, by reason.
    errors : list of str
        What is wrong with it, one sentence each.
    models : dict
        What `summary.describe_model` says of each model.
    images : int
        How many images were looked at.
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
        """Take what a look at the recording has brought."""
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
        """Take what was found to be missing while reading: each sentence once, however many slices say it."""
        self.errors += [sentence for sentence in dict.fromkeys(sentences) if sentence not in self.errors]

    def facts(self) -> dict[str, Any]:
        """Return what the report says of it, for `summary.summarise`."""
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
        """Return how many points of a frame have a truth, and how good that is, where it is triangulated."""
        table = max(self.frames.values(), key=len, default=FrameTable())
        deviation = table.column("truth_deviation")
        estimated = ~np.isnan(deviation)
        if not estimated.any():
            return None
        figures = {"points": table.column("known")[estimated], "deviation": deviation[estimated]}
        return {name: float(np.median(values)) for name, values in figures.items()}

    def complaint(self) -> str:
        """Say in one line what is wrong with it; empty where nothing is."""
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
    What a run came to.

    Parameters
    ----------
    recordings : list of RecordingResult
        In the order given.
    gallery : Gallery
        The worst and the best frames of all of them.
    fault : str
        Why the run ended early, one sentence; empty if it did not.
    interrupted : bool
        Whether the user ended it.
    """

    recordings: list[RecordingResult]
    gallery: Gallery
    fault: str = ""
    interrupted: bool = False

    @property
    def frames(self) -> Tables:
        """All results."""
        return {recording.name: recording.frames for recording in self.recordings}

    @property
    def empty(self) -> bool:
        """Whether no frame was compared."""
        return not any(len(table) for recording in self.recordings for table in recording.frames.values())

    @property
    def broken_off(self) -> bool:
        """Whether it ended before all was done."""
        return self.interrupted or bool(self.fault)

    def images_done(self) -> tuple[int, int]:
        """Return how many images were looked at, and how many there are."""
        opened = [recording for recording in self.recordings if recording.survey]
        return sum(r.images for r in opened), sum(r.survey.images for r in opened)

    def complaints(self) -> list[str]:
        """Return what is wrong, a line each."""
        # Of what was broken off, nobody knows whether all of it is bad.
        lines = [r.complaint() for r in self.recordings if r.errors or not self.broken_off]
        return [line for line in (*lines, self.fault) if line]
