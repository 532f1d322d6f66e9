"""A loaded model, and the one thread that may use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from depth_estimation_ros.backends import Backend, EngineOptions, create_backend
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.model import Model, load_model
from depth_estimation_ros.pipeline.pipeline import Pipeline
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
        If the model or the engine cannot be had, or `cancelled` is set before it is there.
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

    An engine belongs to the thread that made it (CUDA contexts do), so loading and all inference run there
    (`loading.load_session`).

    Parameters
    ----------
    thread : ThreadPoolExecutor
        Of one thread, in which the estimator was made.
    estimator : DepthEstimator
        The loaded model.
    warm_up_ms : float
        How long one frame took, in milliseconds.
    warn : callable
        Takes a sentence for the user, in any thread.

    Attributes
    ----------
    given_up : str
        Why nobody waits for the engine any more, which does not come back from a call.
    """

    def __init__(
        self, thread: ThreadPoolExecutor, estimator: DepthEstimator, warm_up_ms: float, warn: Callable[[str], None]
    ):
        self._thread, self.estimator, self.warm_up_ms = thread, estimator, warm_up_ms
        self.pipeline = Pipeline(estimator, warn)
        self.given_up = ""

    def __str__(self) -> str:
        """Say which model runs where."""
        model, backend = self.estimator.model, self.estimator.backend
        return (
            f"model {model.info.name} (sha256 {model.sha256[:12]}) runs on {backend.name}, "
            f"{self.warm_up_ms:.1f} ms for one frame"
        )

    @property
    def lost(self) -> str:
        """Why the engine cannot be used any more; empty while it can."""
        return self.given_up or getattr(self.estimator.backend, "lost", "")

    def give_up(self, reason: str) -> None:
        """Take the engine for lost, since it does not come back from a call."""
        self.given_up = reason

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

    def close(self) -> Future:
        """Drop the model in the thread that made it, after what that has to do already, and end the thread."""
        # At once: the garbage collector might come late for a GPU's memory.
        dropped = self._thread.submit(self._drop)
        self._thread.shutdown(wait=False)
        return dropped

    def _drop(self) -> None:
        del self.estimator, self.pipeline


def engine_is_busy() -> bool:
    """Whether the thread of a session that was closed, or is not waited for, is still in a call of its engine."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]
    for thread in threads:
        thread.join(0.1)  # one that has nothing to do any more ends now
    return any(thread.is_alive() for thread in threads)
