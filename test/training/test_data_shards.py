"""Frames in tar shards: what comes out of a loader, whatever the number of workers and of processes."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the training package needs PyTorch")
pytest.importorskip("webdataset", reason="shards are read with webdataset")

import lightning
import torch
from commands import assert_ended
from test_nyu_raw import command, write_pair
from torch.utils.data import DataLoader

from training.data.augment import Augmentation
from training.data.batches import workers_of
from training.data.frames import FrameTransform
from training.data.module import DepthData
from training.data.shards import INDEX_FIELDS, shards_of, write_shard
from training.data.streaming import ShardedFrames

CAMERA = {"width": 40, "height": 30, "fx": 32.0, "fy": 32.0, "cx": 19.5, "cy": 14.5}


@pytest.fixture
def sharded(tmp_path):
    """Make twelve training scenes and a test scene, each a shard of five frames; millimetres number them."""
    (tmp_path / "shards").mkdir()
    rows = [",".join(INDEX_FIELDS)]
    for scene in range(13):
        split, frames = ("test" if scene == 12 else "train"), []
        for i in range(5):
            number = 1000 + 5 * scene + i
            rows.append(f"s{scene}_{i},s{scene},{i}.0,{split},s{scene}.tar")
            image, depth = np.full((30, 40, 3), (10, 20, 200), np.uint8), np.full((30, 40), number, np.uint16)
            encoded = cv2.imencode(".jpg", image)[1].tobytes(), cv2.imencode(".png", depth)[1].tobytes()
            frames.append((f"s{scene}_{i}", *encoded, {"scene": f"s{scene}"}))
        write_shard(tmp_path / "shards" / f"s{scene}.tar", frames)
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def numbers(batches):
    return [round(1000 * float(depth.max())) for batch in batches for depth in batch["depth"]]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_frame_comes_once_in_order_or_not_at_all_twice(sharded, workers):
    frames = ShardedFrames(sharded, list(shards_of(sharded, "train")), FrameTransform())
    batches = list(DataLoader(frames, 4, **workers_of(workers)))
    assert sorted(numbers(batches)) == list(range(1000, 1060))
    if workers < 2:
        assert numbers(batches) == list(range(1000, 1060))
    assert batches[0]["image"].dtype == torch.uint8 and batches[0]["image"].shape == (4, 30, 40, 3)
    np.testing.assert_allclose(batches[0]["image"][0, 0, 0], (200, 20, 10), atol=2)
    assert batches[0]["depth"].shape == (4, 1, 30, 40)


@pytest.mark.parametrize("workers, world", [(0, 1), (1, 1), (3, 1), (2, 2), (1, 3)])
def test_every_process_gets_the_same_number_of_whole_batches(sharded, workers, world):
    shards = list(shards_of(sharded, "train"))
    seen = []
    for rank in range(world):
        frames = ShardedFrames(sharded, shards, FrameTransform(), 4, shuffle=16, rank=rank, world=world)
        loader = DataLoader(frames, 4, drop_last=True, **workers_of(workers))
        batches = list(loader)
        assert len(batches) == len(loader) == 60 // world // 4
        seen += numbers(batches)
    # About once: with shards that do not divide evenly some frames come twice, none more often.
    counts = Counter(seen)
    assert max(counts.values()) <= 2 and len(counts) >= 45


def test_alone_it_shuffles_and_gives_every_frame_once(sharded):
    frames = ShardedFrames(sharded, list(shards_of(sharded, "train")), FrameTransform(seed=1), 4, shuffle=30)
    first, again = numbers(DataLoader(frames, 4)), numbers(DataLoader(frames, 4))
    frames.transform.epoch = 1
    second = numbers(DataLoader(frames, 4))
    assert sorted(first) == sorted(second) == list(range(1000, 1060))
    assert first == again and first != second and first != sorted(first)
    # The buffer mixes scenes: a batch in the middle of the epoch is not of one or two shards.
    assert len({n // 5 for n in first[20:40]}) > 5


def test_augmentation_depends_on_the_frame_and_the_epoch_alone(sharded):
    def items(workers, epoch):
        transform = FrameTransform(camera=_camera(), augmentation=Augmentation(noise=9), epoch=epoch)
        frames = ShardedFrames(sharded, [f"s{i}.tar" for i in range(3, 7)], transform, 5, shuffle=1)
        loader = DataLoader(frames, 5, **workers_of(workers))
        return {float(i.double().mean()) for batch in loader for i in batch["image"]}

    assert items(0, 0) == items(2, 0) and items(0, 0).isdisjoint(items(0, 1))


def _camera():
    from depth_estimation_ros import PinholeCamera

    return PinholeCamera(**CAMERA)


def test_depth_data_trains_on_shards_and_holds_out_whole_scenes(sharded):
    data = DepthData(str(sharded), "", 1.0, CAMERA, (30, 40), (15, 20), batch_size=4, workers=2, held_out=0.2)
    data.setup()
    held = {number // 5 for number in numbers(data.val_dataloader())}
    train = {number // 5 for number in numbers(data.train_dataloader())}
    assert len(held) == 2 and len(train) == 10 and train.isdisjoint(held) and 1060 // 5 not in train | held
    assert next(iter(data.train_dataloader()))["depth"].shape == (4, 1, 15, 20)


def test_lightning_trains_on_shards_and_knows_how_long_an_epoch_is(sharded):
    seen = []

    class Mean(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.mean = torch.nn.Parameter(torch.zeros(()))

        def training_step(self, batch, number):
            seen.append((self.current_epoch, numbers([batch])))
            return (batch["depth"] - self.mean).square().mean()

        def configure_optimizers(self):
            assert self.trainer.estimated_stepping_batches == 2 * 13
            return torch.optim.SGD(self.parameters(), 0.1)

    data = DepthData(str(sharded), "", 1.0, CAMERA, (30, 40), (15, 20), batch_size=4, held_out=0.1)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", reload_dataloaders_every_n_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Mean(), data)
    first, second = ([n for e, batch in seen if e == epoch for n in batch] for epoch in (0, 1))
    # Eleven scenes, 55 frames, 13 whole batches; another order in the next epoch.
    assert len(first) == len(second) == 52 and len(set(first)) == len(set(second)) == 52 and first != second


def test_damage_and_mistakes_are_named(sharded):
    tar = sharded / "shards" / "s3.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[:2000])
    with pytest.raises(ValueError, match=r"s3\.tar is damaged"):
        list(ShardedFrames(sharded, ["s2.tar", "s3.tar"], FrameTransform()))
    tar.write_bytes(whole.replace(b"\xff\xd8\xff", b"\x00\x00\x00"))
    with pytest.raises(ValueError, match=r"s3\.tar holds no readable s3_0\.rgb\.jpg"):
        list(ShardedFrames(sharded, ["s3.tar"], FrameTransform()))
    with pytest.raises(ValueError, match="does not exist"):
        ShardedFrames(sharded, ["pipe:touch owned"], FrameTransform())
    with pytest.raises(ValueError, match="no shard of the split 'validation'"):
        shards_of(sharded, "validation")
    with pytest.raises(ValueError, match="too few"):
        ShardedFrames(sharded, ["s3.tar"], FrameTransform(), 4, shuffle=1, world=2)
    (sharded / "index.csv").unlink()
    with pytest.raises(ValueError, match="prepared to its end"):
        shards_of(sharded, "train")


def test_a_killed_preparation_goes_on_and_leaves_no_half_shard(tmp_path):
    """Killed when its first shard is there, with its workers; the second run finishes the set, as if by one run."""
    rng = np.random.default_rng(0)
    for scene in range(3):
        folder = tmp_path / "dump" / f"office_000{scene}"
        folder.mkdir(parents=True)
        for i in range(6):
            image, disparity = rng.integers(0, 255, (480, 640, 3), np.uint8), rng.integers(700, 1000, (480, 640))
            write_pair(folder, 100 + i / 10, image, disparity)
    arguments = [tmp_path / "dump", "--jobs", 2, "--output"]
    assert command(*arguments, tmp_path / "whole").stdout.startswith("18 frames of 3 scenes")

    output = tmp_path / "out"
    line = [sys.executable, "-m", "training.data.nyu_raw", *map(str, arguments), str(output)]
    quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "start_new_session": True}
    run = subprocess.Popen(line, cwd=Path(__file__).parents[2], **quiet)
    while not list(output.glob("parts/*.json")) and run.poll() is None:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert_ended(-run.pid)
    assert not (output / "index.csv").exists()
    first = next(output.glob("shards/*.tar"))
    before = first.stat().st_mtime_ns
    assert command(*arguments, output).stdout.startswith("18 frames of 3 scenes")
    assert first.stat().st_mtime_ns == before and not list(output.rglob("*.part"))
    for file in sorted((tmp_path / "whole").rglob("*.*")):
        assert file.read_bytes() == (output / file.relative_to(tmp_path / "whole")).read_bytes(), file
    assert len(list(ShardedFrames(output, list(shards_of(output, "train")), FrameTransform()))) == 18
