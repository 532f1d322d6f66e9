"""
Commands, run as ``python -m`` runs them: in a process of their own, or in this one.

One test of a command needs the process; the others need only what it does, and to import PyTorch takes seconds.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest


def in_process(module: str, *arguments: object, **options) -> subprocess.CompletedProcess:
    """Run a module in a process of its own; ``options`` are those of ``subprocess.run``."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def in_this_process(main: Callable[[], int | None], *arguments: object) -> subprocess.CompletedProcess:
    """
    Run a command's ``main`` here.

    Returns
    -------
    subprocess.CompletedProcess
        Exit code, stdout and stderr as those of a process. An exception other than ``SystemExit`` is raised.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [main.__module__, *map(str, arguments)])
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            try:
                code = main()
            except SystemExit as end:
                code = end.code
    if isinstance(code, str):  # as sys.exit prints it
        stderr.write(f"{code}\n")
        code = 1
    return subprocess.CompletedProcess(sys.argv, code or 0, stdout.getvalue(), stderr.getvalue())


def assert_ended(number: int, timeout: float = 20.0) -> None:
    """Wait until no process has this number or, if the number is negative, is in the process group of it."""
    deadline = time.monotonic() + timeout
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(number, 0)
            time.sleep(0.05)
        os.kill(number, signal.SIGKILL)
        pytest.fail(f"process {number} still runs")
