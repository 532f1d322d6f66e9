"""Private folders, atomic file writes, and a lock between processes."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from pathlib import Path

from depth_estimation_ros.backends import BackendError


def check_trusted(folder: Path) -> None:
    """
    Check that other users cannot put code into a folder of engines.

    Raises
    ------
    BackendError
        If the folder belongs to another user than this one or root, others may write to it, or this user cannot read
        it.
    """
    status = folder.stat()
    if status.st_uid not in (os.getuid(), 0) or stat.S_IMODE(status.st_mode) & 0o022:
        raise BackendError(
            f"the engine cache {folder} can be written by other users, and engines are code that runs: "
            f"`chmod 700 {folder}` as its owner, or choose another folder"
        )
    if not os.access(folder, os.R_OK | os.X_OK):
        raise BackendError(
            f"the engine cache {folder} cannot be read by this user: `chown -R` it to them, or choose another folder"
        )


@contextmanager
def locked(handle: int, cancelled: threading.Event, waiting: Callable[[], None]) -> Iterator[None]:
    """
    Hold the lock of a file, then close the file. The lock is also released when the process ends.

    Parameters
    ----------
    handle : int
        Descriptor of an open file.
    cancelled : threading.Event
        Event that ends the wait for another process.
    waiting : callable
        Function called once if another process holds the lock.

    Raises
    ------
    CancelledError
        If `cancelled` is set before the other process releases the lock.
    """
    try:
        if not _lock(handle):
            waiting()
            while not _lock(handle):
                if cancelled.wait(0.2):
                    raise CancelledError
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_privately(path: Path, content: bytes) -> None:
    """
    Write a file atomically, readable by its owner only.

    Raises
    ------
    BackendError
        If writing fails; the file is then unchanged.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise BackendError(f"{path} ({len(content) / 1e6:.1f} MB) cannot be written: {error.strerror}") from None
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
