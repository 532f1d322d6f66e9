"""Live evaluation of models on recordings, with the running node; see `playing`."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile

from rich.console import Console
from rich.progress import Progress

from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.evaluation.live.playing import Played, play
from depth_estimation_ros.evaluation.report.gallery import Gallery
from depth_estimation_ros.evaluation.report.output_bag import OutputBag, merge
from depth_estimation_ros.evaluation.result.frame_result import compare
from depth_estimation_ros.evaluation.result.sample import Sample
from depth_estimation_ros.evaluation.result.summary import describe_model
from depth_estimation_ros.evaluation.run.outcome import Outcome, RecordingResult
from depth_estimation_ros.evaluation.run.runner import say_notes, show_progress
from depth_estimation_ros.evaluation.run.work import ModelChoice, Options, Survey, open_recording, survey
from depth_estimation_ros.ground_truth.calibration import is_rectified
from depth_estimation_ros.model import load_model
from depth_estimation_ros.processes.stage import StageError


class LiveRunner:
    """
    Runner that plays recordings through the node, one model after another, and compares the received depth.

    Parameters
    ----------
    options : Options
        Options of the evaluation.
    threads : int
        CPU threads of the node's engine; 0 uses all cores.
    speed : float
        Playback speed as a factor of the recorded rate.
    work_folder : pathlib.Path
        Folder for drafts of output bags.
    interrupted : callable
        Returns whether the user has asked to stop.
    console : rich.console.Console
        Console for progress and notes.
    """

    def __init__(
        self,
        options: Options,
        threads: int,
        speed: float,
        work_folder: Path,
        interrupted: Callable[[], bool],
        console: Console,
    ):
        self._options, self._threads, self._speed, self._work_folder = options, threads, speed, work_folder
        self._interrupted, self._console = interrupted, console
        self._counts: dict[str, Counter[str]] = {choice.name: Counter() for choice in options.models}
        self._seconds = dict.fromkeys(self._counts, 0.0)
        self._gallery = Gallery()
        self._inference: dict[str, dict[str, float]] = {}

    def run(self, recordings: Sequence[tuple[str, str]], bags: Path | None = None) -> Outcome:
        """Evaluate recordings; parameters and result are those of `Runner.run`."""
        rows = TemporaryFile(dir=self._work_folder)  # noqa: SIM115 - the outcome reads it
        results = [RecordingResult(path, name, file=rows) for path, name in recordings]
        fault = ""
        with show_progress(self._console) as progress:
            for recording in results:
                if self._interrupted() or fault:
                    break
                try:
                    opened = survey(recording.path, recording.name, self._options)
                    recording.open(opened)
                    say_notes(opened, progress.console)
                    self._evaluate(recording, opened, bags, progress)
                except ValueError as error:
                    recording.errors.append(str(error))
                except StageError as error:
                    fault = str(error)
        return Outcome(results, self._gallery, fault, self._interrupted() and not fault)

    def figures(self, name: str) -> dict[str, dict | None]:
        """Return the node's frame counts, rate and inference times for a model."""
        counts, seconds = self._counts[name], self._seconds[name]
        rate = counts["published"] / seconds if seconds else None
        live = {**counts, "rate_hz": rate, "speed": self._speed}
        return {"live": live, "inference_ms": self._inference.get(name) or None}

    def _evaluate(self, recording: RecordingResult, opened: Survey, bags: Path | None, progress: Progress) -> None:
        """Play a recording for each model, then compare the depth of each model."""
        topics = opened.topics
        if not topics.camera_info:
            raise ValueError(
                f"'{recording.path}' has no camera_info, which the node needs; evaluate it without --live, which "
                "then assumes the camera of the training"
            )
        camera = {"bag": recording.path, "image": topics.image, "camera_info": topics.camera_info}
        with ExitStack() as stack:
            played = {}
            for choice in self._options.models:
                node = {
                    "model": choice.path,
                    "backend": self._options.backend,
                    "threads": self._threads,
                    "image_transport": "compressed" if opened.compressed else "raw",
                    "distortion": "rectified" if is_rectified(topics.image) else "rectify",
                }
                title = f"playing {recording.name} to {choice.name}"
                played[choice.name] = stack.enter_context(
                    play(
                        camera,
                        node,
                        opened.images,
                        speed=self._speed,
                        interrupted=self._interrupted,
                        progress=progress,
                        title=title,
                    )
                )
                self._note(choice, played[choice.name], recording)
            self._compare(recording, opened, played, bags, progress)

    def _note(self, choice: ModelChoice, played: Played, recording: RecordingResult) -> None:
        if played.engine:
            model = load_model(choice.path)
            if {played.model_sha256, model.sha256} != {choice.sha256}:
                raise ValueError(f"model '{choice.path}' was replaced during the run: evaluate it again")
            self._inference[choice.name] = played.inference_ms
            recording.models[choice.name] = describe_model(model, played.engine)
        self._counts[choice.name].update(played.counts, played=len(played.published))
        self._seconds[choice.name] += played.seconds
        recording.images = max(recording.images, len(played.published))

    def _compare(
        self,
        recording: RecordingResult,
        opened: Survey,
        played: dict[str, Played],
        bags: Path | None,
        progress: Progress,
    ) -> None:
        """Compare every sample whose depth was received."""
        task = progress.add_task(f"comparing {recording.name}", total=opened.images)
        reader = open_recording(opened, self._options)
        draft = self._work_folder / "live_bag"
        output = None
        last = {name: max(of_model.published, default=-1) for name, of_model in played.items()}
        before: dict[str, tuple[Sample, DepthMap]] = {}
        try:
            if bags is not None:
                shutil.rmtree(draft, ignore_errors=True)
                output = OutputBag(draft, list(played))
            for sample in reader.samples():
                progress.update(task, completed=sample.index + 1)
                if self._interrupted() and sample.stamp > max(last.values()):
                    break
                estimates = {}
                for name, of_model in played.items():
                    if (depth := of_model.depth(sample.stamp)) is None:
                        if sample.stamp <= last[name]:
                            recording.problems[f"no depth received from {name} in time"] += 1
                        continue
                    camera = sample.camera and sample.camera.resized(depth.shape[1], depth.shape[0])
                    estimates[name] = DepthMap(depth, camera)
                    previous = before.get(name)
                    if previous and previous[0].index != sample.index - 1:
                        previous = None
                    frame = compare(
                        sample,
                        depth,
                        recording=recording.name,
                        model=name,
                        inference_ms=math.nan,  # the node reports only percentiles
                        latency_ms=of_model.latency_ms(sample.stamp),
                        previous=previous and (previous[0], previous[1].depth),
                    )
                    recording.table(name).add(frame)
                    self._gallery.offer(sample, depth, frame)
                    before[name] = sample, estimates[name]
                if output is not None and estimates:
                    output.add(sample, estimates)
        except ValueError as error:
            recording.note_damage([str(error)])
        finally:
            recording.problems.update(reader.problems)
            recording.note_damage(reader.damage)
            if output is not None:
                output.close()
        progress.update(task, completed=opened.images)
        if bags is not None and output is not None and recording.frames and not self._interrupted():
            merge([draft], bags / recording.name.replace("/", "_"))
