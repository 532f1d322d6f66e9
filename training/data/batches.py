"""
Batches in memory that a loader's processes share and use again.

PyTorch makes new shared memory for every batch, and the system clears and maps it page by page: at 228x304 that takes
a quarter of the time of decoding a pair of 320x240.
"""

from __future__ import annotations

import itertools
import math
import mmap
import os
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate, get_worker_info

SLOTS = 6  # of each worker: two that it works ahead, what the training holds, and room; untouched ones take no memory

_memories: weakref.WeakValueDictionary[int, SharedBatches] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def frame_loader(
    frames: Dataset,
    input_size: tuple[int, int],
    output_size: tuple[int, int],
    batch_size: int,
    workers: int,
    **options: Any,
) -> DataLoader:
    """
    Make a loader of frames of one size.

    Parameters
    ----------
    frames : Dataset
        Items with ``image``, uint8 [*input_size, 3], and ``depth``, float32 [1, *output_size].
    input_size, output_size : tuple of int
        (height, width).
    batch_size, workers : int
        Frames in a batch; processes that load them, 0 for none but this one.
    **options
        Of ``torch.utils.data.DataLoader``.
    """
    if workers:
        if not isinstance(frames, IterableDataset):
            frames = _OneByOne(frames)
        options["collate_fn"] = SharedBatches((*input_size, 3), (1, *output_size), batch_size, workers)
        options["multiprocessing_context"] = "fork"  # the memory is inherited
    return DataLoader(frames, batch_size, num_workers=workers, worker_init_fn=one_thread, **options)


def one_thread(worker: int) -> None:
    """Keep OpenCV in a loader's process to one thread: there are as many processes as cores to use."""
    cv2.setNumThreads(0)


class SharedBatches:
    """
    Puts items together, in a worker, as a batch that arrives as tensors without being copied again.

    A slot of the memory is free again once no tensor of its batch is left. Where none is free, because many batches
    are kept, the batch goes PyTorch's way.

    Parameters
    ----------
    image, depth : tuple of int
        Shapes of an item's ``image`` (uint8) and ``depth`` (float32).
    batch_size : int
        Items in a batch, at most.
    workers : int
        Processes that are to be forked.
    """

    def __init__(self, image: tuple[int, ...], depth: tuple[int, ...], batch_size: int, workers: int):
        self._shapes = {"depth": (torch.float32, (batch_size, *depth)), "image": (torch.uint8, (batch_size, *image))}
        used = sum(math.prod(shape) * dtype.itemsize for dtype, shape in self._shapes.values())
        self._size = -(-used // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(-1, self._size * SLOTS * workers)  # anonymous: no limit of /dev/shm
        # A worker marks its slots as taken, the loader's process as free: neither waits for the other.
        self._taken = mmap.mmap(-1, SLOTS * workers)
        self._number = next(_numbers)
        _memories[self._number] = self

    def __call__(self, items: Iterable[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor] | _Sent:
        """Put a worker's items together."""
        worker = get_worker_info().id
        slot = self._taken.find(b"\0", worker * SLOTS, (worker + 1) * SLOTS)
        if slot < 0:
            return default_collate(list(items))
        self._taken[slot] = 1
        batch, count = self._tensors(slot), 0
        for count, item in enumerate(items, 1):
            for name, tensor in batch.items():
                tensor[count - 1] = item[name]
        return _Sent(self._number, slot, count)

    def received(self, slot: int, count: int) -> dict[str, torch.Tensor]:
        """Return the batch of a slot, which is free again when its tensors are gone."""
        taken, process = self._taken, os.getpid()

        def release() -> None:
            if os.getpid() == process:  # not in one that was forked meanwhile
                taken[slot] = 0

        batch = self._tensors(slot, release)
        return {name: batch[name][:count] for name in ("image", "depth")}

    def _tensors(self, slot: int, release: Callable[[], None] | None = None) -> dict[str, torch.Tensor]:
        owner = np.frombuffer(self._memory, np.uint8, self._size, slot * self._size)
        if release:
            weakref.finalize(owner, release).atexit = False  # the storage of all views holds it
        memory, start, tensors = torch.from_numpy(owner), 0, {}
        for name, (dtype, shape) in self._shapes.items():
            end = start + math.prod(shape) * dtype.itemsize
            tensors[name], start = memory[start:end].view(dtype).view(shape), end
        return tensors


class _OneByOne(Dataset):
    """The same items, made as they are put together: the memory of each serves for the next."""

    def __init__(self, frames: Dataset):
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self._frames[index]

    def __getitems__(self, indices: list[int]) -> Iterable[dict[str, torch.Tensor]]:
        return map(self._frames.__getitem__, indices)


class _Sent:
    """A batch on its way: unpickled, it is the tensors."""

    def __init__(self, *place: int):
        self._place = place

    def __reduce__(self):
        return _receive, self._place


def _receive(number: int, slot: int, count: int) -> dict[str, torch.Tensor]:
    return _memories[number].received(slot, count)
