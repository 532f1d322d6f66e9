"""
What takes a node time, done step by step in the thread of its executor.

The rule of concurrency: all that a node is belongs to the thread of its executor. The threads of its sessions call the
engine and publish what comes of it, and nothing else; so no state needs a lock. Yet a model may take minutes to load
and a frame seconds, and meanwhile images, parameters and services are to be answered. A transition, or the reloading of
a model, is therefore a generator that yields whenever it has to wait for a session's thread; a timer resumes it. Only
one runs at a time, and each wait ends: with what is waited for, when its patience is over, or soon after the operation
is broken off or the program is told to end.
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
"""What takes time and comes to a T: it yields whenever it waits."""

STEP_SECONDS = 0.02
"""An operation that waits looks so often whether it can go on."""

LAST_PATIENCE = 1.0
"""Seconds that an operation which is to end waits for a call of an engine, which cannot be broken off."""


class BusyError(ValueError):
    """Another operation is under way."""


class Operations:
    """
    Runs the operations of a node, one at a time.

    Parameters
    ----------
    node : Node
        In whose executor they run.
    stopping : threading.Event
        Set from outside when the program is to end.

    Attributes
    ----------
    running : str
        Name of the one that runs; empty while none does.
    """

    def __init__(self, node: Node, stopping: threading.Event):
        self.running = ""
        self._stopping, self._broken_off = stopping, False
        self._steps, self._done = None, Future()
        self._timer = node.create_timer(STEP_SECONDS, self._step, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()

    def begin(self, name: str, steps: Steps[T]) -> Future:
        """
        Begin an operation; what it comes to is the result of the future, which a service's coroutine can await.

        Raises
        ------
        BusyError
            If another one runs.
        """
        self.check_idle()
        self.running, self._broken_off = name, False
        self._steps, self._done = steps, Future()
        done = self._done
        self._timer.reset()
        self._step()
        return done

    def check_idle(self) -> None:
        """Raise BusyError, in one sentence, if an operation runs."""
        if self.running:
            raise BusyError(f"the node is busy with {self.running}: ask again when that has ended")

    def complete(self, done: Future, meanwhile: Callable[[], None]) -> object:
        """Wait for an operation outside the executor's callbacks; `meanwhile` is called again and again."""
        while not done.done():
            meanwhile()
            self._step()
            time.sleep(0.0 if done.done() else STEP_SECONDS)
        return done.result()

    def break_off(self) -> Future:
        """Let the operation that runs end soon: nothing is loaded any more; gives its end."""
        self._broken_off = True
        return self._done

    @property
    def to_end(self) -> bool:
        """Whether the operation that runs is to end soon."""
        return self._broken_off or self._stopping.is_set()

    def ended(self, work: Work, patience: float = math.inf) -> Steps[bool]:
        """Wait for the work of a session's thread, at most `patience` seconds; come to whether it has ended."""
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
        if not self.running:
            return
        done, outcome, fault = self._done, None, None
        try:
            next(self._steps)
        except StopIteration as end:
            outcome = end.value
        except Exception as error:
            fault = error
        else:
            return
        self.running, self._steps = "", None
        self._timer.cancel()
        # Whoever waits goes on with a state that is final.
        if fault is None:
            done.set_result(outcome)
        else:
            done.set_exception(fault)
