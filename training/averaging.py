"""An average of the weights whose batch normalisation has the statistics of that average."""

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
    Exponential average of the weights, with the statistics of batch normalisation estimated anew for it.

    An average of running statistics belongs to no network: it holds a share of those of the first steps, and those of
    weights that the average never had. So before the average is validated, saved or returned, its statistics are
    estimated on the last batches of the epoch, as they were trained on (Izmailov et al., UAI 2018, section 3.2).

    Parameters
    ----------
    decay : float
        Share of the average that each update keeps.
    update_every_n_steps : int
        Steps from one update to the next.
    batches : int
        How many batches the statistics are estimated on; those of the epoch where it has fewer.
    """

    def __init__(self, decay: float = 0.999, update_every_n_steps: int = 1, batches: int = 30):
        super().__init__(use_buffers=False, decay=decay, update_every_n_steps=update_every_n_steps)
        self._images: deque[torch.Tensor] = deque(maxlen=batches)
        self._estimated_at = -1

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forget the last epoch's batches: a resumed run has none of them either."""
        self._images.clear()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average, and keep the batch's images."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        # A copy: the batch's memory is wanted for the next.
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
        """Leave the average in place of the last weights."""
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
    """A network of which only batch normalisation is ever in training mode: dropout changes its statistics."""

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
