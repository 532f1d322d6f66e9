"""A loaded model, and the one thread that may use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

import numpy as np

from depth_estimation_ros.backends import Backend, EngineOptions, create_backend
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.frame.pipeline import Pipeline
from depth_estimation_ros.model import Model, load_model
from depth_estimation_ros.settings import Settings

THREAD_NAME = "depth_engine"
"""With which the names of all threads begin that call an engine."""

LOADING_MODEL = "loading the model"
"""What is done first, in `Loading`."""


class Loading:
    """
    How far the loading of a model is: told by the engine's thread, asked by the node's.

    Parameters
    ----------
    log : callable
        Takes a sentence, in any thread.
    """

    def __init__(self, log: Callable[[str], None] = lambda _: None):
        self.log = log
        self._started, self._step = time.monotonic(), (LOADING_MODEL, 0.0)

    def report(self, doing: str, fraction: float) -> None:
        """Tell what is being done, and the fraction of it that is done."""
        self._step = doing, fraction

    def __str__(self) -> str:
        """Return it in words."""
        doing, fraction = self._step
        return f"{doing}, {f'{fraction:.0%} of it, ' if fraction else ''}{time.monotonic() - self._started:.0f} s"


Load = Callable[[Settings, threading.Event, Loading], DepthEstimator]
"""Makes an estimator as settings say; an event breaks that off, and how far it is is told."""


def load_estimator(settings: Settings, cancelled: threading.Event, loading: Loading) -> DepthEstimator:
    """
    Load the model that the settings name, for one camera.

    Raises
    ------
    ModelError, BackendError, CancelledError
        As `Session`.
    """
    model = load_model(settings.model)
    return DepthEstimator(model, load_backend(model, settings, cancelled, loading))


def load_backend(
    model: Model, settings: Settings, cancelled: threading.Event, loading: Loading, callers: int = 1
) -> Backend:
    """Make the engine that the settings ask for; so many cameras are to share it."""
    options = EngineOptions(
        settings.engine_precision,
        settings.engine_cache,
        settings.engine_calibration,
        settings.engine_file,
        loading.report,
        cancelled,
        loading.log,
        callers,
    )
    return create_backend(model, settings.backend, settings.threads, options)


class Session:
    """
    What exists from configuration to clean-up: a loaded, warmed-up model and its thread.

    An engine belongs to the thread that made it (CUDA contexts do), so loading and all inference run there.

    Parameters
    ----------
    settings : Settings
        Names model, backend and threads, and what a TensorRT engine is to be.
    cancelled : threading.Event
        Ends the wait for a model that takes long to load, and the build of its engine.
    loading : Loading, optional
        Is told how far that is.
    waiting : callable
        Called a few times a second meanwhile, in the caller's thread.
    warn : callable
        Takes a sentence for the user, in any thread.
    load : callable
        Makes the estimator, of settings, `cancelled` and `loading`, in the session's thread.

    Raises
    ------
    ModelError, BackendError
        If the model cannot be used, or this machine does not have the backend.
    CancelledError
        If `cancelled` is set before the model is there.
    """

    def __init__(
        self,
        settings: Settings,
        cancelled: threading.Event,
        loading: Loading | None = None,
        waiting: Callable[[], None] = lambda: None,
        warn: Callable[[str], None] = lambda _: None,
        load: Load = load_estimator,
    ):
        self._thread = ThreadPoolExecutor(1, THREAD_NAME)
        loaded = self._thread.submit(_warmed_up, load, settings, cancelled, loading or Loading())
        try:
            while not finished(loaded, 0.1):
                if cancelled.is_set():
                    raise CancelledError
                waiting()
            self.estimator, self.warm_up_ms = loaded.result()
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        finally:
            # A failed future holds an error whose traceback holds this frame: what the callers hold would stay alive.
            del loaded
        self.pipeline = Pipeline(self.estimator, warn)

    def __str__(self) -> str:
        """Say which model runs where."""
        model, backend = self.estimator.model, self.estimator.backend
        return (
            f"model {model.info.name} (sha256 {model.sha256[:12]}) runs on {backend.name}, "
            f"{self.warm_up_ms:.1f} ms for one frame"
        )

    @property
    def lost(self) -> str:
        """Why the engine's device cannot be used any more; empty while it can, or where there is none to lose."""
        return getattr(self.estimator.backend, "lost", "")

    def check(self, settings: Settings) -> None:
        """Raise ValueError if a setting asks of the model what it does not do."""
        model = self.estimator.model
        if settings.max_relative_deviation and "log_variance" not in model.outputs:
            raise ValueError(
                "max_relative_deviation needs a model that says how sure it is (output log_variance); "
                f"{model.info.name} does not: set it to 0"
            )

    def submit(self, work: Callable[[], None]) -> Future:
        """Run work in the engine's thread, after what it has to do already."""
        return self._thread.submit(work)

    def close(self, wait: bool = True) -> None:
        """Drop the model and end the thread; without `wait` a running call is left alone (`engine_is_busy`)."""
        # In the thread that made it, and now: the garbage collector might come late for a GPU's memory.
        self._thread.submit(self._drop)
        self._thread.shutdown(wait=wait)

    def _drop(self) -> None:
        del self.estimator, self.pipeline


def finished(work: Future, timeout: float | None) -> bool:
    """Wait for work, at most `timeout` seconds, and say whether it has ended, well or badly."""
    try:
        work.exception(timeout)
    except FutureTimeoutError:
        return False
    return True


def engine_is_busy() -> bool:
    """Whether the thread of a session that was closed without waiting is still in a call of its engine."""
    return any(thread.name.startswith(THREAD_NAME) for thread in threading.enumerate())


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
