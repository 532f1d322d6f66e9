"""Worker processes on this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Protocol

from depth_estimation_ros.evaluation.run.work import Options, SliceResult, Survey, evaluate_slice
from depth_estimation_ros.support.children import end_with_parent


class Pool(Protocol):
    """
    Workers that evaluate slices.

    Attributes
    ----------
    size : int
        Number of slices evaluated at the same time.
    faults : tuple of exception types
        Exceptions that a future raises if a worker process is lost.
    """

    size: int
    faults: tuple[type[BaseException], ...]

    def __enter__(self) -> Pool:
        """Return the pool."""
        ...

    def __exit__(self, *_) -> None:
        """End the workers."""
        ...

    def submit(self, function: Callable, *args) -> Future:
        """Submit a function call to a worker."""
        ...

    def submit_slice(self, survey: Survey, start: int, stop: int, options: Options, bag: Path | None) -> Future:
        """Submit a call of `evaluate_slice` to a worker."""
        ...

    def images_done(self) -> int:
        """Return the number of processed images, including those of unfinished slices if known."""
        ...

    def stop(self) -> None:
        """Stop the running slices as soon as possible."""
        ...


class LocalPool:
    """
    Processes on this machine, each with its own engines.

    Parameters
    ----------
    jobs : int
        Number of processes.
    threads : int
        CPU threads of each engine.
    """

    faults: tuple[type[BaseException], ...] = (BrokenExecutor,)

    def __init__(self, jobs: int, threads: int):
        # Spawned, because engines and ROS do not survive a fork.
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
        """Submit a function call to a worker."""
        with _no_interrupts():
            return self._executor.submit(function, *args)

    def submit_slice(self, survey: Survey, start: int, stop: int, options: Options, bag: Path | None) -> Future:
        """Submit a call of `evaluate_slice` to a worker."""
        return self.submit(_evaluate_slice, survey, start, stop, options, self._threads, bag)

    def images_done(self) -> int:
        """Return the number of images that the workers have processed."""
        return self._done.value

    def stop(self) -> None:
        """Stop the workers after their current image."""
        self._stopping.set()


@contextlib.contextmanager
def _no_interrupts():
    """Block SIGINT while processes start, so that they ignore Ctrl-C; the parent tells them when to stop."""
    numbers = {signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_tick: Callable[[], bool]  # of a worker process


def _begin(stopping, done) -> None:
    """Initialise a worker process."""
    global _tick

    def tick() -> bool:
        with done.get_lock():
            done.value += 1
        return stopping.is_set()

    _tick = tick
    end_with_parent()


def _evaluate_slice(
    survey: Survey, start: int, stop: int, options: Options, threads: int, bag: Path | None
) -> SliceResult:
    return evaluate_slice(survey, start, stop, options=options, threads=threads, bag=bag, tick=_tick)
