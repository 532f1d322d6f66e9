"""
Batches in shared memory that the processes of a loader reuse.

PyTorch allocates new shared memory for every batch, which the system clears and maps page by page. At 228x304 this
takes a quarter of the time of decoding a pair of 320x240.
"""

from __future__ import annotations

import itertools
import math
import mmap
import multiprocessing
import os
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate, get_worker_info

from depth_estimation_ros.support.children import end_with_parent
from training.data.shared import SharedMemory

# Imported once by the server that starts the workers, so that a worker starts at once.
_PRELOADED = ["__main__", "training.data.module"]
SLOTS = 6  # per worker: two prefetched, those that the training holds, and spare ones; unused ones take no memory

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
    Make a loader for frames of one size.

    Parameters
    ----------
    frames : Dataset
        Dataset whose items have ``image``, uint8 [*input_size, 3], and ``depth``, float32 [1, *output_size].
    input_size, output_size : tuple of int
        (height, width) of image and depth.
    batch_size, workers : int
        Frames in a batch, and number of worker processes; 0 loads in this process.
    **options
        Further options of ``torch.utils.data.DataLoader``.
    """
    if workers:
        if not isinstance(frames, IterableDataset):
            frames = _OneByOne(frames)
        options["collate_fn"] = SharedBatches((*input_size, 3), (1, *output_size), batch_size, workers)
    return DataLoader(frames, batch_size, **workers_of(workers), **options)


def workers_of(number: int) -> dict[str, Any]:
    """Return the options of ``DataLoader`` for a number of worker processes; see `training.data.shared`."""
    if not number:
        return {}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return {"num_workers": number, "multiprocessing_context": context, "worker_init_fn": _begin}


def _begin(worker: int) -> None:
    one_thread()
    end_with_parent()


def one_thread() -> None:
    """Limit OpenCV in a worker process to one thread, because there are as many workers as cores."""
    cv2.setNumThreads(0)


class SharedBatches:
    """
    Collate function that builds a batch in shared memory, so that the tensors reach the training without another copy.

    A slot of the memory becomes free when no tensor of its batch exists any more. If none is free because many batches
    are kept, the batch is sent the way PyTorch does.

    Parameters
    ----------
    image, depth : tuple of int
        Shapes of an item's ``image`` (uint8) and ``depth`` (float32).
    batch_size : int
        Maximum number of items in a batch.
    workers : int
        Number of worker processes.
    """

    def __init__(self, image: tuple[int, ...], depth: tuple[int, ...], batch_size: int, workers: int):
        self._shapes = {"depth": (torch.float32, (batch_size, *depth)), "image": (torch.uint8, (batch_size, *image))}
        used = sum(math.prod(shape) * dtype.itemsize for dtype, shape in self._shapes.values())
        self._size = -(-used // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = SharedMemory(self._size * SLOTS * workers)
        # A worker marks slots as taken and the main process marks them as free, so neither waits for the other.
        self._taken = SharedMemory(SLOTS * workers)
        self._number = next(_numbers)
        _memories[self._number] = self

    def __call__(self, items: Iterable[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor] | _Sent:
        """Collate the items in a worker."""
        worker = get_worker_info().id
        slot = self._taken.bytes.find(b"\0", worker * SLOTS, (worker + 1) * SLOTS)
        if slot < 0:
            return default_collate(list(items))
        self._taken.bytes[slot] = 1
        batch, count = self._tensors(slot), 0
        for count, item in enumerate(items, 1):
            for name, tensor in batch.items():
                tensor[count - 1] = item[name]
        return _Sent(self._number, slot, count)

    def received(self, slot: int, count: int) -> dict[str, torch.Tensor]:
        """Return the batch of a slot. The slot becomes free when the tensors are deleted."""
        taken, process = self._taken.bytes, os.getpid()

        def release() -> None:
            if os.getpid() == process:  # not in a process forked meanwhile
                taken[slot] = 0

        batch = self._tensors(slot, release)
        return {name: batch[name][:count] for name in ("image", "depth")}

    def _tensors(self, slot: int, release: Callable[[], None] | None = None) -> dict[str, torch.Tensor]:
        owner = np.frombuffer(self._memory.bytes, np.uint8, self._size, slot * self._size)
        if release:
            weakref.finalize(owner, release).atexit = False  # every view keeps the owner alive
        memory, start, tensors = torch.from_numpy(owner), 0, {}
        for name, (dtype, shape) in self._shapes.items():
            end = start + math.prod(shape) * dtype.itemsize
            tensors[name], start = memory[start:end].view(dtype).view(shape), end
        return tensors


class _OneByOne(Dataset):
    """Dataset that makes the items of a batch during collation, so that each reuses the memory of the last."""

    def __init__(self, frames: Dataset):
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self._frames[index]

    def __getitems__(self, indices: list[int]) -> Iterable[dict[str, torch.Tensor]]:
        return map(self._frames.__getitem__, indices)


class _Sent:
    """Place of a batch in shared memory; unpickling it gives the tensors."""

    def __init__(self, *place: int):
        self._place = place

    def __reduce__(self):
        return _receive, self._place


def _receive(number: int, slot: int, count: int) -> dict[str, torch.Tensor]:
    return _memories[number].received(slot, count)
