"""Loading of a model into a session, in a separate thread while the node keeps running."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import numpy as np

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.backends.shared import THREAD_NAME
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.runtime.operations import Operations, Steps
from depth_estimation_ros.runtime.pace import Pace
from depth_estimation_ros.runtime.session import Load, Loading, Session
from depth_estimation_ros.settings import Settings

PROGRESS_SECONDS = 10.0
"""Seconds between log messages about the progress of loading a model or building an engine."""


def load_session(
    operations: Operations,
    settings: Callable[[], Settings],
    loading: Loading,
    warn: Callable[[str], None],
    load: Load,
    what: str,
) -> Steps[Session]:
    """
    Load the model that the settings name, and warm it up.

    Parameters
    ----------
    operations : Operations
        Operations of the node, which can cancel the loading.
    settings : callable
        Function that returns the current settings. They name the model, backend, threads and TensorRT options.
    loading : Loading
        Progress of the loading, which is also logged.
    warn : callable
        Function that logs a warning for the user; called with one sentence (str), from any thread.
    load : callable
        Function that makes the estimator, called in the session's thread.
    what : str
        Name of the operation, for the log.

    Raises
    ------
    ModelError, BackendError
        If the model or the engine cannot be loaded. Other errors of an engine are passed on unchanged.
    ValueError
        If the model cannot do what the settings ask for.
    CancelledError
        If the operation is cancelled.
    """
    pace, cancelled = Pace(), threading.Event()
    pace.take(time.monotonic(), 1 / PROGRESS_SECONDS)
    loaded = _begin(settings(), cancelled, loading, warn, load)
    try:
        while not loaded.done():
            if operations.to_end:
                cancelled.set()
                # If the session is still completed later, nobody uses it.
                loaded.add_done_callback(lambda done: done.exception() or done.result().close())
                raise CancelledError
            if pace.take(time.monotonic(), 1 / PROGRESS_SECONDS):
                loading.log(f"{what}: {loading}")
            yield
        session = loaded.result()
    finally:
        # The error of a failed future refers to this stack frame, which would keep the callers' objects alive.
        del loaded
    try:
        session.check(settings())  # the settings may have changed meanwhile
    except ValueError:
        session.close()
        raise
    loading.log(str(session))
    return session


def _begin(
    settings: Settings, cancelled: threading.Event, loading: Loading, warn: Callable[[str], None], load: Load
) -> Future:
    """Start to make a session in its own thread; the event `cancelled` stops the build of an engine."""
    thread = ThreadPoolExecutor(1, THREAD_NAME)

    def make() -> Session:
        try:
            return Session(thread, *_warmed_up(load, settings, cancelled, loading), warn)
        except BaseException as error:
            thread.shutdown(wait=False)
            if isinstance(error, Exception):
                raise
            # SystemExit, or a panic in a Rust library, for example, must not end the node.
            raise BackendError(f"the engine has ended the loading ({type(error).__name__}): {error}") from None

    return thread.submit(make)


def _warmed_up(
    load: Load, settings: Settings, cancelled: threading.Event, loading: Loading
) -> tuple[DepthEstimator, float]:
    """
    Load a model and run it twice, because the first inference includes allocations.

    Returns
    -------
    estimator : DepthEstimator
        The loaded model.
    milliseconds : float
        Duration of the second inference.
    """
    estimator = load(settings, cancelled, loading)
    info = estimator.model.info
    black = np.zeros((1, info.input_height, info.input_width, 3), np.uint8)
    estimator.backend.infer(black)
    start = time.perf_counter()
    estimator.backend.infer(black)
    return estimator, 1e3 * (time.perf_counter() - start)
