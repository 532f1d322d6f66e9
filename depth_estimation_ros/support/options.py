"""Types of command-line options for argparse, whose errors are one sentence."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """Return a function that reads an integer of at least a number."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be an integer of at least {least}, got '{text}'")
        return int(text)

    return read


def finite(text: str) -> float:
    """Read a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number, got '{text}'")
    return value


def positive(text: str) -> float:
    """Read a finite number above zero."""
    if (value := finite(text)) <= 0:
        raise argparse.ArgumentTypeError(f"must be a positive number, got '{text}'")
    return value
