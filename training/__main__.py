"""``python -m training fit --config training/recipes/demo.yaml``: train a network from a recipe."""

from __future__ import annotations

import logging
import sys

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from training.data.module import DepthData
from training.loop import DepthTask


class TrainingCLI(LightningCLI):
    """Lightning's command line, with what is the same for every recipe."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Set defaults that a recipe may override."""
        parser.set_defaults({"trainer.reload_dataloaders_every_n_epochs": 1, "trainer.log_every_n_steps": 10})


def main() -> None:
    """Run the command line; a user's mistake ends with one sentence."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        TrainingCLI(DepthTask, DepthData, seed_everything_default=0, save_config_kwargs={"overwrite": True})
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"training: {error}")


if __name__ == "__main__":
    main()
