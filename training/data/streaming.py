"""Stream of network inputs and targets from prepared shards (`training.data.shards`)."""

from __future__ import annotations

import itertools
import random
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from training.data.frames import FrameTransform
from training.data.shards import read_index, read_shards


class ShardedFrames(IterableDataset):
    """
    RGB-D pairs streamed from shards, as network input and target.

    With ``shuffle``, for training: the order of shards is drawn for each epoch, and frames are shuffled in a buffer.
    Each process of a distributed training takes its own shards and the same number of full batches, so that no process
    waits for another. An epoch contains each frame about once; if shards do not divide evenly, some frames come twice
    and some not at all. Without ``shuffle``, every process gets every frame once.

    Parameters
    ----------
    root : path
        Folder with ``index.csv`` and ``shards/``.
    shards : list of str
        Names of shards to read, e.g. from `shards_of`.
    transform : FrameTransform
        Transform applied to each pair.
    batch_size : int
        Frames in a batch of the loader.
    shuffle : int
        Frames in the shuffle buffer of each worker; 0 keeps the stored order.
    rank, world : int
        Rank of this process and number of processes in a distributed training.

    Raises
    ------
    ValueError
        If a shard is missing or damaged, or there are fewer frames than one batch for each process.
    """

    def __init__(
        self,
        root: str | Path,
        shards: list[str],
        transform: FrameTransform,
        batch_size: int = 1,
        shuffle: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        super().__init__()
        self.root, self.transform, self.batch_size = Path(root), transform, batch_size
        self.shuffle, self.rank, self.world = shuffle, rank, world
        self.paths = [_shard_path(self.root, shard) for shard in shards]
        frames = Counter(row["shard"] for row in read_index(self.root))
        self.count = sum(frames[shard] for shard in shards)
        if shuffle and self.count < batch_size * world:
            raise ValueError(
                f"{root}: {self.count} frames are too few for {world} processes of batches of {batch_size}"
            )

    def __len__(self) -> int:
        """Return the number of frames that this process gets in an epoch."""
        return self.count // self.world // self.batch_size * self.batch_size if self.shuffle else self.count

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Iterate over this worker's items: ``image`` uint8 [h, w, 3] RGB, ``depth`` float32 [1, h', w'], metres."""
        for name, image, millimetres in self._pairs():
            yield self.transform(image, millimetres, 0.001, zlib.crc32(name.encode()))

    def _pairs(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        if not self.shuffle:
            return read_shards(self.paths[worker::workers], flag=self.transform.colour_flag)
        # DataLoader takes the batches of an epoch from the workers in turn.
        batches = len(range(worker, len(self) // self.batch_size, workers))
        consumer, consumers = self.rank * workers + worker, self.world * workers
        turns = self._turns(consumer, consumers)
        rng = random.Random(f"{self.transform.seed} {self.transform.epoch} {consumer}")
        buffer = max(1, min(self.shuffle, batches * self.batch_size))
        pairs = itertools.chain.from_iterable(
            read_shards(paths, buffer, rng, self.transform.colour_flag) for paths in turns
        )
        return itertools.islice(pairs, batches * self.batch_size)

    def _turns(self, consumer: int, consumers: int) -> Iterator[list[Path]]:
        """Yield the shards of a consumer, endlessly: all consumers draw the same orders and take shards in turn."""
        rng, start = random.Random(f"{self.transform.seed} {self.transform.epoch}"), consumer
        while True:
            order = rng.sample(self.paths, len(self.paths))
            yield order[start::consumers]
            start = (start - len(order)) % consumers


def _shard_path(root: Path, shard: str) -> Path:
    # webdataset runs a URL such as "pipe:..." as a command, so only plain file names may reach it.
    path = root / "shards" / Path(shard).name
    if not path.is_file():
        raise ValueError(f"{path} does not exist; copy the whole set, or prepare it again")
    return path.resolve()
