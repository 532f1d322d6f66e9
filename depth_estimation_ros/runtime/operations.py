"""
Long operations of a node, run step by step in the thread of its executor.

Concurrency rule: all state of a node belongs to the thread of its executor. The sessions' threads only call the engine
and publish its results, so the state needs no lock. Loading a model may take minutes and a frame seconds, and meanwhile
the node must still handle images, parameters and services. A transition, or the reloading of a model, is therefore a
generator that yields whenever it has to wait for a session's thread; a timer resumes it. Only one operation runs at a
time. Every wait ends: when the work is done, when its timeout is over, or soon after the operation is cancelled or the
program is to end.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future as Work
from typing import TypeVar

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Generator of a long operation that returns a T; it yields whenever it waits."""

STEP_SECONDS = 0.02
"""Seconds between two steps of a waiting operation."""

LAST_PATIENCE = 1.0
"""Seconds that a cancelled operation still waits for an engine call, which cannot be interrupted."""


class BusyError(ValueError):
    """Another operation is running."""


class Operations:
    """
    Runner of a node's long operations, one at a time.

    Parameters
    ----------
    node : Node
        Node in whose executor the operations run.
    stopping : threading.Event
        Event that the signal handler sets to end the program.

    Attributes
    ----------
    running : str
        Name of the running operation; empty if none is running.
    """

    def __init__(self, node: Node, stopping: threading.Event):
        self.running = ""
        self._stopping, self._broken_off = stopping, False
        self._steps: Steps | None = None
        self._done: Future = Future()
        self._timer = node.create_timer(STEP_SECONDS, self._step, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()

    def begin(self, name: str, steps: Steps[T]) -> Future:
        """
        Start an operation and return a future of its result, which a service's coroutine can await.

        Raises
        ------
        BusyError
            If another operation is running.
        """
        self.check_idle()
        self.running, self._broken_off = name, False
        self._steps, self._done = steps, Future()
        done = self._done
        self._timer.reset()
        self._step()
        return done

    def check_idle(self) -> None:
        """Raise BusyError if an operation is running."""
        if self.running:
            raise BusyError(f"the node is busy with {self.running}: try again when it has ended")

    def complete(self, done: Future, meanwhile: Callable[[], None]) -> object:
        """Wait for an operation outside the executor's callbacks, and call `meanwhile` repeatedly."""
        while not done.done():
            meanwhile()
            self._step()
            time.sleep(0.0 if done.done() else STEP_SECONDS)
        return done.result()

    def break_off(self) -> Future:
        """Cancel the running operation, so that it stops loading and ends soon; return its future."""
        self._broken_off = True
        return self._done

    @property
    def to_end(self) -> bool:
        """Whether the running operation is to end soon."""
        return self._broken_off or self._stopping.is_set()

    def ended(self, work: Work, patience: float = math.inf) -> Steps[bool]:
        """Wait for work in a session's thread, at most `patience` seconds, and return whether it has ended."""
        deadline, hurried = time.monotonic() + patience, False
        while not work.done():
            now = time.monotonic()
            if self.to_end and not hurried:
                hurried, deadline = True, min(deadline, now + LAST_PATIENCE)
            if now >= deadline:
                return False
            yield
        return True

    def _step(self) -> None:
        steps, done = self._steps, self._done
        if steps is None:
            return
        outcome, fault = None, None
        try:
            next(steps)
        except StopIteration as end:
            outcome = end.value
        except Exception as error:
            fault = error
        else:
            return
        self.running, self._steps = "", None
        self._timer.cancel()
        # Set last, because it resumes those who wait: the state must be final by then.
        if fault is None:
            done.set_result(outcome)
        else:
            done.set_exception(fault)
