"""What messages to a user have in common: one printable line of bearable length, whatever it is about."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable

_LONGEST = 200  # characters of a text that is not ours
_MOST_NAMES = 8
_MOST_COMPARED = 2000  # names; comparing more would be felt


def quoted(value: object) -> str:
    """Return what a user gave, in quotes and with escapes, as a terminal and a ROS message can take it."""
    return shortened(repr(os.fspath(value) if isinstance(value, os.PathLike) else value))


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Return a text, without its middle if it is too long."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}...{text[-half:]}"


def reason(error: BaseException) -> str:
    """Return what an error says, in one line; its kind where it says nothing."""
    if isinstance(error, MemoryError):
        return "the memory does not suffice"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return first_line(text) or type(error).__name__


def first_line(text: str) -> str:
    """Return the first line of a text that says something, printable and without its full stop."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return shortened("".join(c if c.isprintable() else "?" for c in line).rstrip("."))


def choices(names: Iterable[str], given: str = "") -> str:
    """
    List names to choose from.

    Parameters
    ----------
    names : iterable of str
        What there is.
    given : str
        What the user named instead; of many names, those most like it are listed.

    Returns
    -------
    str
        A few names, and how many more there are; ``none`` where there is none.
    """
    names = list(names)
    shown = names[:_MOST_NAMES]
    if len(names) > _MOST_NAMES and given:
        shown = difflib.get_close_matches(given[:_LONGEST], names[:_MOST_COMPARED], _MOST_NAMES, cutoff=0.0)
    more = len(names) - len(shown)
    return (", ".join(shown) or "none") + (f" and {more} more" if more else "")
