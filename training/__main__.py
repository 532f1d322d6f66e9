"""``python -m training fit --config training/recipes/demo.yaml``: train a network from a recipe."""

from __future__ import annotations

import logging
import sys
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from training.checkpoint import WholeCheckpoints, check_resumable
from training.data.module import DepthData
from training.loop import DepthTask
from training.transfer import transfer


class TrainingCLI(LightningCLI):
    """Lightning's command line, with the settings that all recipes share."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``--init-from``, and set defaults that a recipe may override."""
        parser.set_defaults({"trainer.reload_dataloaders_every_n_epochs": 1, "trainer.log_every_n_steps": 10})
        parser.add_argument("--init-from", type=str | None, help="start with the weights of this checkpoint that fit")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer. Checkpoints are written by `WholeCheckpoints` unless the recipe names another plugin."""
        if not self._get(self.config_init, "trainer").get("plugins"):
            kwargs["plugins"] = [WholeCheckpoints()]
        return super().instantiate_trainer(**kwargs)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line, and check a named checkpoint before anything reads it."""
        super().parse_arguments(parser, args)
        subcommand = self.config.get("subcommand")
        resumed = subcommand and self.config[subcommand].get("ckpt_path")
        if resumed and self.config[subcommand].get("init_from"):
            raise ValueError("give --init-from to start a new training or --ckpt_path to resume one, not both")
        # Lightning resolves "last", "best" and the like.
        if resumed and str(resumed).endswith(".ckpt"):
            check_resumable(resumed)

    def before_fit(self) -> None:
        """Load initial weights from another training."""
        if source := self._get(self.config, "init_from"):
            print(transfer(self.model.network, source), flush=True)


def main() -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        TrainingCLI(DepthTask, DepthData, seed_everything_default=0, save_config_kwargs={"overwrite": True})
    except (ValueError, OSError) as error:
        sys.exit(f"training: {error}")


if __name__ == "__main__":
    main()
