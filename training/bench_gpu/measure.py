"""Timing of engines. Every round runs each engine once, so that other load affects all of them equally."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from time import monotonic, perf_counter

import numpy as np
import torch
from rich.progress import track

from depth_estimation_ros.backends import Backend, BackendError
from depth_estimation_ros.backends.tensorrt import parity
from depth_estimation_ros.model import Model
from training.bench_gpu.engines import candidates
from training.bench_gpu.floor import measure_ceilings, work_of
from training.bench_gpu.networks import Form

REPEATS = {"cuda": (10, 10), "cpu": (2, 2)}
"""Rounds, and measurements of an engine in each at a batch of 1; at others a third."""


@dataclass
class Row:
    """
    Engine and its results.

    Parameters
    ----------
    engine, precision, decoder : str
        Description of the engine.
    model : Model
        Model that it runs.
    backend : Backend
        Engine that runs the model.
    held : int
        Bytes that it holds on the GPU: the weights; for TensorRT and ONNX Runtime all memory that they took.
    figures : dict
        Results that do not depend on the batch size.
    batches : dict
        Results by batch size.
    ended : str
        Reason why results are missing; empty if there are all.
    """

    engine: str
    precision: str
    decoder: str
    model: Model
    backend: Backend
    held: int
    figures: dict = field(default_factory=dict)
    batches: dict[int, dict[str, float]] = field(default_factory=dict)
    ended: str = ""

    @property
    def name(self) -> str:
        """Name with everything that distinguishes it from other rows."""
        return f"{self.engine}, {self.precision}, {self.decoder}"

    def facts(self) -> dict:
        """Return the results for the JSON file."""
        named = {"engine": self.engine, "precision": self.precision, "decoder": self.decoder}
        return {**named, **self.figures, "batches": self.batches, "ended": self.ended}


class Bench:
    """
    Benchmark of networks on a device.

    Parameters
    ----------
    device : torch.device
        GPU, or the CPU for testing with a few repetitions what needs no GPU.
    batches : list of int
        Batch sizes in addition to 1.
    modes : list of str
        Modes of PyTorch, from `engines.MODES`.
    minutes : float
        Time after which no new measurement starts.

    Attributes
    ----------
    ceilings : Ceilings
        Measured peaks of the device.
    skipped : list of str
        One sentence for each thing that could not be measured.
    """

    def __init__(self, device: torch.device, batches: list[int], modes: list[str], minutes: float = math.inf):
        self.device, self.batches, self.modes = device, sorted({1, *batches}), modes
        self._end = monotonic() + 60 * minutes
        self.skipped: list[str] = []
        torch.backends.cudnn.benchmark = True
        self.ceilings, missing = measure_ceilings(device)
        for sentence in missing:
            self.skip(sentence)

    def skip(self, sentence: str) -> None:
        """Report, once, something that could not be measured."""
        if sentence not in self.skipped:
            print(f"without {sentence}")
            self.skipped.append(sentence)

    def measure(self, forms: list[Form], folder: Path) -> tuple[dict, list[Row]]:
        """
        Measure a network on every engine.

        Parameters
        ----------
        forms : list of Form
            The same network in its forms.
        folder : pathlib.Path
            Folder for temporary files.

        Returns
        -------
        facts : dict
            Facts about the network: name, ``input`` (width and height), ``giga_operations`` (a multiply-add is two) and
            ``parameters``, both of the form with the fewest operations.
        rows : list of Row
            Results of the engines.
        """
        info = forms[0].model.info
        work = min((work_of(form.model.path) for form in forms), key=lambda found: found.operations)
        frames = parity.calibration_frames(info)
        wanted = parity.reference(forms[0].model, frames)
        rows = list(self._rows(forms, folder))
        for row in track(rows, description="comparing", transient=True):
            self.attempt(row, partial(self._compare, row, frames, wanted))
        for batch in self.batches:
            self._measure_batch(rows, np.resize(frames, (batch, *frames.shape[1:])))
            for row in rows:
                if (floor := self.ceilings.floor(work, row.precision, batch)) and batch in row.batches:
                    figures = row.batches[batch]
                    ratios = {
                        f"{name}_over_floor": figures[name] / floor for name in ("ms", "device_ms") if name in figures
                    }
                    figures.update(floor_ms=floor, **ratios)
        facts = {
            "name": info.name,
            "input": [info.input_width, info.input_height],
            "giga_operations": work.operations / 1e9,
            "parameters": work.parameters,
        }
        return facts, rows

    def attempt(self, row: Row, call: Callable[[], object], where: str = "") -> None:
        """Call a function with an engine that has not failed. If it fails now, its row ends."""
        if row.ended:
            return
        try:
            call()
        except Exception as error:  # engines raise any exception, and the other engines must still be measured
            row.ended = where + sentence_of(error)
            with suppress(Exception):  # after a GPU fault, releasing memory fails too
                release(row.backend)
                torch.cuda.empty_cache()

    def _rows(self, forms: list[Form], folder: Path) -> Iterator[Row]:
        """Yield a row for every available engine."""
        for form in forms:
            found = candidates(form.model, form.network, self.device, self.modes, folder, max(self.batches))
            for engine, precision, make in track(list(found), description=form.decoder, transient=True):
                before = self._not_pytorchs()
                try:
                    self._in_time()
                    backend = make()
                except Exception as error:  # see `attempt`
                    self.skip(f"{engine}: {sentence_of(error)}")
                    continue
                held = getattr(backend, "weight_bytes", self._not_pytorchs() - before)
                figures = dict(getattr(backend, "seconds", {}))
                yield Row(engine, precision, form.decoder, form.model, backend, held, figures)

    def _measure_batch(self, rows: list[Row], images: np.ndarray) -> None:
        """Time the engines in turn on one batch."""
        batch, (rounds, repeats) = len(images), REPEATS[self.device.type]
        repeats = repeats if batch == 1 else max(1, repeats // 3)
        for row in track(rows, description=f"batch of {batch}: warming up", transient=True):
            self.attempt(row, partial(self._warm_up, row, images), f"batch of {batch}: ")
        times = {row.name: [] for row in rows}
        device_times = {row.name: [] for row in rows}
        for _ in track(range(rounds), description=f"batch of {batch}: measuring", transient=True):
            for row in rows:
                time = partial(_time, row.backend, images, repeats, times[row.name], device_times[row.name])
                self.attempt(row, time, f"batch of {batch}: ")
        for row in rows:
            release(row.backend)
            taken, on_device = times[row.name], device_times[row.name]
            if row.ended or not taken:
                continue
            figures = row.batches[batch]
            figures.update(ms=median(taken), images_per_second=1e3 * batch / median(taken))
            if batch == 1:
                figures["p95_ms"] = quantiles(taken, n=20, method="inclusive")[-1]
            if on_device:
                figures["device_ms"] = median(on_device)

    def _compare(self, row: Row, frames: np.ndarray, wanted: np.ndarray) -> None:
        self._in_time()
        self._memory_of(row, lambda: row.figures.update(difference(row.backend, frames, wanted)))
        release(row.backend)

    def _warm_up(self, row: Row, images: np.ndarray) -> None:
        """Run an engine on a batch until it is warm, and record the memory that it takes."""
        self._in_time()
        memory = self._memory_of(row, lambda: [row.backend.infer(images) for _ in range(3)])
        row.batches[len(images)] = {"memory_mib": memory / 2**20} if self.device.type == "cuda" else {}

    def _memory_of(self, row: Row, run: Callable[[], object]) -> int:
        """Run an engine and return its memory in bytes: for PyTorch the peak allocation, for others what they keep."""
        if self.device.type != "cuda":
            run()
            return 0
        torch.cuda.reset_peak_memory_stats()
        given_out, before = torch.cuda.memory_allocated(), self._not_pytorchs()
        run()
        if hasattr(row.backend, "weight_bytes"):
            return row.held + torch.cuda.max_memory_allocated() - given_out
        row.held += self._not_pytorchs() - before
        return row.held

    def _not_pytorchs(self) -> int:
        """Return the bytes used on the GPU by everything except PyTorch."""
        if self.device.type != "cuda":
            return 0
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        return total - free - torch.cuda.memory_reserved()

    def _in_time(self) -> None:
        if monotonic() > self._end:
            raise TimeoutError("the time given with --minutes was up")


def difference(backend: Backend, frames: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Return mean and 99th percentile of the relative difference between the depth of an engine and the model."""
    depth = np.concatenate([backend.infer(frame[None])["depth"] for frame in frames])
    relative = parity.relative_difference(depth, wanted)
    if not np.isfinite(relative).all():
        raise BackendError("its depth is not finite")
    return {"mean_difference": float(relative.mean()), "p99_difference": float(np.percentile(relative, 99))}


def release(backend: Backend) -> None:
    """Free the memory that an engine takes for its batch size."""
    if hasattr(backend, "release"):
        backend.release()


def sentence_of(error: Exception) -> str:
    """Return the message of an engine's error as one sentence."""
    text = str(error).strip().partition("\n")[0][:300]
    out_of_memory = any(sign in text.lower() for sign in ("out of memory", "failed to allocate", "alloc_failed"))
    if out_of_memory or isinstance(error, torch.OutOfMemoryError):
        return "out of memory (beside the other engines of this run)"
    return text or type(error).__name__


def _time(backend: Backend, images: np.ndarray, repeats: int, taken: list[float], on_device: list[float]) -> None:
    """Append milliseconds with copies to `taken`, and without copies to `on_device` if the engine measures them."""
    backend.infer(images)
    for _ in range(repeats):
        started = perf_counter()
        backend.infer(images)
        taken.append(1e3 * (perf_counter() - started))
    if hasattr(backend, "device_seconds"):
        on_device.append(1e3 * backend.device_seconds())
