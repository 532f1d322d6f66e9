"""
What hostile input may do: give a result, or raise a documented exception whose message is one short line.

Neither may cost much. Costs are judged where ``FUZZ_FIGURES`` names a file to keep them in: ``make fuzz`` does, the
tests do not, as their machine may be busy with anything.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, settings

LONGEST_MESSAGE = 600
LARGEST_MS = 100.0
LARGEST_RATIO = 10.0
"""Memory of a call as a multiple of its input and its result."""

SPARE_MB = 4.0
"""What a call may take however small its input is: code and tables that are loaded at the first use."""

MOST_MEMORY = 4 << 30
"""Bytes beyond what the process has already; who asks for more gets a MemoryError, before the machine is out of it."""

FIGURES = os.environ.get("FUZZ_FIGURES", "")

# Small and always the same in the tests, large and from a seed in make fuzz.
_COMMON = {
    "deadline": None,
    "database": None,
    "report_multiple_bugs": False,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.explicit, Phase.generate, Phase.shrink],
}
settings.register_profile("hostile", derandomize=True, max_examples=40, **_COMMON)
settings.register_profile("fuzz", max_examples=400, print_blob=True, **_COMMON)
settings.load_profile("fuzz" if FIGURES else "hostile")


@dataclass
class Figures:
    """What the calls of one subject came to."""

    calls: int = 0
    refused: int = 0
    slowest_ms: float = 0.0
    most_mb: float = 0.0
    largest_ratio: float = 0.0


@dataclass
class Book:
    """The figures of all subjects."""

    subjects: dict[str, Figures] = field(default_factory=dict)

    def of(self, subject: str) -> Figures:
        return self.subjects.setdefault(subject, Figures())

    def write(self) -> None:
        if FIGURES:
            Path(FIGURES).write_text(json.dumps({name: asdict(figures) for name, figures in self.subjects.items()}))


BOOK = Book()
atexit.register(BOOK.write)


def survive(
    function: Callable,
    *arguments,
    errors: type[Exception] | tuple[type[Exception], ...] = ValueError,
    weight: int = 0,
    largest_ms: float = LARGEST_MS,
):
    """
    Call a function with hostile input.

    Parameters
    ----------
    function : callable
        What is tried. It may be called several times, to see how fast it is on a busy machine.
    *arguments
        Its arguments.
    errors : type or tuple of types
        The documented exceptions; any other fails the test, and so does a warning or a word on stdout or stderr.
    weight : int
        Bytes of the input; the result's are added.
    largest_ms : float
        Longest time that a call may take; infinite if that does not matter.

    Returns
    -------
    object
        The function's result; None where it was refused.
    """
    figures = BOOK.of(getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2])
    figures.calls += 1
    before = _reset_peak() if FIGURES else 0.0
    start = _now()
    result = _result(function, arguments, errors, figures)
    milliseconds = _since(start)
    if FIGURES:
        megabytes = _peak_mb() - before
        for _ in range(5):  # what is slow is slow each time; other programs disturb some times only
            if milliseconds <= largest_ms:
                break
            start = _now()
            _result(function, arguments, errors, Figures())
            milliseconds = min(milliseconds, _since(start))
        ratio = megabytes / (1e-6 * (weight + _bytes_of(result)) + SPARE_MB)
        figures.slowest_ms = max(figures.slowest_ms, milliseconds)
        figures.most_mb = max(figures.most_mb, megabytes)
        figures.largest_ratio = max(figures.largest_ratio, ratio)
        assert milliseconds <= largest_ms, f"took {milliseconds:.0f} ms"
        assert ratio <= LARGEST_RATIO, f"took {megabytes:.0f} MB, {ratio:.1f} times its input and result"
    return result


def check_message(error: Exception) -> None:
    """Fail if an exception's message is not one short line that can be printed."""
    text, name = str(error), type(error).__name__
    assert text.strip(), f"{name} without a message"
    assert len(text.splitlines()) == 1 and text.isprintable(), f"{name} is not one line that can be printed: {text!r}"
    assert len(text) <= LONGEST_MESSAGE, f"{name} of {len(text)} characters: {text[:LONGEST_MESSAGE]!r}"


@contextmanager
def silent() -> Iterator[None]:
    """Fail if what runs inside prints anything, be it from a library written in C."""
    with tempfile.TemporaryFile() as heard:
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(heard.fileno(), number)
            yield
        finally:
            for number, was in zip((1, 2), kept, strict=True):
                os.dup2(was, number)
                os.close(was)
        printed = os.pread(heard.fileno(), 2000, 0).decode(errors="replace")
        assert not printed, f"printed: {printed}"


@contextmanager
def limited_memory() -> Iterator[None]:
    """Keep the machine: a number in a message must not be able to take all its memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _result(function: Callable, arguments: tuple, errors, figures: Figures):
    with silent(), limited_memory(), warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return function(*arguments)
        except errors as error:
            check_message(error)
            figures.refused += 1
            return None


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(start: tuple[float, float]) -> float:
    """Return the milliseconds since then, or those of the processor where it was with other programs meanwhile."""
    return 1e3 * min(now - then for now, then in zip(_now(), start, strict=True))


def _bytes_of(result) -> int:
    if isinstance(result, np.ndarray):
        return result.nbytes
    return sum(map(_bytes_of, result)) if isinstance(result, tuple | list) else 0


def _reset_peak() -> float:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew at what is resident (proc(5))
    return _peak_mb()


def _peak_mb() -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
