"""The work of one process: look at a recording, and turn a slice of it into results."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.estimator import DepthEstimator, DepthMap
from depth_estimation_ros.evaluation.recording.recording import Recording, Topics
from depth_estimation_ros.evaluation.report.gallery import Gallery
from depth_estimation_ros.evaluation.report.output_bag import OutputBag
from depth_estimation_ros.evaluation.result.frame_result import compare
from depth_estimation_ros.evaluation.result.frame_table import FrameTable
from depth_estimation_ros.evaluation.result.sample import Sample
from depth_estimation_ros.evaluation.result.summary import describe_model
from depth_estimation_ros.model import ModelError


@dataclass(frozen=True)
class ModelChoice:
    """A model: what the report calls it, where it is, and the sha256 by which every process knows that it is it."""

    name: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Options:
    """
    All that figures depend on besides the recordings.

    Parameters
    ----------
    models : tuple of ModelChoice
    backend : str
        One of `backends.BACKENDS`.
    topics : Topics
    tolerance : float
        Seconds that an image and its truth may be apart.
    clock_offset : float or None
        Seconds that the truth's clock is ahead of the camera's; None estimates it.
    every : int
        Take every n-th image.
    bag : bool
        Whether to write an output bag.
    """

    models: tuple[ModelChoice, ...]
    backend: str
    topics: Topics
    tolerance: float
    clock_offset: float | None
    every: int
    bag: bool


@dataclass(frozen=True)
class Survey:
    """
    A recording before any of its images is looked at.

    Parameters
    ----------
    path, name : str
        Where it is, and what the report calls it.
    images : int
        How many it has.
    topics : Topics
        As chosen.
    clock_offset : float
        Seconds, as given or estimated.
    kind : str
        Of the truth.
    notes : tuple of str
        What the user should know.
    damage : tuple of str
        What is missing of it.
    compressed : bool
        Whether its images are sensor_msgs/CompressedImage.
    """

    path: str
    name: str
    images: int
    topics: Topics
    clock_offset: float
    kind: str
    notes: tuple[str, ...]
    damage: tuple[str, ...]
    compressed: bool


@dataclass
class SliceResult:
    """
    What a slice of a recording, or a whole one, came to.

    Parameters
    ----------
    frames : dict of FrameTable
        Of each model, in the order of the options.
    gallery : Gallery
        Worst and best frames as pictures.
    problems : Counter
        Images that were not compared, by reason.
    errors : list of str
        What is missing of it, and why.
    complete : bool
        False where it was broken off.
    models : dict
        What `summary.describe_model` says of each model.
    """

    frames: dict[str, FrameTable] = field(default_factory=dict)
    gallery: Gallery = field(default_factory=Gallery)
    problems: Counter = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    complete: bool = True
    models: dict[str, dict] = field(default_factory=dict)


class WorkerError(RuntimeError):
    """A worker that cannot take part; the message says what to do."""


def survey(path: str, name: str, options: Options) -> Survey:
    """
    Open a recording, choose its topics and estimate its clock offset.

    Raises
    ------
    ValueError
        If it cannot be used; one sentence.
    WorkerError
        If this machine does not see it.
    """
    _must_see(path)
    recording = Recording(path, options.topics, tolerance=options.tolerance, clock_offset=options.clock_offset)
    return Survey(
        path=path,
        name=name,
        images=recording.images,
        topics=recording.topics,
        clock_offset=recording.clock_offset,
        kind=recording.kind,
        notes=tuple(recording.notes),
        damage=tuple(recording.damage),
        compressed=recording.compressed,
    )


def evaluate_slice(
    survey: Survey,
    start: int,
    stop: int,
    options: Options,
    threads: int,
    bag: Path | None = None,
    tick: Callable[[], bool] = lambda: False,
) -> SliceResult:
    """
    Run every model on the images ``start`` to ``stop`` (exclusive) of a recording, and compare with the truth.

    Figures do not depend on where a recording is cut: the image before the slice is estimated as well, for the flicker.

    Parameters
    ----------
    survey : Survey
        The recording.
    start, stop : int
        Indices among its images; ``start`` a multiple of ``options.every``.
    options : Options
        What to do.
    threads : int
        CPU threads of an engine, 0 for all cores.
    bag : pathlib.Path, optional
        Folder of the slice's output bag; must not exist.
    tick : callable
        Called after each image; True breaks off.

    Raises
    ------
    BackendError
        If an engine fails.
    WorkerError
        If this machine cannot run a model, or does not see the recording.
    """
    _must_see(survey.path)
    estimators = {choice.name: _estimator(choice, options.backend, threads) for choice in options.models}
    result = SliceResult(models={name: describe_model(e) for name, e in estimators.items()})
    result.frames = {name: FrameTable() for name in estimators}
    output = None if bag is None else OutputBag(bag, [choice.name for choice in options.models])
    try:
        before = _frame_before(survey, start, options, estimators)
        for sample in _samples(survey, start, stop, options, result):
            estimates = {name: _estimate(estimator, sample) for name, estimator in estimators.items()}
            for name, (depth_map, inference_ms) in estimates.items():
                previous = (before[0], before[1][name].depth) if _follows(before, sample, options.every) else None
                frame = compare(sample, depth_map.depth, survey.name, name, inference_ms, previous=previous)
                result.frames[name].add(frame)
                result.gallery.offer(sample, depth_map.depth, frame)
            before = sample, {name: depth_map for name, (depth_map, _) in estimates.items()}
            if output is not None:
                output.add(*before)
            if tick():
                result.complete = False
                break
    finally:
        if output is not None:
            output.close()
    return result


def _samples(survey: Survey, start: int, stop: int, options: Options, result: SliceResult) -> Iterator[Sample]:
    """Give the samples of a slice; what keeps one from being compared goes into the result."""
    recording = open_recording(survey, options)
    try:
        yield from recording.samples(start, stop, options.every)
    except ValueError as error:
        result.errors.append(str(error))
    finally:
        result.errors += recording.damage
        result.problems.update(recording.problems)


def open_recording(survey: Survey, options: Options) -> Recording:
    """Open a recording again, with the topics and the clock offset of its survey: every slice is to be read alike."""
    # Of a long one, finding out about it takes as long as a slice: the last one stays open.
    key = survey, options.tolerance, tuple(map(tuple, identity(survey.path)))
    if _last.__dict__.get("key") != key:
        recording = Recording(survey.path, survey.topics, tolerance=options.tolerance, clock_offset=survey.clock_offset)
        _last.key, _last.recording, _last.damage = key, recording, list(recording.damage)
    _last.recording.damage = list(_last.damage)  # a slice tells of its own damage only
    return _last.recording


def identity(path: str | Path) -> list[list]:
    """Return what tells a recording from another, or from itself when it is written again: sizes and times."""
    path = Path(path).resolve()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    return [[str(path)], *([name, stat.st_size, stat.st_mtime_ns] for name, stat in stats)]


def _frame_before(
    survey: Survey, start: int, options: Options, estimators: dict[str, DepthEstimator]
) -> tuple[Sample, dict[str, DepthMap]] | None:
    """Estimate the frame before a slice; what is wrong with it is the business of the slice it belongs to."""
    index = start - options.every
    if index < 0:
        return None
    sample = next(_samples(survey, index, index + 1, options, SliceResult()), None)
    return sample and (sample, {name: _estimate(e, sample)[0] for name, e in estimators.items()})


def _follows(before: tuple[Sample, dict] | None, sample: Sample, every: int) -> bool:
    return before is not None and before[0].index == sample.index - every


def _estimate(estimator: DepthEstimator, sample: Sample) -> tuple[DepthMap, float]:
    """Return the depth of a sample, and the milliseconds that the engine took."""
    batch = estimator.preprocess(sample.rgb)
    start = time.perf_counter()
    outputs = estimator.backend.infer(batch)
    elapsed = 1e3 * (time.perf_counter() - start)
    return estimator.postprocess(outputs, sample.rgb, sample.camera), elapsed


# An engine belongs to the thread that made it, and a recording is read by one; a cluster's workers have several.
_engines, _last = threading.local(), threading.local()


def _estimator(choice: ModelChoice, backend: str, threads: int) -> DepthEstimator:
    """Load a model once a thread, and warm it up: the first inference pays for allocations."""
    loaded = _engines.__dict__.setdefault("loaded", {})
    key = choice.sha256, backend, threads
    if key not in loaded:
        try:
            estimator = DepthEstimator.load(choice.path, backend, threads)
        except (ModelError, BackendError) as error:
            raise WorkerError(str(error)) from None
        if estimator.model.sha256 != choice.sha256:
            raise WorkerError(
                f"'{choice.path}' is another file there than here; put the model into a folder that all workers share"
            )
        info = estimator.model.info
        estimator.backend.infer(np.zeros((1, info.input_height, info.input_width, 3), np.uint8))
        loaded[key] = estimator
    return loaded[key]


def _must_see(path: str) -> None:
    if not Path(path).exists():
        raise WorkerError(
            f"'{path}' is not there; put the recordings into a folder that all workers have under the same path"
        )
