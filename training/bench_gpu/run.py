"""Measure a prepared folder in a process of its own, write every row as it comes, and end it when the time is up."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic

from depth_estimation_ros.support.files import write_json
from training.bench_gpu.floor import Ceilings
from training.bench_gpu.prepared import Prepared, read
from training.bench_gpu.task import Task


@dataclass
class Report:
    """
    What was measured so far.

    Parameters
    ----------
    networks : list of Prepared
        The networks.

    Attributes
    ----------
    machine : dict
        ``device`` and ``software``.
    ceilings : Ceilings or None
        Peaks of the device, once they are measured.
    plan : list of str
        Names of all candidates.
    begun : list of str
        Names of those that were begun.
    rows : list of dict
        One for each engine and batch size.
    without : list of str
        One sentence for each thing that could not be measured.
    """

    networks: list[Prepared]
    machine: dict = field(default_factory=dict)
    ceilings: Ceilings | None = None
    plan: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    rows: list[dict] = field(default_factory=list)
    without: list[str] = field(default_factory=list)

    def add(self, message: dict, seconds: float) -> None:
        """Add a message of the worker, which came this many seconds after the start of the run."""
        if "device" in message:
            self.machine = message
        elif "plan" in message:
            self.plan = message["plan"]
        elif "begun" in message:
            self.begun.append(message["begun"])
        elif "row" in message:
            self.rows.append({**message["row"], "seconds": round(seconds, 1)})
        elif "ceilings" in message:
            self.ceilings = Ceilings(**message["ceilings"])
        elif "without" in message and message["without"] not in self.without:
            self.without.append(message["without"])

    def facts(self) -> dict:
        """Return the content of the JSON file."""
        return {
            **self.machine,
            "ceilings": self.ceilings.facts() if self.ceilings else None,
            "networks": [
                {
                    "name": network.name,
                    "input": [network.info.input_width, network.info.input_height],
                    "giga_operations": network.work.operations / 1e9,
                    "parameters": network.work.parameters,
                }
                for network in self.networks
            ],
            "rows": [self._with_floor(row) for row in self.rows],
            "without": self.without,
        }

    def _with_floor(self, row: dict) -> dict:
        """Return a row with the shortest time that the device allows, and the ratios to it."""
        [work] = [network.work for network in self.networks if network.name == row["network"]]
        floor = self.ceilings and self.ceilings.floor(work, row["precision"], row["batch"])
        if not floor:
            return row
        ratios = {f"{name}_over_floor": row[name] / floor for name in ("ms", "device_ms") if name in row}
        return {**row, "floor_ms": floor, **ratios}


def run(task: Task, minutes: float, started: float, output: Path | None, tell: Callable[[dict], None]) -> Path | None:
    """
    Measure, and write the report after every message.

    Parameters
    ----------
    task : Task
        What to measure; its temporary folder is replaced.
    minutes : float
        Time after which the measuring process is killed, counted from ``started`` (`time.monotonic`).
    started : float
        Start of the run.
    output : pathlib.Path, optional
        JSON file; by default ``bench_output/gpu/DEVICE.json``.
    tell : callable
        Function called with each message of the worker.

    Returns
    -------
    pathlib.Path or None
        The JSON file; None if the worker did not even find its device.

    Raises
    ------
    ValueError
        If there is no such device, or the folder is not prepared.
    """
    report, end, place = Report(read(task.folder)), started + 60 * minutes, output
    with tempfile.TemporaryDirectory() as temporary:
        while True:
            before = len(report.begun)
            finished = frozenset(report.begun)
            now = replace(task, temporary=Path(temporary), finished=finished, ceilings=report.ceilings is None)
            with _Worker(now) as worker:
                for message in worker.messages(end):
                    if "refused" in message:
                        raise ValueError(message["refused"])
                    report.add(message, monotonic() - started)
                    if report.machine:
                        place = place or _default(report.machine["device"])
                        _write(place, report)
                    tell(message)
            last = report.begun[-1] if report.begun else "at the start"
            if worker.ending == "time":
                left = [name for name in report.plan if name not in report.begun]
                report.without.append(f"{last}: the time given with --minutes was up")
                if left:
                    report.without.append(f"{len(left)} more engines, for which no time was left: {'; '.join(left)}")
            elif worker.ending == "died":
                report.without.append(f"{last}: the GPU was lost, or the process that measures ended")
            if worker.ending != "died" or len(report.begun) == before:
                break
        if report.machine and place is not None:
            _write(place, report)
    return place if report.machine else None


def _default(device: str) -> Path:
    slug = re.sub(r"\W+", "_", device).strip("_").lower()
    return Path("bench_output/gpu") / f"{slug}.json"


def _write(place: Path, report: Report) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    write_json(place, report.facts())


class _Worker:
    """
    The process that measures, and all that it starts. On leaving the ``with`` block they are killed.

    Attributes
    ----------
    ending : {"done", "died", "time"}
        How it ended.
    """

    def __init__(self, task: Task):
        self._task, self.ending = task, "died"

    def __enter__(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        self._messages, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_measure, args=(self._task, theirs))
        self._process.start()
        theirs.close()
        return self

    def messages(self, end: float):
        """Yield its messages until it ends or the time (`time.monotonic`) is up."""
        while True:
            try:
                if not self._messages.poll(max(0.0, end - monotonic())):
                    self.ending = "time"
                    return
                message = self._messages.recv()
            except EOFError:
                return
            if "done" in message:
                self.ending = "done"
                return
            yield message

    def __exit__(self, *_):
        if self.ending == "done":
            self._process.join(1.0)
        if self._process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):  # it has not become a group, or has ended
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._messages.close()


def _measure(task: Task, connection: Connection) -> None:
    """Be the process that measures."""
    os.setsid()  # one group with the compilers that PyTorch starts
    from training.bench_gpu.worker import work

    try:
        sys.exit(work(task, connection.send))
    except (ValueError, BrokenPipeError) as error:
        with suppress(BrokenPipeError):
            connection.send({"refused": str(error)})
