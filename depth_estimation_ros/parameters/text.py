"""Checks of parameters that hold text: TF frames and paths."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

LONGEST_FRAME, LONGEST_FILE_NAME, LONGEST_PATH = 255, 255, 4095
"""Maximum length of a TF frame name in characters, and of a file name and a path in bytes (the limits of Linux)."""


def frame_fault(name: str) -> str:
    """Return what is wrong with the name of a TF frame, or an empty string if it is valid."""
    if not name or not _writable(name) or len(name) > LONGEST_FRAME:
        return f"must be a name of 1 to {LONGEST_FRAME} characters that can be written, got {shown(name)}"
    return "must not begin with '/', which TF does not take" if name.startswith("/") else ""


def path_fault(path: str) -> str:
    """Return what is wrong with a path, or an empty string if it is valid. The file need not exist."""
    if not _writable(path):
        return f"must be a path of characters that can be written, got {shown(path)}"
    longest = max((len(os.fsencode(part)) for part in path.split("/")), default=0)
    if longest > LONGEST_FILE_NAME or len(os.fsencode(path)) > LONGEST_PATH:
        return f"is too long for a path: {shown(path)}"
    return ""


def folder_fault(path: str) -> str:
    """Return what is wrong with the path of a folder, or an empty string if it is valid. The folder need not exist."""
    if wrong := path_fault(path):
        return wrong
    try:
        Path(path).expanduser()
    except RuntimeError:
        return f"names the home folder of a user who is not known here: {shown(path)}"
    return ""


def _writable(text: str) -> bool:
    """Whether a text is a single line without control characters and lone surrogates."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def shown(text: str) -> str:
    """Return a text escaped and shortened for an error message."""
    return repr(text) if len(text) <= 60 else f"{text[:40]!r}... ({len(text)} characters)"
