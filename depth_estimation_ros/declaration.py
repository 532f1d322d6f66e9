"""What a parameter of a node is besides its value: what is allowed, and when a change counts."""

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
"""Of a frame of TF in characters; of files in bytes, as Linux takes them."""


class Effect(Enum):
    """When a new value of a parameter takes effect."""

    FRAME = "next frame"
    ACTIVATE = "next activation"
    CONFIGURE = "next configuration"
    START = "start of the node"


@dataclass(frozen=True)
class Declaration:
    """
    What a parameter is besides its name, type and default.

    Parameters
    ----------
    description : str
        For the user.
    effect : Effect
        When a new value counts.
    choices : tuple
        The values allowed, where these are few.
    limits : tuple of float
        The least and the greatest number allowed: narrow enough that no value asks for more than a machine has.
    off : float, optional
        A number outside the limits that is allowed as well, with a meaning of its own.
    text : callable, optional
        Says what is wrong with a text; empty where nothing is.
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
        """The least and the greatest value allowed, the one outside the limits included."""
        return (self.limits[0] if self.off is None else min(self.off, self.limits[0])), self.limits[1]

    @property
    def allowed(self) -> str:
        """The values allowed, in words; empty where every value of the type is."""
        if self.bounded:
            return f"{'' if self.off is None else f'{self.off:g} or '}{self.limits[0]:g} to {self.limits[1]:g}"
        return ", ".join(map(str, self.choices))

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError, in one sentence, if the value is not allowed."""
        if self.choices and value not in self.choices:
            raise ValueError(f"{name} must be one of {self.allowed}, got {_shown(str(value))}")
        # Written so that NaN fails as well.
        if self.bounded and not (value == self.off or self.limits[0] <= value <= self.limits[1]):
            either = "" if self.off is None else f"{self.off:g} or "
            raise ValueError(f"{name} must be {either}between {self.limits[0]:g} and {self.limits[1]:g}, got {value:g}")
        if self.text and (wrong := self.text(value)):
            raise ValueError(f"{name} {wrong}")


def frame_fault(name: str) -> str:
    """Say what keeps a text from being the name of a frame of TF; empty where nothing does."""
    if not name or not _writable(name) or len(name) > LONGEST_FRAME:
        return f"must be a name of 1 to {LONGEST_FRAME} characters that can be written, got {_shown(name)}"
    return "must not begin with '/', which TF does not take" if name.startswith("/") else ""


def path_fault(path: str) -> str:
    """Say what keeps a text from being a path; empty where nothing does."""
    if not _writable(path):
        return f"must be a path of characters that can be written, got {_shown(path)}"
    longest = max((len(os.fsencode(part)) for part in path.split("/")), default=0)
    if longest > LONGEST_FILE_NAME or len(os.fsencode(path)) > LONGEST_PATH:
        return f"is too long for a path: {_shown(path)}"
    return ""


def folder_fault(path: str) -> str:
    """Say what keeps a text from being the path of a folder that is made where need be; empty where nothing does."""
    if wrong := path_fault(path):
        return wrong
    try:
        Path(path).expanduser()
    except RuntimeError:
        return f"names the home folder of a user who is not known here: {_shown(path)}"
    return ""


def _writable(text: str) -> bool:
    """Whether a text is of one line, without control characters and halves of characters."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def _shown(text: str) -> str:
    """Return a text as it can be shown in a sentence: escaped, and not all of a long one."""
    return repr(text) if len(text) <= 60 else f"{text[:40]!r}... ({len(text)} characters)"
