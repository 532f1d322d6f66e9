"""The loop that has frames processed in a session's thread, and what becomes of a frame that does not come back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager

from depth_estimation_ros.pipeline.frame import Frame, Surroundings
from depth_estimation_ros.pipeline.stopwatch import Stopwatch
from depth_estimation_ros.runtime.mailbox import Mailbox
from depth_estimation_ros.runtime.session import Session

Arrived = tuple[Frame, Surroundings]
"""A frame, and what there is to know besides it."""


class GivenUpError(Exception):
    """Nobody waits for this frame any more."""


class FrameLoop:
    """
    Hands the newest frame to a session's thread, again and again.

    Every frame put in comes out once: displaced by a newer one, unread at the end, or processed. A frame in work can be
    given up; should the engine ever come back from it, nothing is published or counted of it any more.

    Parameters
    ----------
    process : callable
        Processes a frame; called in the session's thread, with the session, the frame, and this loop.

    Attributes
    ----------
    stage : Stopwatch
        Of the frame in work.
    sent : list of str
        Topics on which something was published of the frame in work.
    """

    def __init__(self, process: Callable[[Session, Arrived, FrameLoop], None]):
        self._process = process
        self._mailbox: Mailbox[Arrived] = Mailbox()
        self._lock = threading.Lock()
        self._in_work = self._given_up = False
        self.stage, self.sent = Stopwatch(), []
        self.put = self._mailbox.put
        self.close = self._mailbox.close

    def begin(self, session: Session) -> None:
        """Process frames, those that wait already first, until the loop is closed."""
        self.end: Future = session.submit(lambda: self._run(session))

    def give_up(self) -> list[str] | None:
        """Leave the frame in work to itself; gives what was sent of it before, None if there was no frame in work."""
        with self._lock:
            self._given_up = True
            return list(self.sent) if self._in_work else None

    @contextmanager
    def wanted(self):
        """Publish or count something of the frame in work, unless it was given up: GivenUpError is raised then."""
        with self._lock:
            if self._given_up:
                raise GivenUpError
            yield

    @contextmanager
    def settling(self):
        """As `wanted`, for the last thing that is to be done of the frame in work."""
        with self.wanted():
            self._in_work = False
            yield

    def _run(self, session: Session) -> None:
        for arrived in self._mailbox:
            with self._lock:
                self.stage, self.sent, self._in_work = Stopwatch(), [], True
            self._process(session, arrived, self)
            if self._given_up:
                return
            del arrived  # a waiting loop must not keep the last frame's memory
