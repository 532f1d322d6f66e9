"""How a session comes to be: a model is loaded in a thread of its own, while the node goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import numpy as np

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.runtime.operations import Operations, Steps
from depth_estimation_ros.runtime.pace import Pace
from depth_estimation_ros.runtime.session import THREAD_NAME, Load, Loading, Session
from depth_estimation_ros.settings import Settings

PROGRESS_SECONDS = 10.0
"""The log says so often how far the building of an engine is."""


def load_session(
    operations: Operations,
    settings: Callable[[], Settings],
    loading: Loading,
    warn: Callable[[str], None],
    load: Load,
    what: str,
) -> Steps[Session]:
    """
    Load a model that does what the settings ask for, and warm it up.

    Parameters
    ----------
    operations : Operations
        May break it off.
    settings : callable
        Gives the settings of the moment, which name model, backend and threads, and what a TensorRT engine is to be.
    loading : Loading
        Is told how far that is, and logs it.
    warn : callable
        Takes a sentence for the user, in any thread.
    load : callable
        Makes the estimator, in the session's thread.
    what : str
        What is done, for the log.

    Raises
    ------
    ModelError, BackendError
        If the model or the engine cannot be had; besides these, whatever an engine raises.
    ValueError
        If the model does not do what the settings ask for.
    CancelledError
        If it is broken off.
    """
    pace, cancelled = Pace(), threading.Event()
    pace.take(time.monotonic(), 1 / PROGRESS_SECONDS)
    loaded = _begin(settings(), cancelled, loading, warn, load)
    try:
        while not loaded.done():
            if operations.to_end:
                cancelled.set()
                # Should it come after all, nobody waits for it any more.
                loaded.add_done_callback(lambda done: done.exception() or done.result().close())
                raise CancelledError
            if pace.take(time.monotonic(), 1 / PROGRESS_SECONDS):
                loading.log(f"{what}: {loading}")
            yield
        session = loaded.result()
    finally:
        # A failed future holds an error whose traceback holds this frame: what the callers hold would stay alive.
        del loaded
    try:
        session.check(settings())  # they may have changed meanwhile
    except ValueError:
        session.close()
        raise
    loading.log(str(session))
    return session


def _begin(
    settings: Settings, cancelled: threading.Event, loading: Loading, warn: Callable[[str], None], load: Load
) -> Future:
    """Begin to make a session in its thread; an event breaks off the build of an engine."""
    thread = ThreadPoolExecutor(1, THREAD_NAME)

    def make() -> Session:
        try:
            return Session(thread, *_warmed_up(load, settings, cancelled, loading), warn)
        except BaseException as error:
            thread.shutdown(wait=False)
            if isinstance(error, Exception):
                raise
            # Such as SystemExit, or the panic of a library in Rust: not to end the node.
            raise BackendError(f"the engine has ended the loading ({type(error).__name__}): {error}") from None

    return thread.submit(make)


def _warmed_up(
    load: Load, settings: Settings, cancelled: threading.Event, loading: Loading
) -> tuple[DepthEstimator, float]:
    """Load a model and run it twice, since the first inference pays for allocations; milliseconds of the second."""
    estimator = load(settings, cancelled, loading)
    info = estimator.model.info
    black = np.zeros((1, info.input_height, info.input_width, 3), np.uint8)
    estimator.backend.infer(black)
    start = time.perf_counter()
    estimator.backend.infer(black)
    return estimator, 1e3 * (time.perf_counter() - start)
