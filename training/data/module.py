"""Data of a training: the training frames of a prepared set, and a held-out part of them for validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, DistributedSampler, Subset

from training.data.association import sample_evenly
from training.data.augment import Augmentation
from training.data.batches import frame_loader, workers_of
from training.data.folder import PreparedFolder, split_names
from training.data.frames import FrameTransform, camera_of
from training.data.mixing import drawn, open_extra
from training.data.on_device import DeviceFrames, Draws
from training.data.shards import shards_of
from training.data.streaming import ShardedFrames

HELD_OUT_RUNS = 8
SHUFFLE_BUFFER = 500  # encoded frames in each worker, about 150 MB at 640x480


class DepthData(lightning.LightningDataModule):
    """
    Training and validation frames of a prepared set. Test frames are never read here.

    Parameters
    ----------
    root : str
        Folder with ``rgb/`` and ``depth/``, or with ``shards/`` and ``index.csv`` (`training.data.shards`), or
        ``nyu_depth_v2_labeled.mat``.
    split_file : str
        See `training.data.folder.split_names`; relative to ``root``. The index of shards contains their splits.
    depth_scale, depth_limit : float
        Metres per unit of the depth images (not used for shards and the ``.mat``, which have a fixed unit); depth in
        metres from which values are saturated.
    camera : dict
        ``width, height, fx, fy, cx, cy`` of the stored images, in pixels.
    input_size, output_size : tuple of int
        (height, width) of the network's input and output.
    augmentation : Augmentation, optional
        Augmentation of the training frames.
    batch_size, workers : int
        Frames in a batch of each training process; number of worker processes that load them.
    extra : dict or list of dict, optional
        Further prepared folders, which may be from other cameras: ``root``, ``depth_scale`` and ``share``, the number
        of its frames in an epoch per frame of the first set, e.g. 0.5; optionally ``split_file``, ``depth_limit`` and
        ``camera``, see `training.data.mixing.open_extra`.
    device : {"cpu", "gpu"}
        Where frames are augmented. ``cpu``: in the processes of the loader. ``gpu``: on the device of the training,
        with all frames kept in its memory and the same random numbers, so that a GPU does not wait for the loader; not
        for shards.
    held_out : float
        Fraction of the training frames kept for validation. They are runs of consecutive frames, so that few scenes are
        on both sides. 0 trains on all frames and does not validate.
    seed : int
        Seed of the augmentation.
    """

    def __init__(
        self,
        root: str,
        split_file: str,
        depth_scale: float,
        camera: dict[str, float],
        input_size: tuple[int, int],
        output_size: tuple[int, int],
        depth_limit: float = 10.0,
        augmentation: Augmentation | None = None,
        extra: dict[str, Any] | list[dict[str, Any]] | None = None,
        batch_size: int = 16,
        workers: int = 1,
        held_out: float = 0.1,
        seed: int = 0,
        device: str = "cpu",
    ):
        super().__init__()
        if device not in ("cpu", "gpu"):
            raise ValueError(f"data.device must be cpu or gpu, got {device!r}")
        if device == "gpu" and augmentation is None:
            raise ValueError("data.device gpu is for frames that are augmented: give data.augmentation, or device cpu")
        self.save_hyperparameters(ignore=["augmentation"])
        self.augmentation = augmentation

    def setup(self, stage: str | None = None) -> None:
        """Read the split and the frames."""
        p = self.hparams
        root = Path(p.root)
        if not root.exists():
            raise ValueError(f"data folder {root} does not exist; give --data.root the folder with rgb/ and depth/")
        # Validation compares with the stored depth, as the evaluation does.
        common = {"depth_limit": p.depth_limit, "camera": camera_of(p.camera), "input_size": tuple(p.input_size)}
        training = {"output_size": tuple(p.output_size), "augmentation": self.augmentation, "seed": p.seed}
        extra = [p.extra] if isinstance(p.extra, dict) else list(p.extra or [])
        self.extra_frames, self._shares = [], [e.get("share", 0.0) for e in extra]
        self._on_device: DeviceFrames | None = None
        if (root / "shards").is_dir():
            if p.device == "gpu":
                raise ValueError("shards are streamed, not kept in a GPU's memory: set data.device to cpu")
            if extra:
                raise ValueError("an extra set is mixed with folders, not with shards; prepare one set of both")
            self._setup_shards(root, FrameTransform(**common, **training), FrameTransform(**common))
            return
        labelled = root.suffix == ".mat"
        names = split_names((root.parent if labelled else root) / p.split_file, "train")
        train, held = hold_out(names, p.held_out)
        if labelled:
            from training.data.nyu_labelled import NyuLabelled

            self.train_frames = NyuLabelled(root, train, **common, **training)
            self.held_frames = NyuLabelled(root, held, **common)
        else:
            self.train_frames = PreparedFolder(root, train, p.depth_scale, **common, **training)
            self.held_frames = PreparedFolder(root, held, p.depth_scale, **common)
        options = {**common, **training}
        first = options.pop("camera")
        self.extra_frames = [open_extra(e, first, **options) for e in extra]

    def _setup_shards(self, root: Path, training: FrameTransform, validation: FrameTransform) -> None:
        shards = shards_of(root, "train")
        scenes = list(dict.fromkeys(shards.values()))
        share = self.hparams.held_out
        taken = sample_evenly(scenes, max(1, round(len(scenes) * share))) if share else []
        train, held = ([s for s, scene in shards.items() if (scene in taken) == side] for side in (False, True))
        if not train:
            raise ValueError(f"{root} has too few scenes to hold some of them out; set data.held_out to 0")
        batch = self.hparams.batch_size, SHUFFLE_BUFFER
        self.train_frames = ShardedFrames(root, train, training, *batch, *self._process())
        self.held_frames = ShardedFrames(root, held, validation)

    def _process(self) -> tuple[int, int]:
        """Return the rank of this process and the number of processes in a distributed training."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def train_dataloader(self) -> DataLoader:
        """Return shuffled batches of augmented training frames."""
        # Made for each epoch, whose number seeds order and augmentation, so that a resumed run sees the same frames.
        epoch = self.trainer.current_epoch if self.trainer else 0
        generator = torch.Generator().manual_seed(self.hparams.seed + 1000 * epoch)
        common = (self.hparams.input_size, self.hparams.output_size, self.hparams.batch_size, self.hparams.workers)
        options = {"generator": generator, "drop_last": True, "pin_memory": torch.cuda.is_available()}
        sets = self._sets()
        for frames in sets:
            frames.transform.epoch = epoch
        if isinstance(self.train_frames, ShardedFrames):  # it shuffles and distributes by itself
            return frame_loader(self.train_frames, *common, **options)
        kept = self.hparams.device == "gpu"
        first, *others = (Draws(frames, i) for i, frames in enumerate(sets)) if kept else sets
        parts = [first]
        for extra, share in zip(self.extra_frames, self._shares, strict=True):
            of_extra = ConcatDataset([others.pop(0) for _ in extra.datasets])
            parts.append(Subset(of_extra, drawn(round(share * len(first)), len(of_extra), generator)))
        frames = ConcatDataset(parts) if len(parts) > 1 else first
        # Drawn here: in the loader, the order would depend on the number of iterators made, which is higher after
        # resuming.
        frames = Subset(frames, torch.randperm(len(frames), generator=generator).tolist())
        # Distributed in turn: the batches of all processes form the batch that a single process would have.
        rank, world = self._process()
        if len(frames) < world * self.hparams.batch_size:
            needed = self.hparams.batch_size
            needed = f"{needed} for each of {world} processes" if world > 1 else needed
            raise ValueError(f"{self.hparams.root}: {len(frames)} training frames do not make a batch of {needed}")
        dealt = DistributedSampler(frames, world, rank, shuffle=False, drop_last=True)
        if kept:
            return DataLoader(frames, common[2], sampler=dealt, **workers_of(common[3]), **options)
        return frame_loader(frames, *common, sampler=dealt, **options)

    def on_after_batch_transfer(self, batch: dict[str, torch.Tensor], dataloader_idx: int) -> dict[str, torch.Tensor]:
        """Make a batch of augmented frames on the device of the training, if the frames are kept there."""
        if "place" not in batch:
            return batch
        if self._on_device is None:
            self._on_device = DeviceFrames(self._sets(), batch["place"].device)
        return self._on_device(batch)

    def _sets(self) -> list[Dataset]:
        """Return the sets of one camera each: the first set, and those of the extra sets."""
        return [self.train_frames, *(part for extra in self.extra_frames for part in extra.datasets)]

    def val_dataloader(self) -> DataLoader | list:
        """Return the loader of the held-out frames, or an empty list if none are held out."""
        return DataLoader(self.held_frames, self.hparams.batch_size) if len(self.held_frames) else []


def hold_out(names: list[str], share: float) -> tuple[list[str], list[str]]:
    """
    Split names into training names and evenly spread runs of consecutive held-out names.

    Parameters
    ----------
    names : list of str
        Names in the order of the dataset, in which neighbours show the same scene.
    share : float
        Fraction to hold out, 0 to 0.5.

    Returns
    -------
    train, held : list of str
        Disjoint lists that together contain all names, in order.
    """
    if not 0 <= share <= 0.5:
        raise ValueError(f"held_out must lie between 0 and 0.5, got {share}")
    stretch = len(names) / HELD_OUT_RUNS
    held = [n for i, n in enumerate(names) if i % stretch < stretch * share]
    taken = set(held)
    return [n for n in names if n not in taken], held
