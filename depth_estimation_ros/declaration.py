"""Declaration of a node's parameter: description, allowed values, and when a change takes effect."""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

LONGEST_FRAME, LONGEST_FILE_NAME, LONGEST_PATH = 255, 255, 4095
"""Maximum length of a TF frame name in characters, and of a file name and a path in bytes (the limits of Linux)."""


class Effect(Enum):
    """When a new value of a parameter takes effect."""

    FRAME = "next frame"
    ACTIVATE = "next activation"
    CONFIGURE = "next configuration"
    START = "start of the node"


@dataclass(frozen=True)
class Declaration:
    """
    Description, effect and allowed values of a parameter.

    Parameters
    ----------
    description : str
        Description for the user.
    effect : Effect
        When a new value takes effect.
    choices : tuple
        Allowed values, if the parameter has a fixed set of them.
    limits : tuple of float
        Minimum and maximum of a number. They are narrow enough that no value needs more than a machine has.
    off : float, optional
        Special value outside the limits that is also allowed, such as 0 for "off".
    text : callable, optional
        Function that returns what is wrong with a str value, or an empty string if it is valid.
    """

    description: str
    effect: Effect = Effect.FRAME
    choices: tuple[str | int, ...] = ()
    limits: tuple[float, float] = (-math.inf, math.inf)
    off: float | None = None
    text: Callable[[str], str] | None = None

    @property
    def bounded(self) -> bool:
        """Whether the parameter is a number with limits."""
        return math.isfinite(self.limits[0])

    @property
    def extremes(self) -> tuple[float, float]:
        """Minimum and maximum of the allowed values, including `off`."""
        return (self.limits[0] if self.off is None else min(self.off, self.limits[0])), self.limits[1]

    @property
    def allowed(self) -> str:
        """Text that lists the allowed values; empty if every value of the type is allowed."""
        if self.bounded:
            return f"{'' if self.off is None else f'{self.off:g} or '}{self.limits[0]:g} to {self.limits[1]:g}"
        return ", ".join(map(str, self.choices))

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError with a one-sentence message if the value is not allowed."""
        if self.choices and value not in self.choices:
            raise ValueError(f"{name} must be one of {self.allowed}, got {_shown(str(value))}")
        # The negated condition also refuses NaN.
        if self.bounded and not (value == self.off or self.limits[0] <= value <= self.limits[1]):
            either = "" if self.off is None else f"{self.off:g} or "
            raise ValueError(f"{name} must be {either}between {self.limits[0]:g} and {self.limits[1]:g}, got {value:g}")
        if self.text and (wrong := self.text(value)):
            raise ValueError(f"{name} {wrong}")


def frame_fault(name: str) -> str:
    """Return what is wrong with the name of a TF frame, or an empty string if it is valid."""
    if not name or not _writable(name) or len(name) > LONGEST_FRAME:
        return f"must be a name of 1 to {LONGEST_FRAME} characters that can be written, got {_shown(name)}"
    return "must not begin with '/', which TF does not take" if name.startswith("/") else ""


def path_fault(path: str) -> str:
    """Return what is wrong with a path, or an empty string if it is valid. The file need not exist."""
    if not _writable(path):
        return f"must be a path of characters that can be written, got {_shown(path)}"
    longest = max((len(os.fsencode(part)) for part in path.split("/")), default=0)
    if longest > LONGEST_FILE_NAME or len(os.fsencode(path)) > LONGEST_PATH:
        return f"is too long for a path: {_shown(path)}"
    return ""


def folder_fault(path: str) -> str:
    """Return what is wrong with the path of a folder, or an empty string if it is valid. The folder need not exist."""
    if wrong := path_fault(path):
        return wrong
    try:
        Path(path).expanduser()
    except RuntimeError:
        return f"names the home folder of a user who is not known here: {_shown(path)}"
    return ""


def _writable(text: str) -> bool:
    """Whether a text is a single line without control characters and lone surrogates."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def _shown(text: str) -> str:
    """Return a text escaped and shortened for an error message."""
    return repr(text) if len(text) <= 60 else f"{text[:40]!r}... ({len(text)} characters)"
