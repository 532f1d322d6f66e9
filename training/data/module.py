"""The data of a training: a prepared set, its training frames, and a held-out part of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, DistributedSampler, Subset

from depth_estimation_ros.camera import PinholeCamera
from training.data.association import sample_evenly
from training.data.augment import Augmentation
from training.data.batches import frame_loader
from training.data.folder import PreparedFolder, split_names
from training.data.frames import FrameTransform
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
        See `training.data.folder.split_names`; relative to ``root``. Shards have their splits in their index.
    depth_scale, depth_limit : float
        Metres per unit of the depth images (not used for shards and the ``.mat``, which define theirs); depth in
        metres from which they are saturated.
    camera : dict
        ``width, height, fx, fy, cx, cy`` of the stored images, in pixels.
    input_size, output_size : tuple of int
        (height, width) of the network's input and output.
    augmentation : Augmentation, optional
        For the training frames.
    batch_size, workers : int
        Frames in a batch of each process of the training; processes that load them.
    extra : dict or list of dict, optional
        Further prepared folders: ``root``, ``depth_scale``, and ``share``, how many of its frames an epoch adds to each
        frame of the first, e.g. 0.5; optionally ``split_file``, ``depth_limit`` and ``camera``, see
        `training.data.mixing.open_extra`. They may be of other cameras.
    device : {"cpu", "gpu"}
        Where frames are augmented: by the loader's processes, or where the network is trained, with all frames kept in
        its memory and by the same numbers. The latter does not starve a GPU; it is not for shards.
    held_out : float
        Share of the training frames kept for validation: whole runs of consecutive frames, so that a scene is
        seldom on both sides. 0 trains on all and does not validate.
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
        size = {k: int(p.camera[k]) for k in ("width", "height")}
        camera = PinholeCamera(**{**p.camera, **size})
        # Validation is held against the stored depth, as the evaluation is.
        common = {"depth_limit": p.depth_limit, "camera": camera, "input_size": tuple(p.input_size)}
        training = {"output_size": tuple(p.output_size), "augmentation": self.augmentation, "seed": p.seed}
        extra = [p.extra] if isinstance(p.extra, dict) else list(p.extra or [])
        self.extra_frames, self._shares = [], [e.get("share") for e in extra]
        self._on_device = None
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
        """Return the number of this process and of all in a distributed training."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def train_dataloader(self) -> DataLoader:
        """Return shuffled batches of augmented training frames."""
        # Made anew each epoch, whose number seeds order and augmentation: a resumed run sees the same frames.
        epoch = self.trainer.current_epoch if self.trainer else 0
        generator = torch.Generator().manual_seed(self.hparams.seed + 1000 * epoch)
        common = (self.hparams.input_size, self.hparams.output_size, self.hparams.batch_size, self.hparams.workers)
        options = {"generator": generator, "drop_last": True, "pin_memory": torch.cuda.is_available()}
        sets = self._sets()
        for frames in sets:
            frames.transform.epoch = epoch
        if isinstance(self.train_frames, ShardedFrames):  # it shuffles and deals out by itself
            return frame_loader(self.train_frames, *common, **options)
        kept = self.hparams.device == "gpu"
        first, *others = (Draws(frames, i) for i, frames in enumerate(sets)) if kept else sets
        parts = [first]
        for extra, share in zip(self.extra_frames, self._shares, strict=True):
            of_extra = ConcatDataset([others.pop(0) for _ in extra.datasets])
            parts.append(Subset(of_extra, drawn(round(share * len(first)), len(of_extra), generator)))
        frames = ConcatDataset(parts) if len(parts) > 1 else first
        # Drawn once: left to the loader, it would depend on how many iterators were made, one more when resuming.
        frames = Subset(frames, torch.randperm(len(frames), generator=generator).tolist())
        # Dealt out in turn: a batch of each process makes the batch that one alone would have of them all.
        rank, world = self._process()
        if len(frames) < world * self.hparams.batch_size:
            needed = self.hparams.batch_size
            needed = f"{needed} for each of {world} processes" if world > 1 else needed
            raise ValueError(f"{self.hparams.root}: {len(frames)} training frames do not make a batch of {needed}")
        dealt = DistributedSampler(frames, world, rank, shuffle=False, drop_last=True)
        if kept:
            return DataLoader(frames, common[2], sampler=dealt, num_workers=common[3], **options)
        return frame_loader(frames, *common, sampler=dealt, **options)

    def on_after_batch_transfer(self, batch: dict[str, torch.Tensor], dataloader_idx: int) -> dict[str, torch.Tensor]:
        """Make a batch of frames of what was drawn for them, where they are kept on the training's device."""
        if "place" not in batch:
            return batch
        if self._on_device is None:
            self._on_device = DeviceFrames(self._sets(), batch["place"].device)
        return self._on_device(batch)

    def _sets(self) -> list[Dataset]:
        """Return every set of one camera: the first, and those of the extra ones."""
        return [self.train_frames, *(part for extra in self.extra_frames for part in extra.datasets)]

    def val_dataloader(self) -> DataLoader | list:
        """Return the held-out frames, or nothing where none are held out."""
        return DataLoader(self.held_frames, self.hparams.batch_size) if len(self.held_frames) else []


def hold_out(names: list[str], share: float) -> tuple[list[str], list[str]]:
    """
    Split names into those to train on and evenly spread runs of consecutive ones to hold out.

    Parameters
    ----------
    names : list of str
        In the dataset's order, in which neighbours show the same scene.
    share : float
        Share to hold out, 0 to 0.5.

    Returns
    -------
    train, held : list of str
        Disjoint; together all names, in order.
    """
    if not 0 <= share <= 0.5:
        raise ValueError(f"held_out must lie between 0 and 0.5, got {share}")
    stretch = len(names) / HELD_OUT_RUNS
    held = [n for i, n in enumerate(names) if i % stretch < stretch * share]
    taken = set(held)
    return [n for n in names if n not in taken], held
