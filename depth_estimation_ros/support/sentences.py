"""Text for messages to users: one printable line of limited length."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable

_LONGEST = 200  # maximum number of characters of quoted text
_MOST_NAMES = 8
_MOST_COMPARED = 2000  # maximum number of names to compare, to stay fast


def quoted(value: object) -> str:
    """Return a value from a user in quotes, escaped so that it is safe in a terminal and in a ROS message."""
    return shortened(repr(os.fspath(value) if isinstance(value, os.PathLike) else value))


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Return a text, with its middle removed if it is too long."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}...{text[-half:]}"


def reason(error: BaseException) -> str:
    """Return the message of an error as one line, or its type if the message is empty."""
    if isinstance(error, MemoryError):
        return "the memory does not suffice"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return first_line(text) or type(error).__name__


def first_line(text: str) -> str:
    """Return the first non-empty line of a text, printable and without a final full stop."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return shortened("".join(c if c.isprintable() else "?" for c in line).rstrip("."))


def choices(names: Iterable[str], given: str = "") -> str:
    """
    Return a list of names to choose from, as text.

    Parameters
    ----------
    names : iterable of str
        Available names.
    given : str
        Name that the user gave; if there are many names, the most similar ones are listed.

    Returns
    -------
    str
        Some names and the number of further ones; ``none`` if there are none.
    """
    names = list(names)
    shown = names[:_MOST_NAMES]
    if len(names) > _MOST_NAMES and given:
        shown = difflib.get_close_matches(given[:_LONGEST], names[:_MOST_COMPARED], _MOST_NAMES, cutoff=0.0)
    more = len(names) - len(shown)
    return (", ".join(shown) or "none") + (f" and {more} more" if more else "")
