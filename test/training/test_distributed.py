"""A training by two processes is the training by one with the same total batch. Run as a program, this file trains."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

pytest.importorskip("webdataset", reason="shards are read with webdataset")

import lightning  # noqa: E402

from training.data.augment import Augmentation  # noqa: E402
from training.data.module import DepthData  # noqa: E402
from training.data.shards import INDEX_FIELDS, write_shard  # noqa: E402
from training.loop import DepthTask  # noqa: E402

CAMERA = {"width": 64, "height": 48, "fx": 52.0, "fy": 52.0, "cx": 31.5, "cy": 23.5}
TOTAL_BATCH = 4


def normalise_each_image(network: torch.nn.Module) -> None:
    """Normalise no batches: PyTorch joins those of several processes, for ``sync_batchnorm``, on GPUs only."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.BatchNorm2d):
                setattr(module, name, torch.nn.GroupNorm(1, child.num_features))


def fit(root: Path, world: int) -> None:
    """Train two epochs as one of ``world`` processes; the first writes what it measured and the weights."""
    seen = []

    class Task(DepthTask):
        def training_step(self, batch, index):
            seen.append([self.current_epoch, index, sorted(batch["image"].double().mean((1, 2, 3)).tolist())])
            return super().training_step(batch, index)

    lightning.seed_everything(0)
    network = {"name": "plain", "channels": [8] * 7, "poolings": 2}
    task = Task(network, {"l1": 1.0}, lambda p: torch.optim.SGD(p, 0.02, momentum=0.9), schedule="constant")
    normalise_each_image(task.network)
    sizes = {"input_size": (48, 64), "output_size": (12, 16), "augmentation": Augmentation(roll=0)}
    loading = {"batch_size": TOTAL_BATCH // world, "workers": 1, "held_out": 0.25}
    data = DepthData(str(root), "split.txt", 0.001, CAMERA, **sizes, **loading)
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=world,
        strategy="ddp" if world > 1 else "auto",
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=root,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, data)
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    weights = {name: value.tolist() for name, value in task.state_dict().items()}
    streamed = DepthData(str(root / "sharded"), "", 1.0, CAMERA, **sizes, **loading)
    (sharded,) = trainer.validate(task, streamed, verbose=False)
    about = {"metrics": found, "sharded": sharded, "weights": weights, "seen": seen}
    (root / f"{world}_{trainer.global_rank}.json").write_text(json.dumps(about))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train on 24 walls, brighter the nearer they are, once by one process and once by two."""
    root = tmp_path_factory.mktemp("walls")
    for name in ("rgb", "depth", "sharded/shards"):
        (root / name).mkdir(parents=True)
    rows, frames = [",".join(INDEX_FIELDS)], []
    rng = np.random.default_rng(0)
    for i in range(24):
        metres = rng.uniform(1, 8)
        image = np.clip(rng.normal(255 / metres, 8, (48, 64, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / "rgb" / f"{i:02d}.png"), image)
        depth = np.full((48, 64), 1000 * metres, np.uint16)
        cv2.imwrite(str(root / "depth" / f"{i:02d}.png"), depth)
        encoded = (cv2.imencode(kind, a)[1].tobytes() for kind, a in ((".jpg", image), (".png", depth)))
        frames.append((f"{i:02d}", *encoded, {}))
        rows.append(f"{i:02d},scene{i // 6},{i},train,{i // 6}.tar")
    for scene in range(4):
        write_shard(root / "sharded" / "shards" / f"{scene}.tar", frames[6 * scene : 6 * scene + 6])
    (root / "sharded" / "index.csv").write_text("\n".join(rows) + "\n")
    (root / "split.txt").write_text("".join(f"train {i:02d}\n" for i in range(24)))
    repository = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([repository, os.environ.get("PYTHONPATH", "")])}
    for world in (1, 2):
        start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(world)] if world > 1 else []
        command = [sys.executable, *start, __file__, str(root), str(world)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((root / name).read_text()) for name in ("1_0.json", "2_0.json", "2_1.json")]


def test_batches_of_two_processes_make_up_those_of_one(trained):
    one, *both = (run["seen"] for run in trained)
    assert len(one) == len(both[0]) == len(both[1]) == 2 * (18 // TOTAL_BATCH)
    for (epoch, index, frames), *parts in zip(one, *both, strict=True):
        assert all(part[:2] == [epoch, index] for part in parts)
        assert frames == sorted(frame for part in parts for frame in part[2])
    first, second = ([f for e, _, frames in one if e == epoch for f in frames] for epoch in (0, 1))
    assert set(first).isdisjoint(second), "another epoch augments anew"


def test_shards_are_held_out_alike(trained):
    one, *both = trained
    assert one["sharded"]["val/abs_rel"] > 0
    for two in both:
        assert two["sharded"] == pytest.approx(one["sharded"], rel=1e-4)


def test_two_processes_learn_what_one_learns(trained):
    one, *both = trained
    for two in both:
        assert {"val/abs_rel", "val/rmse", "train/loss"} <= set(one["metrics"])
        assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-4)
        for name, value in one["weights"].items():
            np.testing.assert_allclose(two["weights"][name], value, rtol=1e-3, atol=1e-5, err_msg=name)


if __name__ == "__main__":
    fit(Path(sys.argv[1]), int(sys.argv[2]))
