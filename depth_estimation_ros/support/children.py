"""Child processes that end with the process that started them. If it is killed, it cannot stop them itself."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import wait

# PR_SET_PDEATHSIG (prctl(2)) outlives exec. The child sets it after an exec of its own: in a program with threads,
# Python code between fork and exec can hang.
_START = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def ending_with_this(command: list[str]) -> list[str]:
    """
    Return a command line for ``subprocess`` whose process gets SIGTERM when the thread that starts it ends.

    Parameters
    ----------
    command : list of str
        Path of a program, and its arguments.
    """
    return [sys.executable, "-S", "-c", _START, str(os.getpid()), *command]


def end_with_parent() -> None:
    """End this worker process of ``multiprocessing`` when its parent has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
