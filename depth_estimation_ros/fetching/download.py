"""Download of a file: resumed after an interruption, kept, and compared with the sha256 of its first use."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from depth_estimation_ros.support.files import sha256_of, write_json

ATTEMPTS = 10
PAUSE = 1.0  # seconds before the next attempt
TIMEOUT = 30.0  # seconds without data after which a connection counts as interrupted
BLOCK = 1 << 18
RECORD = "downloads.json"

Result = TypeVar("Result")


def cache_folder() -> Path:
    """Return the folder for downloads: ``depth_estimation_ros`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "depth_estimation_ros"


def fetch(url: str, folder: Path, read: Callable[[Path], Result]) -> Result:
    """
    Download a file, or take it from the folder if it was downloaded before, and read it.

    Parameters
    ----------
    url : str
        Address of the file.
    folder : pathlib.Path
        Folder that keeps it. ``downloads.json`` in it records the sha256 of the first file that could be read.
    read : callable
        Function that reads the file and raises ValueError if its content is wrong. Such a file is neither kept nor
        recorded.

    Returns
    -------
    object
        Result of `read`.

    Raises
    ------
    ValueError
        If the file cannot be downloaded or read, or differs from the recorded one.
    """
    target = folder / Path(urlsplit(url).path).name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            record = _read_record(folder)
            get = _from_folder if target.exists() else _from_network
            result, digest = get(url, target, record.get(url), read)
            if url not in record:
                write_json(folder / RECORD, record | {url: digest})
            return result
    except OSError as error:
        raise ValueError(f"cannot keep the download in {folder}: {error.strerror or error}") from None


def _from_folder(url: str, target: Path, known: str | None, read: Callable[[Path], Result]) -> tuple[Result, str]:
    digest = sha256_of(target)
    if known and digest != known:
        raise ValueError(
            f"{target} has changed since its download (sha256 {digest}, recorded {known}): "
            "delete it and run again to download it again"
        )
    return read(target), digest


def _from_network(url: str, target: Path, known: str | None, read: Callable[[Path], Result]) -> tuple[Result, str]:
    part = target.with_name(target.name + ".part")
    _download(url, part)
    digest = sha256_of(part)
    if known and digest != known:
        _discard(part)
        raise ValueError(
            f"{url} is not the file of the first download (sha256 {digest}, recorded {known}): if you trust the new "
            f"one, delete its line in {target.with_name(RECORD)} and run again"
        )
    try:
        result = read(part)
    except ValueError as error:
        _discard(part)
        raise ValueError(f"what {url} gave cannot be used: {error}") from None
    os.replace(part, target)
    _discard(part)
    return result, digest


def _read_record(folder: Path) -> dict[str, str]:
    path = folder / RECORD
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text())
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise ValueError(f"{path} is damaged: delete it, and the next download will be recorded again")
    return record


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Lock the folder against downloads by a second process."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process downloads into {folder}: wait for it to end") from None
        yield


class _CutError(Exception):
    """The connection ended before the file did."""


def _download(url: str, part: Path) -> None:
    """Complete a partial file, with several connections if needed."""
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(part.stem, total=None)
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE)
            try:
                return _receive(url, part, lambda **values: progress.update(task, **values))
            except _CutError as error:
                reason = error
    raise ValueError(f"the download of {url} was cut {ATTEMPTS} times ({reason}): run again to go on where it stopped")


def _receive(url: str, part: Path, report: Callable[..., None]) -> None:
    """Receive the missing bytes of a partial file in one connection."""
    have = part.stat().st_size if part.exists() else 0
    host = urlsplit(url).hostname
    headers = {"User-Agent": "depth_estimation_ros"}
    if have and _validator(part).exists():
        # If-Range: the server sends the rest only if the file has not changed, else the whole file.
        headers |= {"Range": f"bytes={have}-", "If-Range": _validator(part).read_text()}
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416:  # range not satisfiable: the partial file does not belong to this file
            _discard(part)
            raise _CutError("the part did not fit") from None
        answer = f"{error.code} {error.reason}"
        raise ValueError(
            f"{host} answered {answer} for {url}: if you have the file, give it with --from FILE"
        ) from None
    except (OSError, HTTPException) as error:
        if have:
            raise _CutError(_reason(error)) from None
        raise ValueError(
            f"cannot reach {host} ({_reason(error)}): connect to the internet, or download {url} on another machine "
            "and give it with --from FILE"
        ) from None
    with response:
        rest = response.status == 206
        if rest and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            _discard(part)
            raise _CutError("the server sent another range than asked for")
        have = have if rest else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if rest else "wb") as file:
            if not rest:
                _note_validator(part, response.headers)
            report(completed=have, total=total)
            while block := _read(response):
                file.write(block)
                have += len(block)
                report(completed=have)
    if total is not None and have != total:
        raise _CutError(f"at {have / 1e6:.1f} of {total / 1e6:.1f} MB")


def _read(response) -> bytes:
    try:
        return response.read(BLOCK)
    except (OSError, HTTPException) as error:
        raise _CutError(_reason(error)) from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _validator(part: Path) -> Path:
    """Return the path of the file that names the version of a partial file."""
    return part.with_name(part.name + ".version")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator(part).unlink(missing_ok=True)


def _note_validator(part: Path, headers) -> None:
    tag = headers.get("ETag", "")
    version = tag if tag.startswith('"') else headers.get("Last-Modified", "")  # weak tags do not guarantee equal bytes
    if version:
        _validator(part).write_text(version)
    else:
        _validator(part).unlink(missing_ok=True)
