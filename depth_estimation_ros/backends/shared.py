"""
Engine shared by several cameras; each camera calls it like its own.

Engines that benefit from concurrent calls are called concurrently. Every other engine has one thread and a queue. When
the engine becomes free, all waiting images run in one call, up to its maximum batch size. It never waits to fill a
batch.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from depth_estimation_ros.backends import Backend, facts
from depth_estimation_ros.model import ModelInfo

if TYPE_CHECKING:
    from depth_estimation_ros.estimator import DepthEstimator

THREAD_NAME = "depth_engine"
"""Prefix of the names of all threads that call an engine."""

_RECENT_CALLS = 100  # used for the mean batch size

Call = tuple[np.ndarray, Future]
"""Images, and the future of their outputs."""


class _Worker:
    """
    Thread that owns a backend, with the queue of calls to it.

    Parameters
    ----------
    make : callable
        Function that makes the backend; called in the worker's thread.
    info : ModelInfo
        Metadata of the model.
    cameras : int
        Number of cameras, each of which calls from its own thread.
    """

    def __init__(self, make: Callable[[], Backend], info: ModelInfo, cameras: int):
        self._waiting: deque[Call] = deque()
        self.recent: deque[int] = deque(maxlen=_RECENT_CALLS)
        # `close` runs inside the garbage collector, which may interrupt code that holds a lock, such as that of an
        # executor. A SimpleQueue takes no lock that could be held there.
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        thread.start()
        try:
            self.backend = self._made(make)
            self.max_batch = min(cameras, self.backend.max_batch)
            # The first batch of each size may take longer than the others.
            for count in range(self.max_batch, 1, -1):
                self.call(np.zeros((count, info.input_height, info.input_width, 3), np.uint8))
            self.recent.clear()
        except BaseException:
            self.close()
            thread.join()
            raise

    def call(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs for images; blocks until they are computed. Thread-safe."""
        answer: Future[dict[str, np.ndarray]] = Future()
        self._waiting.append((images, answer))
        self._orders.put(self._serve)
        try:
            return answer.result()
        finally:
            # The error of a failed future refers to this stack frame, which would keep the backend alive.
            del answer

    def close(self) -> None:
        """Release the backend in the thread that made it, after all waiting calls. Does not wait for that."""
        self._orders.put(None)

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            order()
            del order  # it may refer to a backend that could not be made
        self.__dict__.pop("backend", None)

    def _made(self, make: Callable[[], Backend]) -> Backend:
        """Return the backend, made in the worker's thread."""
        answer: Future[Backend] = Future()
        self._orders.put(partial(_answer_with, answer, make))
        try:
            return answer.result()
        finally:
            del answer  # as in `call`

    def _serve(self) -> None:
        """Run the waiting calls, oldest first, in one batch of at most `max_batch` images."""
        calls: list[Call] = []
        count = 0
        # Only this thread removes calls from the queue.
        while self._waiting and (not calls or count + len(self._waiting[0][0]) <= self.max_batch):
            calls.append(self._waiting.popleft())
            count += len(calls[-1][0])
        if calls:  # empty if they ran in an earlier batch
            self.recent.append(count)
            self._answer(calls)

    def _answer(self, calls: list[Call]) -> None:
        try:
            together = np.concatenate([images for images, _ in calls]) if len(calls) > 1 else calls[0][0]
            outputs = self.backend.infer(together)
        except Exception as error:  # raised again in the calling threads
            # No variable of this stack frame may keep an answer: the answer refers to the error, and the error's
            # traceback to this frame.
            hopeless = len(calls) == 1 or bool(getattr(self.backend, "lost", ""))
            while calls:
                if hopeless:
                    calls.pop()[1].set_exception(error)
                else:  # run each call alone, so that one camera's images do not make another's fail
                    self._answer([calls.pop(0)])
        else:
            start = 0
            for images, answer in calls:
                end = start + len(images)
                answer.set_result({name: array[start:end] for name, array in outputs.items()})
                start = end


def _answer_with(answer: Future, make: Callable[[], Backend]) -> None:
    try:
        answer.set_result(make())
    except BaseException as error:  # raised again in the calling thread
        answer.set_exception(error)
    finally:
        del answer  # as in `_Worker.call`


class SharedEngine:
    """
    `Backend` that several threads share; its engine is released with the last reference to it.

    Parameters
    ----------
    make : callable
        Function that makes the engine; called in the engine's own thread.
    info : ModelInfo
        Metadata of the model.
    cameras : int
        Number of cameras, each of which calls from its own thread.

    Attributes
    ----------
    users : weakref.WeakSet
        Estimators that use this engine.

    Raises
    ------
    BackendError, CancelledError
        Passed on from `make`.
    """

    concurrent = True

    def __init__(self, make: Callable[[], Backend], info: ModelInfo, cameras: int):
        self._worker = worker = _Worker(make, info, cameras)
        self.name, self.max_batch = worker.backend.name, worker.max_batch
        self.users: weakref.WeakSet[DepthEstimator] = weakref.WeakSet()
        self._begun: dict[object, float] = {}  # start times of the running calls
        weakref.finalize(self, worker.close).atexit = False

    @property
    def lost(self) -> str:
        """Reason why the engine's device can no longer be used; empty while it works."""
        return getattr(self._worker.backend, "lost", "")

    def stuck(self, patience: float) -> bool:
        """Return whether a call has been running for more than `patience` seconds."""
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
        """Return facts about the engine by name, for diagnostics."""
        found = facts(self._worker.backend) | {"engine_cameras": str(len(self.users))}
        if recent := list(self._worker.recent):
            found["engine_images_per_call"] = f"{sum(recent) / len(recent):.2f}"
        return found
