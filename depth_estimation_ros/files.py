"""Files that are there as a whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file beside its place and move it there once it is complete; an OSError leaves the file as it was."""
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write JSON, see `write_whole`."""
    write_whole(path, json.dumps(content, indent=2) + "\n")
