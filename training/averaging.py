"""Average of the weights, with statistics of batch normalisation estimated for that average."""

from __future__ import annotations

from collections import deque
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn


class AveragedWeights(EMAWeightAveraging):
    """
    Exponential average of the weights, with the statistics of batch normalisation estimated again for it.

    An average of running statistics does not fit the averaged weights: it contains statistics of the first steps, and
    of weights other than the average. Before the average is validated, saved or returned, its statistics are therefore
    estimated on the last augmented training batches of the epoch (Izmailov et al., UAI 2018, section 3.2).

    Parameters
    ----------
    decay : float
        Fraction of the average that each update keeps.
    update_every_n_steps : int
        Number of steps between updates.
    batches : int
        Number of batches for estimating the statistics; all of the epoch if it has fewer.
    """

    def __init__(self, decay: float = 0.999, update_every_n_steps: int = 1, batches: int = 30):
        super().__init__(use_buffers=False, decay=decay, update_every_n_steps=update_every_n_steps)
        self._images: deque[torch.Tensor] = deque(maxlen=batches)
        self._estimated_at = -1

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Clear the batches of the last epoch, because a resumed run does not have them."""
        self._images.clear()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average, and keep the images of the batch."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        # A copy, because the next batch reuses the memory of this one.
        self._images.append(batch["image"].clone())

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Validate the average."""
        self._estimate(trainer)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average."""
        self._estimate(trainer)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Replace the last weights by the average."""
        self._estimate(trainer)
        super().on_train_end(trainer, pl_module)

    def _estimate(self, trainer: lightning.Trainer) -> None:
        if self._average_model is None or not self._images or self._estimated_at == trainer.global_step:
            return
        network = self._average_model.module.network
        with trainer.precision_plugin.forward_context():
            update_bn(self._images, _Evaluated(network))
        if trainer.world_size > 1:
            for layer in _normalisations(network):
                for statistic in (layer.running_mean, layer.running_var):
                    statistic.copy_(trainer.strategy.reduce(statistic, reduce_op="mean"))
        self._estimated_at = trainer.global_step


class _Evaluated(nn.Module):
    """Network with only batch normalisation in training mode, because dropout would change its statistics."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def train(self, mode: bool = True) -> _Evaluated:
        self.training = mode
        self.network.eval()
        for layer in _normalisations(self.network):
            layer.train(mode)
        return self

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.network(image)


def _normalisations(network: nn.Module) -> list[_BatchNorm]:
    return [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
