"""Work of one worker: survey a recording, and evaluate a slice of it."""

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
    """Model to evaluate: name in the report, path, and sha256, with which every worker checks the file."""

    name: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Options:
    """
    Options that the results depend on.

    Parameters
    ----------
    models : tuple of ModelChoice
    backend : str
        One of `backends.BACKENDS`.
    topics : Topics
    tolerance : float
        Maximum difference of the stamps of an image and its ground truth, seconds.
    clock_offset : float or None
        Seconds by which the clock of the ground truth is ahead of the clock of the camera; None estimates it.
    every : int
        Evaluate every n-th image.
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
    Facts about a recording before its images are evaluated.

    Parameters
    ----------
    path, name : str
        Path, and name in the report.
    images : int
        Number of images.
    topics : Topics
        Chosen topics.
    clock_offset : float
        Clock offset in seconds, as given or estimated.
    kind : str
        Kind of the ground truth.
    notes : tuple of str
        Notes for the user.
    damage : tuple of str
        Missing parts of the bag.
    compressed : bool
        Whether the images are sensor_msgs/CompressedImage.
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
    Result of a slice of a recording.

    Parameters
    ----------
    frames : dict of FrameTable
        Table of each model, in the order of the options.
    gallery : Gallery
        Pictures of the worst and best frames.
    problems : Counter
        Number of images that were not compared, by reason.
    errors : list of str
        Missing parts and the reasons.
    complete : bool
        False if the slice was interrupted.
    models : dict
        Result of `summary.describe_model` for each model.
    """

    frames: dict[str, FrameTable] = field(default_factory=dict)
    gallery: Gallery = field(default_factory=Gallery)
    problems: Counter = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    complete: bool = True
    models: dict[str, dict] = field(default_factory=dict)


class WorkerError(RuntimeError):
    """A worker cannot do its work; the message says what to do."""


def survey(path: str, name: str, options: Options) -> Survey:
    """
    Open a recording, choose its topics and estimate its clock offset.

    Raises
    ------
    ValueError
        If the recording cannot be used; one sentence.
    WorkerError
        If the path does not exist on this machine.
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
    Run every model on the images ``start`` to ``stop`` (exclusive) of a recording and compare with the ground truth.

    The image before the slice is also estimated, for the flicker, so results do not depend on the division into slices.

    Parameters
    ----------
    survey : Survey
        The recording.
    start, stop : int
        Range of image indices; ``start`` must be a multiple of ``options.every``.
    options : Options
        Options of the evaluation.
    threads : int
        CPU threads of an engine; 0 uses all cores.
    bag : pathlib.Path, optional
        Folder of the slice's output bag; it must not exist.
    tick : callable
        Called after each image; the evaluation stops if it returns True.

    Raises
    ------
    BackendError
        If an engine fails.
    WorkerError
        If this machine cannot run a model, or the recording does not exist on it.
    """
    _must_see(survey.path)
    estimators = {choice.name: _estimator(choice, options.backend, threads) for choice in options.models}
    result = SliceResult(models={name: describe_model(e.model, e.backend.name) for name, e in estimators.items()})
    result.frames = {name: FrameTable() for name in estimators}
    metric = [name for name, estimator in estimators.items() if not estimator.model.info.is_relative]
    output = None if bag is None else OutputBag(bag, metric)
    try:
        before = _frame_before(survey, start, options, estimators)
        for sample in _samples(survey, start, stop, options, result):
            estimates = {name: _estimate(estimator, sample) for name, estimator in estimators.items()}
            for name, (depth_map, inference_ms) in estimates.items():
                previous = None
                if before is not None and before[0].index == sample.index - options.every:
                    previous = before[0], before[1][name].depth
                frame = compare(
                    sample,
                    depth_map.depth,
                    recording=survey.name,
                    model=name,
                    inference_ms=inference_ms,
                    previous=previous,
                    kind=depth_map.kind,
                )
                result.frames[name].add(frame)
                result.gallery.offer(sample, depth_map.depth, frame)
            before = sample, {name: depth_map for name, (depth_map, _) in estimates.items()}
            if output is not None:
                output.add(sample, {name: before[1][name] for name in metric})
            if tick():
                result.complete = False
                break
    finally:
        if output is not None:
            output.close()
    return result


def _samples(survey: Survey, start: int, stop: int, options: Options, result: SliceResult) -> Iterator[Sample]:
    """Yield the samples of a slice, and add problems and damage to the result."""
    recording = open_recording(survey, options)
    try:
        yield from recording.samples(start, stop, options.every)
    except ValueError as error:
        result.errors.append(str(error))
    finally:
        result.errors += recording.damage
        result.problems.update(recording.problems)


def open_recording(survey: Survey, options: Options) -> Recording:
    """Open a recording with the topics and the clock offset of its survey, so that all slices are read the same way."""
    # Opening a long recording takes as long as a slice, so the last one is kept.
    key = survey, options.tolerance, tuple(map(tuple, identity(survey.path)))
    if _last.__dict__.get("key") != key:
        recording = Recording(survey.path, survey.topics, tolerance=options.tolerance, clock_offset=survey.clock_offset)
        _last.key, _last.recording, _last.damage = key, recording, list(recording.damage)
    _last.recording.damage = list(_last.damage)  # a slice reports only its own damage
    return _last.recording


def identity(path: str | Path) -> list[list]:
    """Return the path of a recording with sizes and modification times of its files, which identify its content."""
    path = Path(path).resolve()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    return [[str(path)], *([name, stat.st_size, stat.st_mtime_ns] for name, stat in stats)]


def _frame_before(
    survey: Survey, start: int, options: Options, estimators: dict[str, DepthEstimator]
) -> tuple[Sample, dict[str, DepthMap]] | None:
    """Estimate the frame before a slice; its problems are reported by the slice that it belongs to."""
    index = start - options.every
    if index < 0:
        return None
    sample = next(_samples(survey, index, index + 1, options, SliceResult()), None)
    if sample is None:
        return None
    return sample, {name: _estimate(estimator, sample)[0] for name, estimator in estimators.items()}


def _estimate(estimator: DepthEstimator, sample: Sample) -> tuple[DepthMap, float]:
    """Return the depth of a sample and the inference time in milliseconds."""
    batch = estimator.preprocess(sample.rgb)
    start = time.perf_counter()
    outputs = estimator.backend.infer(batch)
    elapsed = 1e3 * (time.perf_counter() - start)
    return estimator.postprocess(outputs, sample.rgb, sample.camera), elapsed


# Engines and recordings are not shared between threads; a worker of a cluster may have several threads.
_engines, _last = threading.local(), threading.local()


def _estimator(choice: ModelChoice, backend: str, threads: int) -> DepthEstimator:
    """Load a model once per thread and warm it up, because the first inference includes allocations."""
    loaded = _engines.__dict__.setdefault("loaded", {})
    key = choice.sha256, backend, threads
    if key not in loaded:
        try:
            estimator = DepthEstimator.load(choice.path, backend, threads)
        except (ModelError, BackendError) as error:
            raise WorkerError(str(error)) from None
        if estimator.model.sha256 != choice.sha256:
            raise WorkerError(
                f"'{choice.path}' is another file on this worker; put the model into a folder that all workers share"
            )
        info = estimator.model.info
        estimator.backend.infer(np.zeros((1, info.input_height, info.input_width, 3), np.uint8))
        loaded[key] = estimator
    return loaded[key]


def _must_see(path: str) -> None:
    if not Path(path).exists():
        raise WorkerError(
            f"'{path}' does not exist; put the recordings into a folder that all workers have under the same path"
        )
