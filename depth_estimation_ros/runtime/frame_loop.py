"""Loop that processes frames in the session's thread and can abandon a frame whose engine is stuck."""

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
"""A frame and its surroundings (camera_info, transforms, anchor message)."""


class GivenUpError(Exception):
    """The frame was given up, so its results must not be published or counted."""


class FrameLoop:
    """
    Loop that repeatedly processes the newest frame in the session's thread.

    Every frame that is put in is either displaced by a newer one, returned unread by ``close``, or processed. The frame
    being processed can be given up. If the engine returns from it later, its results are neither published nor counted.

    Parameters
    ----------
    process : callable
        Function that processes a frame. It is called in the session's thread with the session, the frame and this loop.

    Attributes
    ----------
    stage : Stopwatch
        Stage times of the frame being processed.
    sent : list of str
        Topics that have been published for the frame being processed.
    """

    def __init__(self, process: Callable[[Session, Arrived, FrameLoop], None]):
        self._process = process
        self._mailbox: Mailbox[Arrived] = Mailbox()
        self._lock = threading.Lock()
        self._in_work = self._given_up = False
        self.stage = Stopwatch()
        self.sent: list[str] = []
        self.put = self._mailbox.put
        self.close = self._mailbox.close

    def begin(self, session: Session) -> None:
        """Process frames until the loop is closed, starting with one that already waits."""
        self.end: Future = session.submit(lambda: self._run(session))

    def give_up(self) -> list[str] | None:
        """
        Give up the frame being processed.

        Returns
        -------
        list of str or None
            Topics already published for it; None if no frame is being processed.
        """
        with self._lock:
            self._given_up = True
            return list(self.sent) if self._in_work else None

    @contextmanager
    def wanted(self):
        """Guard publishing or counting of the current frame; raise GivenUpError if the frame was given up."""
        with self._lock:
            if self._given_up:
                raise GivenUpError
            yield

    @contextmanager
    def settling(self):
        """Guard the last step of the current frame, as `wanted` does."""
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
            del arrived  # free the frame's memory while the loop waits for the next one
