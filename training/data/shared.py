"""
Memory that a training shares with the worker processes of its loader.

A server process starts the workers (``forkserver``), so they inherit no memory. A fork of the training itself can hang:
its threads may hold a lock at that moment, and nothing releases the lock in the child. Pickled are the handles of the
memory, not its content.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterable
from multiprocessing.reduction import DupFd

import numpy as np

_ALIGNMENT = 64  # bytes


class SharedMemory:
    """
    Memory of a fixed size. It is anonymous, so the size of ``/dev/shm`` does not limit it.

    Parameters
    ----------
    size : int
        Number of bytes.
    handle : int, optional
        Descriptor of a file in memory with this size; by default a new one filled with zeros.

    Attributes
    ----------
    bytes : mmap.mmap
        The content.
    """

    def __init__(self, size: int, handle: int | None = None):
        if handle is None:
            handle = os.memfd_create("training")
            os.ftruncate(handle, size)
        self._handle, self.bytes = handle, mmap.mmap(handle, size)
        weakref.finalize(self, os.close, handle)

    def __reduce__(self):
        return _received, (len(self.bytes), DupFd(self._handle))


def _received(size: int, handle) -> SharedMemory:
    return SharedMemory(size, handle.detach())


class SharedPairs:
    """
    Pairs of arrays in shared memory, e.g. decoded images and depths.

    Parameters
    ----------
    pairs : iterable of (numpy.ndarray, numpy.ndarray)
        At least one pair, of any shapes and types. They are copied one after another.
    """

    def __init__(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]):
        self._places: list[list[tuple]] = []
        with os.fdopen(os.memfd_create("training"), "wb") as file:
            for pair in pairs:
                self._places.append([])
                for array in pair:
                    file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
                    self._places[-1].append((array.shape, array.dtype, file.tell()))
                    file.write(np.ascontiguousarray(array).data)
            file.flush()
            self._memory = SharedMemory(file.tell(), os.dup(file.fileno()))

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a pair without a copy."""
        memory = self._memory.bytes
        image, depth = (np.ndarray(shape, kind, memory, start) for shape, kind, start in self._places[index])
        return image, depth
