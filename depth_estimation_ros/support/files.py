"""Atomic file writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


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
