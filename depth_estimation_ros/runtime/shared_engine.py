"""Registry of the engines that the cameras of a process share."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from depth_estimation_ros.backends.shared import SharedEngine
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.runtime.session import LOADING_MODEL, Loading, load_backend, load_usable_model
from depth_estimation_ros.settings import EngineSettings, Settings


class SharedEngines:
    """
    Registry of the engines in a process, with at most one for each model and set of options.

    Parameters
    ----------
    cameras : int
        Number of cameras that may use one engine at the same time.
    """

    def __init__(self, cameras: int):
        self._cameras, self._lock = cameras, threading.Lock()
        self._engines: weakref.WeakValueDictionary[tuple, SharedEngine] = weakref.WeakValueDictionary()

    def load(self, settings: Settings, cancelled: threading.Event, loading: Loading) -> DepthEstimator:
        """
        Load the model that the settings name; reuse a running engine with the same model and options.

        An engine that is lost or stuck is not reused.

        Raises
        ------
        ModelError, BackendError, ValueError, CancelledError
            As `session.load_estimator`.
        """
        with self._turn(cancelled, loading):
            model = load_usable_model(settings)
            key = _key(settings.engine, model.sha256)
            engine = self._engines.get(key)
            if engine is not None and not (engine.lost or engine.stuck(settings.patience)):
                loading.log("using the engine that already runs for another camera")
            else:
                make = partial(load_backend, model, settings.engine, cancelled, loading, self._cameras)
                engine = SharedEngine(make, model.info, self._cameras)
                self._engines[key] = engine
            estimator = DepthEstimator(model, engine)
            engine.users.add(estimator)
        return estimator

    @contextmanager
    def _turn(self, cancelled: threading.Event, loading: Loading) -> Iterator[None]:
        """Let only one camera load at a time, so that the next one can reuse its engine."""
        while not self._lock.acquire(timeout=0.1):
            loading.report("waiting for another camera that loads its model", 0.0)
            if cancelled.is_set():
                raise CancelledError
        try:
            loading.report(LOADING_MODEL, 0.0)
            yield
        finally:
            self._lock.release()


def _key(settings: EngineSettings, model_sha256: str) -> tuple:
    """Return the key of an engine: its settings and its files."""
    file: tuple[float, ...] = ()
    if settings.file:
        with suppress(OSError):  # a missing file is reported when it is opened
            found = Path(settings.file).expanduser().stat()
            file = found.st_ino, found.st_mtime_ns
    return replace(settings, model=""), model_sha256, file
