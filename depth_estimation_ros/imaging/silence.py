"""Suppress what C libraries print about damaged images and videos; our errors report the problem instead."""

from __future__ import annotations

import fcntl
import os
import re
import threading
from contextlib import suppress

_STDERR = 2
# libjpeg, libpng, libtiff, OpenCV, and OpenCV's AVI reader, which prints four arbitrary bytes.
_KNOWN = re.compile(
    rb"^(Corrupt JPEG data|Premature end of JPEG|Inconsistent progression|Invalid SOS parameters|Unknown Adobe color|"
    rb"Warning: unknown JFIF|Application transferred|Invalid restart interval|libpng (warning|error)|TIFF|"
    rb"Failed to parse avi|Frame offset points outside|\[ ?(WARN|ERROR):\d+@)[^\n]*\n?|"
    rb"^Unexpected (element|list type)\. Expected: .{0,4}\. Got: [\s\S]{0,4}\.\n?",
    re.MULTILINE,
)


class _Quiet:
    """
    Context manager that buffers stderr while any thread is inside, then writes it without these libraries' lines.

    The libraries write to the file descriptor, which all threads share. ROS loggers write to it too, and their lines
    must not be lost.
    """

    def __init__(self):
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._begin()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._end()

    def _begin(self) -> None:
        self._aside = self._stderr = None
        with suppress(OSError):  # without stderr or free file descriptors, print as usual
            self._stderr = os.dup(_STDERR)
            self._aside = os.memfd_create("stderr")
            # Threads that write to a memory file at the same time overwrite each other, unless they append.
            fcntl.fcntl(self._aside, fcntl.F_SETFL, os.O_APPEND)
            os.dup2(self._aside, _STDERR)

    def _end(self) -> None:
        if self._stderr is None:
            return
        os.dup2(self._stderr, _STDERR)
        os.close(self._stderr)
        if self._aside is None:
            return
        with open(self._aside, "rb") as aside:
            aside.seek(0)
            others = _KNOWN.sub(b"", aside.read())
        if others:
            os.write(_STDERR, others)


quiet = _Quiet()
"""Use as ``with quiet:`` around OpenCV calls that read possibly damaged data."""
