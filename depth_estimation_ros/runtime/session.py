"""Session: a loaded model and the one thread that may use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from depth_estimation_ros.backends import Backend, EngineOptions, create_backend
from depth_estimation_ros.backends.shared import THREAD_NAME
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.model import Model, load_model
from depth_estimation_ros.pipeline.anchoring import SEVERAL
from depth_estimation_ros.pipeline.pipeline import Pipeline
from depth_estimation_ros.settings import EngineSettings, Settings

LOADING_MODEL = "loading the model"
"""First step reported by `Loading`."""


class Loading:
    """
    Progress of loading a model, written by the engine's thread and read by the node's.

    Parameters
    ----------
    log : callable
        Function that logs one sentence (str); may be called from any thread.
    """

    def __init__(self, log: Callable[[str], None] = lambda _: None):
        self.log = log
        self._started, self._step = time.monotonic(), (LOADING_MODEL, 0.0)

    def report(self, doing: str, fraction: float) -> None:
        """Set the present step and the fraction of it that is done, 0 to 1."""
        self._step = doing, fraction

    def __str__(self) -> str:
        """Return the step, its progress and the elapsed time."""
        doing, fraction = self._step
        return f"{doing}, {f'{fraction:.0%} of it, ' if fraction else ''}{time.monotonic() - self._started:.0f} s"


Load = Callable[[Settings, threading.Event, Loading], DepthEstimator]
"""Function that makes an estimator from settings, a cancel event and a progress object."""


def load_estimator(settings: Settings, cancelled: threading.Event, loading: Loading) -> DepthEstimator:
    """
    Load the model that the settings name, for one camera.

    Raises
    ------
    ModelError, BackendError
        If the model or the engine cannot be loaded.
    ValueError
        If the model cannot do what the settings ask for.
    CancelledError
        If `cancelled` is set before loading has finished.
    """
    model = load_usable_model(settings)
    return DepthEstimator(model, load_backend(model, settings.engine, cancelled, loading))


def load_usable_model(settings: Settings) -> Model:
    """
    Read the model that the settings name, and check the settings before its engine is built, which may take minutes.

    Raises
    ------
    ModelError
        If the model cannot be used.
    ValueError
        If the model cannot do what the settings ask for.
    """
    model = load_model(settings.engine.model)
    check_model(model, settings)
    return model


def check_model(model: Model, settings: Settings) -> None:
    """Raise ValueError if the model cannot do what the settings ask for; one sentence."""
    info = model.info
    if settings.filter.max_relative_deviation and "log_variance" not in model.outputs:
        raise ValueError(
            "max_relative_deviation needs a model with the output log_variance, "
            f"which {info.name} does not have: set it to 0"
        )
    if info.is_relative and settings.anchor.reference not in SEVERAL:
        raise ValueError(
            f"the depth of model {info.name} is relative ({info.kind}), not metres: set anchor to "
            f"{' or '.join(SEVERAL)}, whose true distances make it metric, instead of {settings.anchor.reference}"
        )


def load_backend(
    model: Model, settings: EngineSettings, cancelled: threading.Event, loading: Loading, cameras: int = 1
) -> Backend:
    """Make the engine that the settings name, to be shared by `cameras` cameras."""
    options = EngineOptions(
        precision=settings.precision,
        cameras=cameras,
        cache=settings.cache,
        calibration=settings.calibration,
        file=settings.file,
        progress=loading.report,
        cancelled=cancelled,
        log=loading.log,
    )
    return create_backend(model, settings.backend, settings.threads, options)


class Session:
    """
    Loaded, warmed-up model and its thread; it exists from ``configure`` to ``cleanup``.

    An engine belongs to the thread that made it, as a CUDA context does. Loading and all inference therefore run in
    that thread (`loading.load_session`).

    Parameters
    ----------
    thread : ThreadPoolExecutor
        Executor with a single thread, in which the estimator was made.
    estimator : DepthEstimator
        The loaded model.
    warm_up_ms : float
        Inference time of one frame after warm-up, in milliseconds.
    warn : callable
        Function that logs a warning for the user; called with one sentence (str), from any thread.

    Attributes
    ----------
    given_up : str
        Reason why the engine was given up, because it did not return from a call. Empty while it is in use.
    """

    def __init__(
        self, thread: ThreadPoolExecutor, estimator: DepthEstimator, warm_up_ms: float, warn: Callable[[str], None]
    ):
        self._thread, self.estimator, self.warm_up_ms = thread, estimator, warm_up_ms
        self.pipeline = Pipeline(estimator, warn)
        self.given_up = ""

    def __str__(self) -> str:
        """Return the model, its engine and the inference time."""
        model, backend = self.estimator.model, self.estimator.backend
        return (
            f"model {model.info.name} (sha256 {model.sha256[:12]}) runs on {backend.name}, "
            f"{self.warm_up_ms:.1f} ms for one frame"
        )

    @property
    def lost(self) -> str:
        """Reason why the engine can no longer be used; empty while it works."""
        return self.given_up or getattr(self.estimator.backend, "lost", "")

    def give_up(self, reason: str) -> None:
        """Mark the engine as lost, because it does not return from a call."""
        self.given_up = reason

    def check(self, settings: Settings) -> None:
        """Raise ValueError if the model cannot do what the settings ask for."""
        check_model(self.estimator.model, settings)

    def submit(self, work: Callable[[], None]) -> Future:
        """Queue work for the engine's thread."""
        return self._thread.submit(work)

    def close(self) -> Future:
        """Release the model in the thread that made it, after all queued work, and end the thread."""
        # Not left to the garbage collector, which might free the GPU memory too late.
        dropped = self._thread.submit(self._drop)
        self._thread.shutdown(wait=False)
        return dropped

    def _drop(self) -> None:
        del self.estimator, self.pipeline


def engine_is_busy() -> bool:
    """Return whether the thread of a closed or given-up session is still in an engine call."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]
    for thread in threads:
        thread.join(0.1)  # an idle thread ends within this time
    return any(thread.is_alive() for thread in threads)
