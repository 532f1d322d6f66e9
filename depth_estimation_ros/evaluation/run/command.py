"""Run of ``evaluate_bag``, from the arguments to the report and the output in the terminal."""

from __future__ import annotations

import os
import re
import signal
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from depth_estimation_ros.bags.find import find_recordings
from depth_estimation_ros.evaluation.recording.recording import Topics
from depth_estimation_ros.evaluation.report import Picture, check_installed, write_report
from depth_estimation_ros.evaluation.report.output_bag import depth_topics
from depth_estimation_ros.evaluation.result.frame_table import Tables
from depth_estimation_ros.evaluation.result.summary import describe_machine, summarise
from depth_estimation_ros.evaluation.run.outcome import Outcome
from depth_estimation_ros.evaluation.run.output_folder import MADE_BY, OutputFolder
from depth_estimation_ros.evaluation.run.pool import LocalPool, Pool
from depth_estimation_ros.evaluation.run.runner import Runner
from depth_estimation_ros.evaluation.run.work import ModelChoice, Options
from depth_estimation_ros.model import PACKAGED, load_model


class Command:
    """
    Run of the command.

    Parameters
    ----------
    chosen : argparse.Namespace
        Result of `evaluate_bag.parse`.
    complain : callable
        Function that prints an error for the user; called with one sentence (str).

    Raises
    ------
    ValueError
        If a recording or model cannot be loaded, or the report cannot be written.
    """

    def __init__(self, chosen: Namespace, complain: Callable[[str], object]):
        check_installed()
        if chosen.view:
            import rerun  # noqa: F401 - before the work, not after it
        self._chosen, self._complain = chosen, complain
        self._console, self._ended = Console(), False
        models = _models(chosen.model, chosen.live)
        paths = [str(path.absolute()) for path in find_recordings(chosen.bags)]
        self._recordings = list(zip(paths, _names(paths), strict=True))
        self._options = Options(
            models=models,
            backend=chosen.backend,
            topics=Topics(chosen.image, chosen.depth, chosen.camera_info, chosen.depth_camera_info),
            tolerance=chosen.max_gap,
            clock_offset=chosen.clock_offset,
            every=chosen.every or 1,
            bag=chosen.bag_output and not chosen.cluster,
        )

    def run(self) -> int:
        """Evaluate, write the report and print results and errors; returns the exit code."""
        self._catch_signals()
        folder = OutputFolder(self._chosen.output)
        resumable = not self._chosen.live
        try:
            outcome, facts = self._evaluate(folder)
            resumable = resumable and outcome.broken_off
            if not outcome.empty:
                self._report(outcome, facts, folder)
        except OSError as error:  # most often a full disk
            resumable = not self._chosen.live
            hint = "; run the same command again to resume" if resumable else ""
            place = error.filename or folder.path
            raise ValueError(f"'{place}' cannot be read or written: {error.strerror or error}{hint}") from None
        finally:
            folder.close(keep=resumable)
        complaints = outcome.complaints()
        if outcome.broken_off:
            done, total = outcome.images_done()
            verb = "interrupted" if outcome.interrupted else "stopped"
            hint = "; run the same command again to resume" if resumable and done else ""
            complaints += [f"{verb} after {done} of {total} images{hint}"] if done or outcome.interrupted else []
        for sentence in complaints:
            self._complain(sentence)
        if self._chosen.view and not outcome.empty and not outcome.interrupted:
            self._show(folder.path / "view.rrd")
        return 130 if outcome.interrupted else int(bool(complaints))

    def _evaluate(self, folder: OutputFolder) -> tuple[Outcome, dict[str, dict]]:
        """Return the outcome and the facts of each model."""
        chosen, options, bags = self._chosen, self._options, folder.bags if self._options.bag else None
        common = folder.work, lambda: self._ended, self._console
        if chosen.live:
            from depth_estimation_ros.evaluation.live.runner import LiveRunner

            runner: LiveRunner | Runner = LiveRunner(options, chosen.threads, chosen.rate or 1.0, *common)
            outcome = runner.run(self._recordings, bags)
        else:
            with self._pool() as pool:
                runner = Runner(pool, options, *common)
                outcome = runner.run(self._recordings, bags)
        facts = {choice.name: runner.figures(choice.name) for choice in options.models}
        for recording in outcome.recordings:
            for name, about in recording.models.items():
                facts[name].update(about)
        return outcome, facts

    def _pool(self) -> Pool:
        chosen, cores = self._chosen, len(os.sched_getaffinity(0))
        if chosen.cluster:
            from depth_estimation_ros.evaluation.run.cluster import ClusterPool

            return ClusterPool(chosen.cluster, chosen.threads or 1)
        jobs = chosen.jobs or min(cores, 4)
        return LocalPool(jobs, chosen.threads or max(1, cores // jobs))

    def _report(self, outcome: Outcome, facts: dict[str, dict], folder: OutputFolder) -> None:
        recordings = [recording.facts() for recording in outcome.recordings]
        frames, pictures = outcome.frames, outcome.gallery.pictures
        summary = summarise(frames, facts, recordings, describe_machine(), outcome.broken_off)
        summary["made_by"] = MADE_BY
        with self._console.status("writing the report"):
            written = folder.publish(lambda draft: self._write(summary, frames, pictures, draft, folder.bags))
        self._console.print(_table(summary))
        written = [name for name in written if "/" not in name] + (["bags/"] if folder.bags.is_dir() else [])
        self._console.print(f"In {folder.path}: {', '.join(written)}", soft_wrap=True)

    def _write(self, summary: dict, frames: Tables, pictures: list[Picture], draft: Path, bags: Path) -> None:
        write_report(summary, frames, pictures, draft)
        if self._chosen.view:
            from depth_estimation_ros.viewer.evaluation import record_frames

            record_frames(draft / "view.rrd", frames, bags, depth_topics([m.name for m in self._options.models]))

    def _show(self, recording: Path) -> None:
        """Show the recording in a browser until Ctrl-C."""
        from depth_estimation_ros.viewer.server import Server

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        with closing(Server("127.0.0.1", 0, recording)) as server, suppress(KeyboardInterrupt):
            self._console.print(f"Open {server.page} ; Ctrl-C ends", soft_wrap=True, highlight=False)
            while not server.ended:
                time.sleep(0.2)

    def _catch_signals(self) -> None:
        """Stop after the images in work on the first Ctrl-C, and immediately on the second."""

        def ask(*_) -> None:
            if self._ended:
                raise KeyboardInterrupt
            self._ended = True
            self._console.print("stopping: the report will cover the frames done so far; Ctrl-C again stops without it")

        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, ask)


def _models(names: Sequence[str], live: bool) -> tuple[ModelChoice, ...]:
    """Load the models and give each a unique name for the report."""
    models = [load_model(name) for name in names]
    for model in models if live else ():
        if model.info.is_relative:
            raise ValueError(
                f"--live plays bags through the node without an anchor, and the depth of {model.info.name} is relative "
                f"({model.info.kind}): leave --live out"
            )
    if len({model.sha256 for model in models}) < len(models):
        raise ValueError(f"--model has the same model twice: {', '.join(names)}")
    plain = [model.info.name for model in models]
    titles = [
        title if plain.count(title) == 1 else f"{title} {model.sha256[:6]}"
        for title, model in zip(plain, models, strict=True)
    ]
    # A packaged model may have another path on the workers of a cluster.
    places = [name if name in PACKAGED else str(m.path.absolute()) for name, m in zip(names, models, strict=True)]
    return tuple(ModelChoice(*facts) for facts in zip(titles, places, (m.sha256 for m in models), strict=True))


def _names(paths: Sequence[str]) -> list[str]:
    """Name recordings by the shortest end of their paths that is unique."""
    parts = [Path(re.sub(r"\.(bag|mcap|db3)$", "", path)).parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-length:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def _table(summary: dict) -> Table:
    """Return the table of results for the terminal."""
    table = Table(
        title="Accuracy against ground truth, mean over frames",
        title_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
        padding=(0, 1, 0, 0),  # 80 characters leave 24 for the name
    )
    table.add_column("model", overflow="fold")
    for column in ("frames", "AbsRel", "95 %", "RMSE", "delta1", "scaled", "aligned"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, figures in summary["models"].items():
        aligned = figures["aligned"]
        in_line = f"{aligned['per_image']['abs_rel']:.3f}" if aligned else "-"
        if not figures["frames"]:
            table.add_row(name, str(aligned["frames"] if aligned else 0), *"-" * 5, in_line)
            continue
        low, high = figures["intervals"]["abs_rel"]
        metrics = [f"{figures[metric]:.3f}" for metric in ("abs_rel", "rmse", "delta1")]
        interval, scaled = f"{low:.3f}-{high:.3f}", f"{figures['scaled']['abs_rel']:.3f}"
        table.add_row(name, str(figures["frames"]), metrics[0], interval, *metrics[1:], scaled, in_line)
    return table
