"""
``python -m training.data.benchmark ROOT``: images per second of the training loader, compared with decoding alone.

ROOT is a prepared folder or a set of shards. Both run in turns, with the same number of processes. The loader also
converts, augments as Laina et al. 2016 (with --augment), resamples, makes batches and transfers them.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, Subset

from depth_estimation_ros.camera import PinholeCamera
from training.data.augment import Augmentation
from training.data.batches import frame_loader, one_thread
from training.data.folder import PreparedFolder, split_names
from training.data.frames import FrameTransform
from training.data.module import SHUFFLE_BUFFER
from training.data.shards import read_shards, shards_of
from training.data.streaming import ShardedFrames

WARM_UP = 8  # batches: until all processes have started and the batches prefetched meanwhile are used up


def decoding_rate(decoders: list[Callable[[], Iterator]], count: int) -> float:
    """
    Measure the rate of decoding, with one process for each decoder, all at the same time.

    Parameters
    ----------
    decoders : list of callable
        Functions that return an endless iterator of decoded frames.
    count : int
        Frames that each process decodes.

    Returns
    -------
    float
        Frames per second of all processes together.
    """
    fork = multiprocessing.get_context("fork")
    together, rates = fork.Barrier(len(decoders)), fork.SimpleQueue()

    def work(decoder: Callable[[], Iterator]) -> None:
        one_thread()
        frames = decoder()
        next(frames)
        together.wait()
        start = time.perf_counter()
        done = sum(1 for _ in itertools.islice(frames, count))
        rates.put(done / (time.perf_counter() - start))

    processes = [fork.Process(target=work, args=(decoder,)) for decoder in decoders]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise ValueError("a process that decodes has failed; see above")
    return sum(rates.get() for _ in processes)


def loading_rate(loader: DataLoader) -> float:
    """Return the frames per second of a loader after the warm-up."""
    batches = iter(loader)
    for _ in range(WARM_UP):
        next(batches)
    start, count = time.perf_counter(), 0
    for batch in batches:
        count += len(batch["image"])
    return count / (time.perf_counter() - start)


def open_set(root: Path, arguments: argparse.Namespace) -> tuple[list[Callable[[], Iterator]], Callable]:
    """Return one decoder per worker, and a function that makes the loader."""
    opened = _open_shards(root, arguments) if (root / "shards").is_dir() else _open_folder(root, arguments)
    decoder, loader = opened
    return [partial(decoder, worker) for worker in range(arguments.workers)], loader


def _open_shards(root: Path, arguments: argparse.Namespace) -> tuple[Callable[[int], Iterator], Callable]:
    shards = list(shards_of(root, "train"))
    paths = [root.resolve() / "shards" / shard for shard in shards]
    transform = _transform(next(read_shards(paths))[1], arguments)

    def decoder(worker: int) -> Iterator:
        first = worker % len(paths)
        turned = paths[first:] + paths[:first]
        return itertools.chain.from_iterable(read_shards(turned) for _ in itertools.count())

    def loader() -> DataLoader:
        times = -(-arguments.frames // len(ShardedFrames(root, shards, transform)))
        frames = ShardedFrames(root, shards * times, transform, arguments.batch, SHUFFLE_BUFFER)
        return _loader(frames, arguments)

    return decoder, loader


def _open_folder(root: Path, arguments: argparse.Namespace) -> tuple[Callable[[int], Iterator], Callable]:
    names = split_names(root / arguments.split_file, "train")
    decoded, loaded = (PreparedFolder(root, names, arguments.depth_scale, cache=False) for _ in range(2))
    loaded.transform = _transform(decoded.decode(0)[0], arguments)

    def decoder(worker: int) -> Iterator:
        numbers = itertools.islice(itertools.cycle(range(len(decoded))), worker, None, arguments.workers)
        return map(decoded.decode, numbers)

    def loader() -> DataLoader:
        frames = Subset(loaded, [i % len(loaded) for i in range(arguments.frames)])
        return _loader(frames, arguments, shuffle=True, drop_last=True)

    return decoder, loader


def _transform(image: np.ndarray, arguments: argparse.Namespace) -> FrameTransform:
    camera = PinholeCamera.from_fov(image.shape[1], image.shape[0], 1.1)
    augmentation = Augmentation() if arguments.augment else None
    return FrameTransform(10.0, camera, tuple(arguments.input), tuple(arguments.output), augmentation)


def _loader(frames: Dataset, arguments: argparse.Namespace, **options: Any) -> DataLoader:
    sizes = tuple(arguments.input), tuple(arguments.output)
    return frame_loader(frames, *sizes, arguments.batch, arguments.workers, **options)


def main() -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m training.data.benchmark", description=__doc__)
    parser.add_argument("root", type=Path, help="prepared folder or shards")
    parser.add_argument("--split-file", default="split.txt", help="split file of a folder (default: %(default)s)")
    parser.add_argument("--depth-scale", type=float, default=0.001, help="metres per unit of a folder's depth images")
    parser.add_argument("--input", type=int, nargs=2, default=[228, 304], metavar=("H", "W"))
    parser.add_argument("--output", type=int, nargs=2, default=[128, 160], metavar=("H", "W"))
    parser.add_argument("--augment", action="store_true", help="augment as Laina et al.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=1600, help="frames to load in each round")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds; the median is reported")
    arguments = parser.parse_args()
    try:
        if min(arguments.workers, arguments.batch, arguments.rounds) < 1:
            raise ValueError("--workers, --batch and --rounds must be positive")
        if arguments.frames < 2 * WARM_UP * arguments.batch:
            raise ValueError(f"--frames must be at least {2 * WARM_UP * arguments.batch} to measure past the start")
        decoders, loader = open_set(arguments.root, arguments)
        rounds = []
        for number in range(arguments.rounds):
            decoding = decoding_rate(decoders, arguments.frames // arguments.workers)
            loading = loading_rate(loader())
            rounds.append((loading / decoding, loading, decoding))
            print(f"round {number + 1}: loader {loading:.0f}, decoding alone {decoding:.0f} images/s", flush=True)
    except (ValueError, OSError) as error:
        sys.exit(f"benchmark: {error}")
    ratio, loading, decoding = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(
        f"{arguments.workers} workers: loader {loading:.0f} images/s, decoding alone {decoding:.0f} images/s, "
        f"ratio {ratio:.2f} (medians of {arguments.rounds})"
    )


if __name__ == "__main__":
    main()
