"""Run of the command, from the arguments to the new model."""

from __future__ import annotations

import os
import signal
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from depth_estimation_ros.bags.find import find_recordings
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.evaluation.recording.recording import Recording, Topics
from depth_estimation_ros.model import load_model
from depth_estimation_ros.model_card import place_of_card
from depth_estimation_ros.support.files import refuse_missing_folder
from training.adapt.card import adapted_info, write_card
from training.adapt.frames import FrameMaker
from training.adapt.graph import GraphNetwork, check_same
from training.adapt.measure import MOST, Comparison, on_nyu, on_site
from training.adapt.replay import ROOMS, Replay, nyu, rooms
from training.adapt.site import MOST_HELD_OUT, Site, Split, most_frames, read_site
from training.adapt.tune import Budget, Tuned, tune
from training.evaluate import open_frames
from training.files import write_image
from training.protocols import PROTOCOLS

LEAST_GAIN = 0.02
"""Least relative fall of AbsRel on the held-out part that counts as better: the best of many looks is partly luck."""

CORES = 2
"""Cores that are used without ``--threads``; more would be used poorly by small batches."""

# Largest differences between PyTorch and the engine, relative to the depth: of the same weights, and of weights that
# were rounded to half precision.
_SAME, _ROUNDED = 1e-3, 1e-2


class Command:
    """
    Run of the command.

    Parameters
    ----------
    chosen : argparse.Namespace
        Result of `__main__.parse`.

    Raises
    ------
    ValueError
        If a model, a recording or the frames of NYU Depth v2 cannot be used, or the output cannot be written.
    """

    def __init__(self, chosen: Namespace):
        self._chosen, self._console = chosen, Console(stderr=True)
        self._cores = chosen.threads or min(CORES, len(os.sched_getaffinity(0)))
        threads = chosen.threads or _free(self._cores)
        torch.set_num_threads(threads)
        refuse_missing_folder(chosen.output)
        place_of_card(chosen.output)
        model = load_model(chosen.model)
        self._network = GraphNetwork(model)
        self._before = DepthEstimator.load(chosen.model, threads=threads)
        size = (1, model.info.input_height, model.info.input_width, 3)
        noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        self._check(DepthEstimator.load(chosen.model, "cpu"), noise, _SAME)
        if chosen.nyu:
            open_frames(chosen.nyu, "test", chosen.depth_scale, PROTOCOLS["eigen"])
        options = {
            "topics": Topics(chosen.image, chosen.depth, chosen.camera_info, chosen.depth_camera_info),
            "tolerance": chosen.max_gap,
            "clock_offset": chosen.clock_offset,
        }
        recordings = [Recording(path, **options) for path in find_recordings(chosen.bags)]
        for recording in recordings:
            for note in (*recording.notes, *recording.damage):
                self._say(f"{recording.name}: {note}")
        self._splits = [Split.of(recording, chosen.held_out) for recording in recordings]

    def run(self) -> int:
        """Train, compare, write and print the results; returns the exit code."""
        with _stopping(self._say) as stop:
            maker = FrameMaker(self._before)
            site, replay = self._site(maker), self._replay(maker)
            self._say(
                f"{len(site.trained)} frames to train on, with ground truth in {site.coverage:.1%} of their pixels; "
                f"{len(site.held_out)} held-out frames decide when to stop; along with them {replay.title}"
            )
            if not site.moves:
                self._say(
                    "the held-out images look like those to train on, as if the camera had stood still: the figures "
                    "will say little about other parts of the site"
                )
            stop.waits = True
            tuned = self._tune(site, replay, stop)
            found = [self._write(site, tuned, replay)]
            stop.waits = False
            if self._chosen.nyu and not stop.asked:
                found.append(self._on_nyu())
                write_card(self._chosen.output, self._before.model, site, tuned, replay.title, found)
        Console().print(_table(found))
        out = self._chosen.output
        print(f"{out}: weights of step {tuned.at} of {tuned.steps}; the training ended because {tuned.ended}")
        print(f"{out.with_suffix('.md')}: model card; {out.with_suffix('.png')}: held-out images before and after")
        return 130 if stop.asked else 0

    def _site(self, maker: FrameMaker) -> Site:
        parts = ((False, most_frames(maker.info)), (True, MOST_HELD_OUT))
        images = sum(
            len(split.indices(held_out, max(1, most // len(self._splits))))
            for split in self._splits
            for held_out, most in parts
        )
        with self._bar("reading the recordings", images) as tick:
            site = read_site(self._splits, maker, tick)
        for reason, number in site.problems.most_common():
            self._say(f"{number} images are left out: {reason}")
        return site

    def _replay(self, maker: FrameMaker) -> Replay:
        if self._chosen.nyu:
            return nyu(self._chosen.nyu, self._chosen.depth_scale, maker)
        with self._bar("rendering rooms", ROOMS) as tick:
            return rooms(maker, tick)

    def _tune(self, site: Site, replay: Replay, stop: _Stop) -> Tuned:
        budget = Budget(self._chosen.minutes, self._cores)
        with self._progress() as progress:
            task, told = progress.add_task("training", total=1.0), None

            def tell(used: float, now: float, best: float) -> bool:
                nonlocal told
                text = f"training, held-out AbsRel {now:.3f}, best {best:.3f}"
                progress.update(task, completed=used, description=text)
                if told != now and not self._console.is_terminal:  # a log has no bar
                    self._say(f"{text}, {used:.0%}")
                told = now
                return stop.asked

            tuned = tune(self._network, site.trained, site.held_out, replay, budget, tell, self._chosen.seed)
        self._refuse_no_better(tuned.before, tuned.best)
        return tuned

    def _write(self, site: Site, tuned: Tuned, replay: Replay) -> Comparison:
        """Write model, card and picture if the model is better on the held-out part; raise ValueError otherwise."""
        out = self._chosen.output
        self._network.load(tuned.weights)
        with tempfile.TemporaryDirectory(prefix=f".{out.stem}.", dir=out.parent) as folder:
            draft = Path(folder) / out.name
            self._network.write(draft, adapted_info(self._before.model, site, out.stem))
            images = np.stack([frame.plain(self._network.info) for frame in site.held_out[:2]])
            self._check(DepthEstimator.load(draft, "cpu"), images, _ROUNDED if self._network.is_half else _SAME)
            self._after = DepthEstimator.load(draft, threads=torch.get_num_threads())
            count = sum(len(split.indices(True, max(1, MOST // len(self._splits)))) for split in self._splits)
            with self._bar("measuring", count) as tick:
                found, picture = on_site(self._splits, self._before, self._after, tick)
            self._refuse_no_better(found.before["abs_rel"], found.after["abs_rel"])
            write_card(draft, self._before.model, site, tuned, replay.title, [found])
            write_image(draft.with_suffix(".png"), picture)
            for suffix in (".png", ".md", ".onnx"):
                draft.with_suffix(suffix).replace(out.with_suffix(suffix))
        return found

    def _on_nyu(self) -> Comparison:
        try:
            return on_nyu(self._chosen.nyu, self._chosen.depth_scale, self._before, self._after)
        except KeyboardInterrupt:
            raise ValueError(
                f"interrupted before NYU Depth v2 was measured; {self._chosen.output} is complete"
            ) from None

    def _check(self, estimator: DepthEstimator, images: np.ndarray, most: float) -> None:
        # One by one, as some models take one image only.
        for image in images[:, None]:
            check_same(self._network, estimator.backend.infer(image), image, most)

    def _refuse_no_better(self, before: float, after: float) -> None:
        if not after <= before * (1 - LEAST_GAIN):
            raise ValueError(
                f"AbsRel on the held-out part of the site was {before:.3f} and became {after:.3f}, which is no better: "
                f"{self._chosen.output} was not written; record more of the site, or give it more --minutes"
            )

    def _say(self, sentence: str) -> None:
        self._console.print(sentence, style="dim", highlight=False, markup=False, soft_wrap=True)

    def _progress(self) -> Progress:
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
        return Progress(*columns, console=self._console)

    @contextmanager
    def _bar(self, description: str, total: int) -> Iterator[Callable[[], None]]:
        """Show a bar; the context manager gives a function to call after each item."""
        with self._progress() as progress:
            task = progress.add_task(description, total=total)
            yield partial(progress.advance, task)


def _free(cores: int) -> int:
    """Return how many of these cores other programs leave free, at least 1: threads without a core wait in vain."""
    free = len(os.sched_getaffinity(0)) - round(os.getloadavg()[0])
    return min(cores, max(1, free))


class _Stop:
    """
    State of Ctrl-C.

    Attributes
    ----------
    waits : bool
        Whether the first Ctrl-C lets the command write what it has. If not, it ends the command.
    asked : bool
        Whether that has happened.
    """

    waits = asked = False


@contextmanager
def _stopping(say: Callable[[str], None]) -> Iterator[_Stop]:
    """Handle Ctrl-C and SIGTERM as `_Stop` describes."""
    stop = _Stop()

    def ask(*_) -> None:
        if stop.asked or not stop.waits:
            raise KeyboardInterrupt
        stop.asked = True
        say("stopping: the best model so far is measured and written; Ctrl-C again ends without it")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _table(found: list[Comparison]) -> Table:
    """Return the results for the terminal."""
    table = Table(
        title="Before and after, mean over images, and the change of AbsRel",
        title_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
        padding=(0, 1, 0, 0),  # for a terminal of 80 characters
    )
    table.add_column("")
    for column in ("images", "AbsRel", "RMSE", "delta1", "change"):
        table.add_column(column, justify="right", no_wrap=True)
    for c in found:
        pairs = [f"{c.before[name]:.3f}, {c.after[name]:.3f}" for name in ("abs_rel", "rmse", "delta1")]
        table.add_row(c.what, str(c.frames), *pairs, f"{c.change:+.0%}")
    return table
