"""Worker processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from typing import Protocol

from depth_estimation_ros.evaluation.run.work import Options, SliceResult, Survey, evaluate_slice


class Pool(Protocol):
    """
    Where the work is done.

    Attributes
    ----------
    size : int
        How many slices are in work at a time.
    faults : tuple of exception types
        What a future raises where a worker is lost, whatever it was doing.
    """

    size: int
    faults: tuple[type[Exception], ...]

    def submit(self, function: Callable, *args) -> Future:
        """Call a function in a worker."""
        ...

    def submit_slice(self, survey: Survey, start: int, stop: int, options: Options, bag: Path | None) -> Future:
        """Call `evaluate_slice` in a worker."""
        ...

    def images_done(self) -> int:
        """Return how many images the workers have looked at, as far as that is known before their slice is done."""
        ...

    def stop(self) -> None:
        """Break the slices in work off, as soon as may be."""
        ...


class LocalPool:
    """
    Processes of this machine, each with engines of its own.

    Parameters
    ----------
    jobs : int
        How many.
    threads : int
        CPU threads of each engine.
    """

    faults = (BrokenExecutor,)

    def __init__(self, jobs: int, threads: int):
        # A fresh interpreter each: engines and ROS do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.size, self._threads = jobs, threads
        self._stopping, self._done = context.Event(), context.Value("Q", 0)
        self._executor = ProcessPoolExecutor(
            jobs, mp_context=context, initializer=_begin, initargs=(self._stopping, self._done)
        )

    def __enter__(self) -> LocalPool:
        """Return the pool."""
        return self

    def __exit__(self, *_) -> None:
        """End the processes."""
        self.stop()
        self._executor.shutdown(cancel_futures=True)

    def submit(self, function: Callable, *args) -> Future:
        """Call a function in a worker."""
        with _no_interrupts():
            return self._executor.submit(function, *args)

    def submit_slice(self, survey: Survey, start: int, stop: int, options: Options, bag: Path | None) -> Future:
        """Call `evaluate_slice` in a worker."""
        return self.submit(_evaluate_slice, survey, start, stop, options, self._threads, bag)

    def images_done(self) -> int:
        """Return how many images the workers have looked at."""
        return self._done.value

    def stop(self) -> None:
        """Let the workers end after the image that they are at."""
        self._stopping.set()


@contextlib.contextmanager
def _no_interrupts():
    """Start processes that never see Ctrl-C, from their first moment on: their parent tells them when to end."""
    numbers = {signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(stopping, done) -> None:
    """Begin a worker process."""
    global _tick

    def tick() -> bool:
        with done.get_lock():
            done.value += 1
        return stopping.is_set()

    def watch() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    _tick = tick
    # A parent that was killed cannot say so.
    threading.Thread(target=watch, daemon=True).start()


def _evaluate_slice(*args) -> SliceResult:
    return evaluate_slice(*args, tick=_tick)
