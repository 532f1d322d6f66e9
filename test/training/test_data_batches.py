"""Batches in shared memory: the same as PyTorch's, whatever is kept of them and for how long."""

import os
import time

import numpy as np
import pytest
from commands import assert_ended

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info  # noqa: E402

from training.data.batches import SLOTS, frame_loader, workers_of  # noqa: E402
from training.data.shared import SharedPairs  # noqa: E402

SIZES = (6, 8), (3, 4)


def item(number):
    generator = torch.Generator().manual_seed(number)
    image = torch.randint(0, 256, (6, 8, 3), generator=generator, dtype=torch.uint8)
    return {"image": image, "depth": torch.rand(1, 3, 4, generator=generator)}


class Numbered(Dataset):
    def __len__(self):
        return 50

    def __getitem__(self, index):
        return item(index)


class Streamed(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        yield from (item(i) for i in (range(info.id, 50, info.num_workers) if info else range(50)))


def assert_batch(batch, numbers):
    items = [item(number) for number in numbers]
    for name in ("image", "depth"):
        expected = torch.stack([i[name] for i in items])
        assert batch[name].dtype == expected.dtype and torch.equal(batch[name], expected)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_batch_is_whole_and_in_order_and_the_last_may_be_short(workers):
    batches = list(frame_loader(Numbered(), *SIZES, 4, workers))
    assert [len(batch["image"]) for batch in batches] == [4] * 12 + [2]
    for start, batch in zip(range(0, 50, 4), batches, strict=True):
        assert_batch(batch, range(start, min(50, start + 4)))


def test_what_is_streamed_arrives_as_well():
    one, *_ = batches = list(frame_loader(Streamed(), *SIZES, 4, 2))
    assert_batch(one, [0, 2, 4, 6])
    assert sum(len(batch["depth"]) for batch in batches) == 50


def test_memory_is_used_again_but_never_while_something_of_a_batch_is_left():
    places, kept = set(), []
    for number, batch in enumerate(frame_loader(Numbered(), *SIZES, 1, 1)):
        places.add(batch["image"].data_ptr())
        if number in (0, 20):
            # A part of one tensor of the batch, of another shape and type.
            kept.append(batch["depth"][0, 0].view(torch.int32)[1:])
        del batch
    assert len(places) <= SLOTS
    for number, part in zip((0, 20), kept, strict=True):
        assert torch.equal(part.view(torch.float32), item(number)["depth"][0, 1:])


def test_batches_outlive_their_loader_and_more_may_be_kept_than_there_is_memory_for():
    batches = list(frame_loader(Numbered(), *SIZES, 1, 1))
    assert len(batches) > 2 * SLOTS
    for number, batch in enumerate(batches):
        assert_batch(batch, [number])
    batches[3]["image"] += 1  # it is the reader's own
    assert_batch(batches[4], [4])


def test_a_loader_can_be_read_again_and_left_early():
    loader = frame_loader(Numbered(), *SIZES, 2, 2)
    for _ in range(SLOTS + 1):
        assert_batch(next(iter(loader)), [0, 1])
    for number, batch in enumerate(loader):
        assert_batch(batch, [2 * number, 2 * number + 1])


def test_an_item_of_another_size_is_refused():
    with pytest.raises(RuntimeError, match=r"must match|expanded size"):
        list(frame_loader(Numbered(), (6, 9), (3, 4), 2, 1))


class Marked(Dataset):
    """Its items are the number of the process that started the worker, which leaves a mark in the arrays."""

    def __init__(self, arrays):
        self.arrays = arrays

    def __len__(self):
        return 2

    def __getitem__(self, index):
        self.arrays[index][1][:] += 1
        return os.getppid()


def test_workers_are_not_forked_from_the_training_and_share_its_arrays():
    """A fork can hang: a thread of PyTorch may hold a lock of Python at that moment."""
    arrays = SharedPairs([(np.arange(5, dtype=np.uint8), np.full((2, 3), 7.5)), (np.ones((3, 1), bool), np.arange(4))])
    (parents,) = DataLoader(Marked(arrays), 2, **workers_of(1))
    assert os.getpid() not in parents
    np.testing.assert_array_equal(arrays[0][0], np.arange(5, dtype=np.uint8))
    np.testing.assert_array_equal(arrays[0][1], np.full((2, 3), 8.5))
    np.testing.assert_array_equal(arrays[1][0], np.ones((3, 1), bool))
    np.testing.assert_array_equal(arrays[1][1], np.arange(1, 5))


class Workers(Dataset):
    """Its items are the number of the worker's process."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return os.getpid()


def train_for_long(connection):
    for worker in DataLoader(Workers(), 1, **workers_of(1)):
        connection.send(worker.item())
        time.sleep(600)


def test_the_workers_of_a_killed_training_end():
    context = workers_of(1)["multiprocessing_context"]
    ours, theirs = context.Pipe()
    training = context.Process(target=train_for_long, args=(theirs,))
    training.start()
    assert ours.poll(60)
    worker = ours.recv()
    os.kill(worker, 0)
    training.kill()
    assert_ended(worker)
