"""Evaluation of models on recordings by workers; results are in order, and an interrupted run resumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.evaluation.report import output_bag
from depth_estimation_ros.evaluation.report.gallery import Gallery
from depth_estimation_ros.evaluation.result.frame_table import indices
from depth_estimation_ros.evaluation.run.checkpoint import Checkpoint
from depth_estimation_ros.evaluation.run.outcome import Outcome, RecordingResult
from depth_estimation_ros.evaluation.run.pool import Pool
from depth_estimation_ros.evaluation.run.work import Options, SliceResult, Survey, WorkerError, survey

_TALKATIVE = 10  # notes of more recordings are not printed; the report has them all
_LOST = "a worker process was lost; if memory is short, use fewer --jobs"


@dataclass
class _Piece:
    """Slice of a recording: done, with its result on disk, or interrupted, with a partial result in `broken_off`."""

    recording: RecordingResult
    survey: Survey
    start: int
    stop: int
    key: str
    done: bool
    broken_off: SliceResult | None = None
    compared: bool = False

    @property
    def images(self) -> int:
        return self.stop - self.start


def slices(images: int, every: int) -> list[tuple[int, int]]:
    """
    Divide a recording into slices, (start, stop) in images.

    Slices do not depend on the number of workers, so a run can resume with more or fewer workers.
    """
    length = min(max(images // 32, 50), 250)
    length += -length % every
    return [(start, min(start + length, images)) for start in range(0, images, length)]


def show_progress(console: Console) -> Progress:
    """Return a progress display with the remaining time."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("remaining"), TimeRemainingColumn(), console=console)


def say_notes(survey: Survey, console: Console) -> None:
    """Print the notes of a recording."""
    for note in survey.notes:
        console.print(f"{survey.name}: {note}", soft_wrap=True, highlight=False, markup=False)


class Runner:
    """
    Runner that evaluates models on recordings slice by slice.

    Parameters
    ----------
    pool : Pool
        Workers.
    options : Options
        Options of the evaluation.
    work_folder : pathlib.Path
        Folder for the results of finished slices.
    interrupted : callable
        Returns whether the user has asked to stop.
    console : rich.console.Console
        Console for progress and notes.
    """

    def __init__(
        self, pool: Pool, options: Options, work_folder: Path, interrupted: Callable[[], bool], console: Console
    ):
        self._pool, self._options, self._interrupted, self._console = pool, options, interrupted, console
        self._checkpoint = Checkpoint(work_folder, options)
        self._gallery, self._fault = Gallery(), ""
        self._rows = TemporaryFile(dir=work_folder)  # noqa: SIM115 - the outcome reads it

    def run(self, recordings: Sequence[tuple[str, str]], bags: Path | None = None) -> Outcome:
        """
        Evaluate recordings.

        Parameters
        ----------
        recordings : sequence of (str, str)
            Path and name of each recording.
        bags : pathlib.Path, optional
            Folder for the output bags, one per recording; they are written once all slices are done.

        Returns
        -------
        Outcome
        """
        results = [RecordingResult(path, name, file=self._rows) for path, name in recordings]
        with show_progress(self._console) as progress:
            self._survey(results, progress)
            pieces = self._evaluate(results, progress)
            broken_off = self._stopped
            if bags is not None and not broken_off:
                self._write_bags(pieces, bags, progress)
        return Outcome(results, self._gallery, self._fault, broken_off and not self._fault)

    def figures(self, _model: str) -> dict[str, Any]:
        """Return facts about a model besides its results: the number of processes that shared the machine."""
        return {"processes": self._pool.size}

    @property
    def _stopped(self) -> bool:
        return bool(self._fault) or self._interrupted()

    def _survey(self, results: list[RecordingResult], progress: Progress) -> None:
        """Open all recordings."""
        task = progress.add_task("opening recordings", total=len(results))

        def submit(recording: RecordingResult) -> Future:
            return self._pool.submit(survey, recording.path, recording.name, self._options)

        for recording, future in self._completed(results, submit):
            try:
                opened = future.result()
                recording.open(opened)
                if len(results) <= _TALKATIVE:
                    say_notes(opened, progress.console)
            except ValueError as error:
                recording.errors.append(str(error))
            progress.advance(task)

    def _evaluate(self, results: list[RecordingResult], progress: Progress) -> list[_Piece]:
        """Evaluate the slices that are not done yet, and add the results of all slices to their recordings."""
        pieces = []
        for recording, opened in ((r, r.survey) for r in results if r.survey):
            for start, stop in slices(opened.images, self._options.every):
                key = self._checkpoint.key(opened, start, stop)
                pieces.append(_Piece(recording, opened, start, stop, key, self._checkpoint.load(key) is not None))
        total, restored = sum(p.images for p in pieces), sum(p.images for p in pieces if p.done)
        finished = restored
        task = progress.add_task("evaluating images", total=total, completed=restored)
        if restored:
            progress.console.print(f"resuming: {restored} of {total} images were already done")

        def submit(piece: _Piece) -> Future:
            bag = self._checkpoint.draft_bag(piece.key) if self._options.bag else None
            return self._pool.submit_slice(piece.survey, piece.start, piece.stop, self._options, bag)

        def watch() -> None:
            seen = restored + self._pool.images_done() * self._options.every
            progress.update(task, completed=max(finished, min(seen, total)))

        for piece, future in self._completed([p for p in pieces if not p.done], submit, watch):
            result = future.result()
            if result.complete:
                self._checkpoint.save(piece.key, result)
                finished, piece.done = finished + piece.images, True
            else:
                piece.broken_off = result
        watch()
        self._collect(pieces)
        return pieces

    def _collect(self, pieces: list[_Piece]) -> None:
        """Add the results of all slices to their recordings in order, with one result in memory at a time."""
        for piece in pieces:
            result = self._checkpoint.load(piece.key) if piece.done else piece.broken_off
            if result is None:
                if piece.done:
                    raise ValueError(f"results of '{piece.recording.path}' have been removed from the output folder")
                continue
            self._gallery.merge(result.gallery)
            piece.compared = any(map(len, result.frames.values()))
            looked_at = piece.images if piece.done else len(indices(result.frames.values()))
            piece.recording.add(result, looked_at)

    def _completed(
        self, items: Iterable, submit: Callable[..., Future], watch: Callable[[], None] = lambda: None
    ) -> Iterator[tuple]:
        """Submit items, a few more than there are workers, and yield each with its future once that is done."""
        waiting = iter(items)
        flying: dict[Future, Any] = {}
        while True:
            while not self._stopped and len(flying) < 2 * self._pool.size and (item := next(waiting, None)):
                try:
                    flying[submit(item)] = item
                except self._pool.faults:
                    self._fault = self._fault or _LOST
            if not flying:
                return
            if self._stopped:
                self._pool.stop()
                for future in flying:
                    future.cancel()
            done, _ = wait(flying, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                item = flying.pop(future)
                if future.cancelled():
                    continue
                error = future.exception()
                if isinstance(error, (WorkerError, BackendError)):
                    self._fault = self._fault or str(error)
                elif isinstance(error, self._pool.faults):
                    self._fault = self._fault or _LOST
                else:
                    yield item, future
            watch()

    def _write_bags(self, pieces: list[_Piece], bags: Path, progress: Progress) -> None:
        """Join the output bags of the slices."""
        parts: dict[str, list[Path]] = {}
        for piece in pieces:
            if piece.compared:
                parts.setdefault(piece.recording.name, []).append(self._checkpoint.bag(piece.key))
        task = progress.add_task("writing bags", total=sum(map(len, parts.values())))
        for name, folders in parts.items():
            output_bag.merge(folders, bags / name.replace("/", "_"), lambda: progress.advance(task))
