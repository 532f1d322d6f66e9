"""The training loop: a network, weighted losses, an optimiser; everything else is Lightning's."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch.nn import functional as F

from depth_estimation_ros.evaluation.metrics import DepthMetrics, eigen_crop_mask
from training.losses import LOSSES
from training.models import build_network

# The Eigen protocol clamps predictions to this range, in metres.
NEAR, FAR = 1e-3, 10.0


class DepthTask(lightning.LightningModule):
    """
    Supervised depth estimation.

    Parameters
    ----------
    network : dict
        ``name`` of a network of `training.models.NETWORKS` and its options; it takes uint8 [N, H, W, 3] RGB and
        gives ``depth``, float32 [N, 1, h, w] metres.
    losses : dict
        Weight of each loss of `training.losses.LOSSES`.
    optimizer : callable
        Makes the optimiser from the parameters.
    schedule : {"one_cycle", "plateau", "constant"}
        Learning rate: warm-up and cosine decay over the whole run (Smith 2018), a tenth whenever ``val/abs_rel``
        has not fallen for ``patience`` validations, or fixed.
    warm_up : float
        Share of a one-cycle run in which the rate rises.
    patience : int
        For ``plateau``.

    Raises
    ------
    ValueError
        If a loss or the network is not known.
    """

    def __init__(
        self,
        network: dict[str, Any],
        losses: dict[str, float],
        optimizer: OptimizerCallable = torch.optim.AdamW,
        schedule: str = "one_cycle",
        warm_up: float = 0.1,
        patience: int = 3,
    ):
        super().__init__()
        if unknown := sorted(set(losses) - set(LOSSES)):
            raise ValueError(f"unknown losses {unknown}; known are {sorted(LOSSES)}")
        if schedule not in ("one_cycle", "plateau", "constant"):
            raise ValueError(f"schedule must be one_cycle, plateau or constant, got {schedule!r}")
        self.save_hyperparameters(ignore=["optimizer"])
        self.network = build_network(**network).to(memory_format=torch.channels_last)
        self.losses, self.optimizer, self.schedule = losses, optimizer, schedule
        self.warm_up, self.patience = warm_up, patience
        self.held_out = DepthMetrics()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the network on uint8 [N, H, W, 3]; ``depth`` of the result is [N, 1, h, w] metres."""
        return self.network(image)

    def training_step(self, batch: dict[str, torch.Tensor], _index: int) -> torch.Tensor:
        """Return the weighted loss of a batch."""
        output = self(batch["image"])
        terms = {name: LOSSES[name](output, batch["depth"]) for name in self.losses}
        total = sum(weight * terms[name] for name, weight in self.losses.items())
        self.log_dict({f"train/{name}": value for name, value in terms.items()}, on_step=False, on_epoch=True)
        self.log("train/loss", total, prog_bar=True, on_step=False, on_epoch=True)
        return total

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation's frames."""
        self.held_out = DepthMetrics()

    def validation_step(self, batch: dict[str, torch.Tensor], _index: int) -> None:
        """Add a batch of held-out frames, at the size of their truth."""
        truth = batch["depth"]
        depth = F.interpolate(self(batch["image"])["depth"], truth.shape[-2:], mode="bilinear").clamp(NEAR, FAR)
        for d, g in zip(depth[:, 0].cpu().numpy(), truth[:, 0].cpu().numpy(), strict=True):
            self.held_out.add(d, g, eigen_crop_mask(g))

    def on_validation_epoch_end(self) -> None:
        """Log the means of the per-image metrics."""
        means = self.held_out.mean()
        shown = ("abs_rel", "delta1")
        for name, value in means.items():
            self.log(f"val/{name}", value, prog_bar=name in shown)

    def configure_optimizers(self) -> dict:
        """Return the optimiser and the schedule of its learning rate."""
        optimizer = self.optimizer(self.parameters())
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
