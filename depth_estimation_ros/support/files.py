"""Atomic file writes, checks of output paths, checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_BLOCK = 1 << 18


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a temporary file next to `path`, then rename it; an OSError leaves `path` unchanged."""
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def written_whole(path: Path) -> Iterator[TextIO]:
    """Open a text file (UTF-8, no newline translation) that replaces `path` at the end of the ``with`` block."""
    draft = path.with_name(path.name + ".part")
    try:
        with open(draft, "w", newline="", encoding="utf-8") as file:
            yield file
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically, see `write_whole`."""
    write_whole(path, json.dumps(content, indent=2) + "\n")


def refuse_missing_folder(*paths: Path | None) -> None:
    """Raise ValueError if the folder of an output file is missing; None is skipped."""
    for path in filter(None, paths):
        if not path.parent.is_dir():
            raise ValueError(f"folder {path.parent} does not exist")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
