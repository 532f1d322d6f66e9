"""
Engine cache: a private folder of plans, each with a JSON sidecar file that describes what it was built from.

A plan contains machine code for one GPU and one version of TensorRT. It is used only if every field of its key matches
and its content is unchanged since it was stored.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.backends.options import CACHE_LIMIT
from depth_estimation_ros.backends.tensorrt.key import Key, differences, file_name, timing_file_name
from depth_estimation_ros.backends.tensorrt.private_files import check_trusted, locked, write_privately
from depth_estimation_ros.support.sentences import quoted, reason

_ANOTHER = "choose another folder with the parameter engine_cache or the option --cache"
_MEBIBYTE = 1 << 20
_FORMAT = 1
_ABANDONED = 3600.0  # seconds
# Files of a cache, and temporary files of unfinished writes. All other files in the folder belong to the user.
_OURS = re.compile(r"\.?[\w-]+-[0-9a-f]{16}\.(plan|json|cache)(\.\d+-\d+)?")


def default_folder() -> str:
    """Return ``depth_estimation_ros/engines`` in the user's cache folder (XDG Base Directory Specification)."""
    return f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/depth_estimation_ros/engines"


@dataclass(frozen=True)
class Entry:
    """
    Stored engine.

    Parameters
    ----------
    plan : pathlib.Path
        The serialised engine; its sidecar has the suffix ``.json``.
    key : dict
        Fields that identify what it was built from and for.
    facts : dict
        Further facts, such as its parity with ONNX Runtime.
    size : int
        Size of the plan in bytes.
    sha256 : str
        SHA-256 of the plan.
    used : float
        Time of the last use, seconds since the epoch.
    """

    plan: Path
    key: dict[str, str]
    facts: dict[str, Any]
    size: int
    sha256: str
    used: float


class EngineCache:
    """
    Cache of engines, keyed by what they were built from and for.

    Parameters
    ----------
    folder : path, optional
        Folder of the cache; created if missing, accessible to this user only.
    limit : int
        Maximum total size in MiB, 0 or more; the least recently used engines are deleted first.
    log : callable
        Function that logs one sentence (str).

    Raises
    ------
    BackendError
        If other users can write to the folder, and so add code that runs on this machine; if this user cannot read it;
        or if the limit is negative.
    """

    def __init__(
        self, folder: str | Path | None = None, limit: int = CACHE_LIMIT, log: Callable[[str], None] = lambda _: None
    ):
        folder = folder or default_folder()
        try:
            self.folder = Path(folder).expanduser()
            there = self.folder.is_dir()
        except (OSError, RuntimeError, ValueError) as error:  # path too long, of an unknown user, or with a NUL
            raise BackendError(
                f"the engine cache {quoted(folder)} cannot be a folder: {reason(error)}; {_ANOTHER}"
            ) from None
        self._limit, self._log = limit, log
        if limit < 0:
            raise BackendError(f"the engine cache cannot be limited to {limit} MiB: give 0 or more")
        if there:
            check_trusted(self.folder)

    def load(self, key: Key) -> tuple[bytes, dict[str, Any]] | None:
        """
        Return the plan of a key and its facts, or None and log the reason.

        Parameters
        ----------
        key : mapping of str to str
            Fields that identify an engine.
        """
        path = self._path(key)
        entry = self._read(path.with_suffix(".json"))
        if entry is None or entry.key != dict(key):
            self._log(self._difference(key))
            return None
        plan = path.read_bytes() if path.is_file() else b""
        if (len(plan), hashlib.sha256(plan).hexdigest()) != (entry.size, entry.sha256):
            self._log(f"engine {path.name} is damaged: {len(plan)} of {entry.size} bytes, or others than were stored")
            return None
        with suppress(OSError):  # the cache may be on a read-only file system
            os.utime(path)
        return plan, entry.facts

    def stamp(self, key: Key) -> int:
        """Return a number that changes whenever an engine is stored for the key; 0 without an engine."""
        try:
            return self._path(key).with_suffix(".json").stat().st_mtime_ns
        except OSError:
            return 0

    def store(self, key: Key, plan: bytes, facts: Mapping[str, object]) -> Path:
        """
        Store a plan, and delete other engines if the cache exceeds its limit.

        Parameters
        ----------
        key : mapping of str to str
            Fields that identify the engine, as in `load`.
        plan : bytes
            The serialised engine.
        facts : mapping
            Facts for the sidecar file; must be serialisable as JSON.

        Returns
        -------
        pathlib.Path
            Path of the plan.

        Raises
        ------
        BackendError
            If it cannot be written; no partial files remain.
        """
        path = self._path(key)
        sidecar = {
            "format": _FORMAT,
            "key": dict(key),
            "plan": {"bytes": len(plan), "sha256": hashlib.sha256(plan).hexdigest()},
            "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "facts": dict(facts),
        }
        # Write the sidecar last: a plan without one is ignored.
        with suppress(FileNotFoundError):
            path.with_suffix(".json").unlink()
        write_privately(path, plan)
        write_privately(path.with_suffix(".json"), (json.dumps(sidecar, indent=2) + "\n").encode())
        for entry in self.prune(keep=path):
            self._log(f"engine {entry.plan.name} dropped: the cache may take {self._limit} MiB")
        return path

    def entries(self) -> list[Entry]:
        """Return the stored engines, most recently used first."""
        found = (self._read(path) for path in self.folder.glob("*.json"))
        return sorted((entry for entry in found if entry), key=lambda entry: -entry.used)

    def prune(self, keep: Path | None = None) -> list[Entry]:
        """
        Delete the least recently used engines until the rest fits the limit.

        Also deletes timing caches without an engine, and temporary files of unfinished writes.

        Parameters
        ----------
        keep : pathlib.Path, optional
            Plan that is never deleted.

        Returns
        -------
        list of Entry
            Deleted engines.
        """
        room = self._limit * _MEBIBYTE
        dropped, used = [], set()
        for entry in sorted(self.entries(), key=lambda entry: (entry.plan != keep, -entry.used)):
            room -= entry.size
            if room < 0 and entry.plan != keep:
                dropped.append(entry)
                entry.plan.with_suffix(".json").unlink(missing_ok=True)
                entry.plan.unlink(missing_ok=True)
            else:
                used |= {entry.plan, entry.plan.with_suffix(".json"), self.timing_cache(entry.key)}
        for path in self.folder.glob("*"):
            if path in used or not _OURS.fullmatch(path.name):
                continue
            with suppress(FileNotFoundError):  # another process has deleted it
                # A recent file without its counterpart may belong to a write in progress.
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()
        return dropped

    @contextmanager
    def lock(self, cancelled: threading.Event, room: int = 0) -> Iterator[None]:
        """
        Hold the lock that lets one process at a time build and store; it is released when the process ends.

        One lock serves all engines: a builder times kernels, and two builders would disturb each other's timings.

        Parameters
        ----------
        cancelled : threading.Event
            Event that ends the wait.
        room : int
            Approximate size of the engine in bytes.

        Raises
        ------
        BackendError
            If the folder cannot be written or the disk is full; checked before the long build.
        CancelledError
            If `cancelled` is set while another process builds.
        """
        self._make_folder()
        try:
            handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with tempfile.TemporaryFile(dir=self.folder):  # an old lock file does not prove that it is writable
                pass
        except OSError as error:
            raise self._cannot_write(error) from None
        with locked(handle, cancelled, lambda: self._log(f"another process builds in {self.folder}; waiting for it")):
            if (free := shutil.disk_usage(self.folder).free) < room:
                raise BackendError(
                    f"the disk of the engine cache {self.folder} has {free / 1e6:.0f} MB left, and the engine may take "
                    f"{room / 1e6:.0f} MB: make room, or choose another folder"
                )
            yield

    def timing_cache(self, key: Key) -> Path:
        """Return the path of the builder's timing cache for a TensorRT version and a GPU."""
        return self.folder / timing_file_name(key)

    def _path(self, key: Key) -> Path:
        return self.folder / f"{file_name(key)}.plan"

    def _read(self, path: Path) -> Entry | None:
        """Read a sidecar; return None if it is missing or not valid."""
        try:
            sidecar = json.loads(path.read_text())
            plan = path.with_suffix(".plan")
            if sidecar["format"] != _FORMAT:
                return None
            stored, used = sidecar["plan"], plan.stat().st_mtime
            key, facts = dict(sidecar["key"]), dict(sidecar["facts"])
            return Entry(plan, key=key, facts=facts, size=int(stored["bytes"]), sha256=stored["sha256"], used=used)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _difference(self, key: Key) -> str:
        """Return a text with the fields in which the key differs from the most similar stored engine."""
        same_model = [e for e in self.entries() if e.key.get("model") == key.get("model")]
        if not same_model:
            return f"no engine of {key.get('model', 'this model')} is in {self.folder}"
        fewest = min((differences(key, entry.key) for entry in same_model), key=lambda found: len(found))
        return f"no engine fits: {'; '.join(fewest)}"

    def _make_folder(self) -> None:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except (OSError, ValueError) as error:
            raise self._cannot_write(error) from None
        check_trusted(self.folder)

    def _cannot_write(self, error: Exception) -> BackendError:
        return BackendError(f"the engine cache {self.folder} cannot be written ({reason(error)}): {_ANOTHER}")
