"""
One engine for several cameras, each of which calls it as if it were its own.

An engine whose calls gain by running side by side is called so. Any other has a thread and a queue: when it becomes
free, what waits goes through in one call, as far as the engine takes batches, and nobody is waited for.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from depth_estimation_ros.backends import Backend, facts
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.model import ModelInfo, load_model
from depth_estimation_ros.runtime.session import LOADING_MODEL, THREAD_NAME, Loading, load_backend
from depth_estimation_ros.settings import DECLARATIONS, Effect, Settings

_RECENT_CALLS = 100  # over which the mean batch is taken

Call = tuple[np.ndarray, Future]
"""Images, and the promise of their outputs."""


class _Worker:
    """
    The thread that owns a backend, and the calls that wait for it.

    Parameters
    ----------
    make : callable
        Makes the backend, in the worker's thread.
    info : ModelInfo
        Of the model.
    callers : int
        Threads that may call at the same time.
    """

    def __init__(self, make: Callable[[], Backend], info: ModelInfo, callers: int):
        self._waiting: deque[Call] = deque()
        self.recent: deque[int] = deque(maxlen=_RECENT_CALLS)
        self._thread = ThreadPoolExecutor(1, THREAD_NAME)
        try:
            self.backend = self._thread.submit(make).result()
            self.max_batch = min(callers, self.backend.max_batch)
            # The first batch of each size may take longer than the others.
            for count in range(self.max_batch, 1, -1):
                self.call(np.zeros((count, info.input_height, info.input_width, 3), np.uint8))
            self.recent.clear()
        except BaseException:
            self._thread.shutdown()
            raise

    def call(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Wait for the outputs of images, from any thread."""
        answer = Future()
        self._waiting.append((images, answer))
        self._thread.submit(self._serve)
        try:
            return answer.result()
        finally:
            # A failed future holds an error whose traceback holds this frame: the backend would stay alive.
            del answer

    def close(self) -> None:
        """Drop the backend in the thread that made it, once what waits is done."""
        self._thread.submit(delattr, self, "backend")
        self._thread.shutdown()

    def _serve(self) -> None:
        """Run what waits, as far as it fits: nobody is waited for. What came first goes first."""
        calls, count = [], 0
        # Only this thread takes calls out.
        while self._waiting and (not calls or count + len(self._waiting[0][0]) <= self.max_batch):
            calls.append(self._waiting.popleft())
            count += len(calls[-1][0])
        if calls:  # else they went with others before
            self.recent.append(count)
            self._answer(calls)

    def _answer(self, calls: list[Call]) -> None:
        try:
            together = np.concatenate([images for images, _ in calls]) if len(calls) > 1 else calls[0][0]
            outputs = self.backend.infer(together)
        except Exception as error:  # to be raised where the images came from
            # No name of this frame, which the error's traceback holds, may hold an answer, which holds the error.
            hopeless = len(calls) == 1 or getattr(self.backend, "lost", "")
            while calls:
                if hopeless:
                    calls.pop()[1].set_exception(error)
                else:  # one camera's images must not fail for another's
                    self._answer([calls.pop(0)])
        else:
            start = 0
            for images, answer in calls:
                end = start + len(images)
                answer.set_result({name: array[start:end] for name, array in outputs.items()})
                start = end


class SharedEngine:
    """
    A `Backend` that threads share; the engine behind it ends with the last reference.

    Parameters
    ----------
    make : callable
        Makes the engine, in a thread of its own.
    info : ModelInfo
        Of its model.
    callers : int
        Threads that may call it at the same time.

    Attributes
    ----------
    users : weakref.WeakSet
        Estimators that run on it.

    Raises
    ------
    BackendError, CancelledError
        As `make` raises them.
    """

    concurrent = True

    def __init__(self, make: Callable[[], Backend], info: ModelInfo, callers: int):
        self._worker = worker = _Worker(make, info, callers)
        self.name, self.max_batch = worker.backend.name, worker.max_batch
        self.users: weakref.WeakSet[DepthEstimator] = weakref.WeakSet()
        self._begun: dict[object, float] = {}  # when the calls that are under way began
        weakref.finalize(self, worker.close).atexit = False

    @property
    def lost(self) -> str:
        """Why the engine's device cannot be used any more; empty while it can."""
        return getattr(self._worker.backend, "lost", "")

    def stuck(self, patience: float) -> bool:
        """Whether a call has not come back for so many seconds."""
        return any(begun < time.monotonic() - patience for begun in list(self._begun.values()))

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network: uint8 [N, H, W, 3] RGB to every output, float32 [N, 1, h, w] each."""
        worker, call = self._worker, object()
        self._begun[call] = time.monotonic()
        try:
            return worker.backend.infer(images) if worker.backend.concurrent else worker.call(images)
        finally:
            del self._begun[call]

    def facts(self) -> dict[str, str]:
        """Return what there is to say of the engine, by name."""
        found = facts(self._worker.backend) | {"engine_cameras": str(len(self.users))}
        if recent := list(self._worker.recent):
            found["engine_images_per_call"] = f"{sum(recent) / len(recent):.2f}"
        return found


class SharedEngines:
    """
    The engines of a process, each at most once.

    Parameters
    ----------
    cameras : int
        How many may use one at the same time.
    """

    def __init__(self, cameras: int):
        self._cameras, self._lock = cameras, threading.Lock()
        self._engines: weakref.WeakValueDictionary[tuple, SharedEngine] = weakref.WeakValueDictionary()

    def load(self, settings: Settings, cancelled: threading.Event, loading: Loading) -> DepthEstimator:
        """
        Get the model that the settings name, on the engine that runs already for the same model and options, if any.

        An engine that is lost or stuck is left to those who run on it.

        Raises
        ------
        ModelError, BackendError, CancelledError
            As `session.load_estimator`.
        """
        with self._turn(cancelled, loading):
            model = load_model(settings.model)
            key = _key(settings, model.sha256)
            engine = self._engines.get(key)
            if engine is not None and not (engine.lost or engine.stuck(settings.frame_patience)):
                loading.log("the engine runs already, for another camera")
            else:
                engine = SharedEngine(
                    lambda: load_backend(model, settings, cancelled, loading, self._cameras), model.info, self._cameras
                )
                self._engines[key] = engine
            estimator = DepthEstimator(model, engine)
            engine.users.add(estimator)
        return estimator

    @contextmanager
    def _turn(self, cancelled: threading.Event, loading: Loading) -> Iterator[None]:
        """Load one after the other: the second may find what the first has made."""
        while not self._lock.acquire(timeout=0.1):
            loading.report("waiting for another camera that loads its model", 0.0)
            if cancelled.is_set():
                raise CancelledError
        try:
            loading.report(LOADING_MODEL, 0.0)
            yield
        finally:
            self._lock.release()


def _key(settings: Settings, model_sha256: str) -> tuple:
    """Return all that makes an engine what it is: the files' contents, and the settings of a configuration."""
    chosen = {name: getattr(settings, name) for name, d in DECLARATIONS.items() if d.effect is Effect.CONFIGURE}
    chosen["model"] = model_sha256
    if settings.engine_file:
        with suppress(OSError):  # a missing file is reported by who opens it
            found = Path(settings.engine_file).expanduser().stat()
            chosen["engine_file"] = (settings.engine_file, found.st_ino, found.st_mtime_ns)
    return tuple(chosen.values())
