"""What is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODES = ("graph", "eager", "compiled", "compiled graph")
"""Modes of PyTorch: as a CUDA graph, as it is, compiled, and both."""


@dataclass(frozen=True)
class Task:
    """
    What a process measures.

    Parameters
    ----------
    folder : pathlib.Path
        Prepared folder.
    temporary : pathlib.Path
        Folder for temporary files.
    device : {"cuda", "cpu"}
        Device; the CPU is for testing the program.
    batches : list of int
        Batch sizes, in the order in which they are measured.
    modes : list of str
        Modes of PyTorch, from `MODES`.
    finished : frozenset of str
        Names of candidates of earlier processes, which are left out.
    ceilings : bool
        Measure the peaks of the device.
    """

    folder: Path
    temporary: Path
    device: str
    batches: list[int]
    modes: list[str]
    finished: frozenset[str] = frozenset()
    ceilings: bool = True
