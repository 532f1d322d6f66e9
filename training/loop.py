"""Training loop: network, weighted losses and optimiser as a LightningModule."""

from __future__ import annotations

from collections.abc import Sized
from itertools import zip_longest
from typing import Any

import lightning
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch.nn import functional as F
from torch.utils.data import IterableDataset

from depth_estimation_ros.evaluation.metrics import DepthMetrics
from training.losses import LOSSES
from training.models import build_network
from training.protocols import PROTOCOLS


class DepthTask(lightning.LightningModule):
    """
    Supervised depth estimation.

    Parameters
    ----------
    network : dict
        ``name`` of a network in `training.models.NETWORKS`, and its options. The network takes uint8 [N, H, W, 3] RGB
        and returns ``depth``, float32 [N, 1, h, w] metres.
    losses : dict
        Weight of each loss by its name in `training.losses.LOSSES`.
    optimizer : callable
        Function that makes the optimiser from the parameters.
    schedule : {"one_cycle", "plateau", "constant"}
        Learning rate. ``one_cycle``: warm-up and cosine decay over the whole run (Smith 2018). ``plateau``: divided by
        ten whenever ``val/abs_rel`` has not fallen for ``patience`` validations. ``constant``: fixed.
    warm_up : float
        Fraction of a one-cycle run in which the learning rate rises.
    patience : int
        Number of validations for ``plateau``.
    encoder_rate : float
        Learning rate of the encoder, as a factor of the learning rate of the other layers.
    channels_last : bool
        Store weights and images in channels-last memory format, which makes convolutions faster.
    compile : bool
        Compile the network with ``torch.compile`` when training starts.

    Raises
    ------
    ValueError
        If a loss, the network or the schedule is unknown, or ``encoder_rate`` is negative or the network has no
        encoder.
    """

    def __init__(
        self,
        network: dict[str, Any],
        losses: dict[str, float],
        optimizer: OptimizerCallable = torch.optim.AdamW,
        schedule: str = "one_cycle",
        warm_up: float = 0.1,
        patience: int = 3,
        encoder_rate: float = 1.0,
        channels_last: bool = True,
        compile: bool = False,
    ):
        super().__init__()
        if unknown := sorted(set(losses) - set(LOSSES)):
            raise ValueError(f"unknown losses {unknown}; known are {sorted(LOSSES)}")
        if schedule not in ("one_cycle", "plateau", "constant"):
            raise ValueError(f"schedule must be one_cycle, plateau or constant, got {schedule!r}")
        if not encoder_rate >= 0:
            raise ValueError(f"encoder_rate must be at least 0, got {encoder_rate}")
        self.save_hyperparameters(ignore=["optimizer"])
        self.network = build_network(**network)
        if encoder_rate != 1 and not hasattr(self.network, "encoder"):
            raise ValueError(f"network {network['name']!r} has no encoder to give an encoder_rate")
        if channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.losses, self.optimizer, self.schedule = losses, optimizer, schedule
        self.warm_up, self.patience, self.compiled, self.encoder_rate = warm_up, patience, compile, encoder_rate
        self.held_out = DepthMetrics()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the network on uint8 [N, H, W, 3] RGB; ``depth`` of the result is [N, 1, h, w] in metres."""
        return self.network(image)

    def training_step(self, batch: dict[str, torch.Tensor], _index: int) -> torch.Tensor:
        """Return the weighted loss of a batch, computed at the size of its ground truth."""
        output = resized(self(batch["image"]), batch["depth"].shape[-2:])
        total, terms = self.loss(output, batch["depth"])
        epoch_mean = {"on_step": False, "on_epoch": True, "sync_dist": True, "logger": False}
        self.log_dict({f"train/{name}": value for name, value in terms.items()}, **epoch_mean)
        self.log("train/loss", total, prog_bar=True, **epoch_mean)
        return total

    def loss(self, output: dict[str, torch.Tensor], truth: torch.Tensor) -> tuple[torch.Tensor, dict]:
        """Return the weighted sum of the losses and each loss by name. Output and ground truth have the same size."""
        terms = {name: LOSSES[name](output, truth) for name in self.losses}
        return sum(weight * terms[name] for name, weight in self.losses.items()), terms

    def on_fit_start(self) -> None:
        """Compile in place, so that weights keep their names, and after averaging callbacks have copied the network."""
        self.seed = torch.initial_seed()
        if self.compiled:
            self.network.compile()

    def on_train_epoch_start(self) -> None:
        """Seed by epoch and process, so that dropout in a resumed run is the same as in an uninterrupted one."""
        torch.manual_seed(self.seed + self.trainer.current_epoch * self.trainer.world_size + self.trainer.global_rank)

    def on_train_epoch_end(self) -> None:
        """Write the losses of the epoch before its checkpoint, so that a killed run has curves up to its checkpoint."""
        metrics = self.trainer.callback_metrics
        losses = {name: value.item() for name, value in metrics.items() if name.startswith("train/")}
        for logger in self.loggers:
            logger.log_metrics({**losses, "epoch": self.current_epoch}, step=self.global_step)
            logger.save()

    def on_validation_epoch_start(self) -> None:
        """Clear the frames of the last validation."""
        self.held_out = DepthMetrics()

    def validation_step(self, batch: dict[str, torch.Tensor], _index: int) -> None:
        """Add a batch of held-out frames: metrics at the size of the ground truth, the loss at that of the network."""
        truth, output = batch["depth"], self(batch["image"])
        small = F.interpolate(truth, output["depth"].shape[-2:], mode="nearest-exact")
        depth = resized({"depth": output["depth"]}, truth.shape[-2:])["depth"]
        for i, (d, g) in enumerate(zip(depth[:, 0].cpu().numpy(), truth[:, 0].cpu().numpy(), strict=True)):
            d, mask = PROTOCOLS["eigen"].compared(d, g)
            loss, _ = self.loss({name: value[i : i + 1] for name, value in output.items()}, small[i : i + 1])
            self.held_out.add(d, g, mask)["loss"] = loss.item()

    def on_validation_epoch_end(self) -> None:
        """Log the mean of the per-image metrics over the frames of all processes."""
        if self.trainer.world_size > 1:
            self._gather_held_out()
        means = self.held_out.mean()
        if rows := self.held_out.per_image:
            means["loss"] = sum(row["loss"] for row in rows) / len(rows)
        shown = ("abs_rel", "delta1")
        for name, value in means.items():
            self.log(f"val/{name}", value, prog_bar=name in shown, sync_dist=True)

    def _gather_held_out(self) -> None:
        """Collect the frames of all processes, in the order of a single process."""
        frames = getattr(self.trainer.val_dataloaders, "dataset", None)
        if isinstance(frames, IterableDataset):
            return  # a stream is not distributed: each process has seen all of it
        parts: list[list] = [[] for _ in range(self.trainer.world_size)]
        torch.distributed.all_gather_object(parts, self.held_out.per_image)
        # Frames were distributed in turn. The last round was filled up with repeated frames, which are cut off here.
        rows = [row for turn in zip_longest(*parts) for row in turn if row is not None]
        self.held_out.per_image = rows[: len(frames)] if isinstance(frames, Sized) else rows

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the names of the optimisers with their states, for the model card."""
        checkpoint["optimizer_names"] = [type(optimizer).__name__ for optimizer in self.trainer.optimizers]

    def configure_optimizers(self) -> dict:
        """Return the optimiser and the schedule of its learning rate."""
        optimizer = self._make_optimizer()
        if self.schedule == "constant":
            return {"optimizer": optimizer}
        if self.schedule == "plateau":
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=self.patience)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val/abs_rel"}}
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=self.trainer.estimated_stepping_batches,
            pct_start=self.warm_up,
            cycle_momentum=False,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _make_optimizer(self) -> torch.optim.Optimizer:
        if self.encoder_rate == 1:
            return self.optimizer(self.parameters())
        encoder = list(self.network.encoder.parameters())
        other = set(map(id, encoder))
        groups = [{"params": [p for p in self.parameters() if id(p) not in other]}, {"params": encoder}]
        optimizer = self.optimizer(groups)
        optimizer.param_groups[1]["lr"] *= self.encoder_rate
        return optimizer


def resized(output: dict[str, torch.Tensor], size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """
    Interpolate the output of a network to the size of the ground truth.

    Parameters
    ----------
    output : dict
        Maps [N, C, h, w]; a value for the whole map, [N, C, 1, 1], is left as it is.
    size : tuple of int
        (height, width).

    Returns
    -------
    dict
        The same maps, [N, C, *size].
    """
    return {
        name: value if value.shape[-2:] in (size, (1, 1)) else F.interpolate(value, size, mode="bilinear")
        for name, value in output.items()
    }
