"""
Comparisons of the study, and their budgets.

The study is "Depth Estimation from Single Image Using CNN-Residual Network" by Tăng Hoài Duy and Phạm Hà Văn Đông
(Industrial University of Ho Chi Minh City, in Vietnamese). It follows Laina et al. 2016, and a report of the same title
by Ma, Geng and Bie (Stanford CS231n, 2017). A training is a recipe of `training/recipes` with options. An experiment
compares several trainings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.experiments.findings import Finding, losses_findings, table1_findings, table3_findings, table4_findings

RECIPES = Path(__file__).resolve().parents[1] / "recipes"

# At the smaller scales, every training runs for its full number of epochs, so that the curves show over-fitting.
_CHECKPOINTS = [
    {
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {**kept, "enable_version_counter": False, "save_on_train_epoch_end": True},
    }
    for kept in ({"monitor": "val/abs_rel", "filename": "best"}, {"filename": "last"})
]
_ON_A_CPU = {
    "trainer.accelerator": "cpu",
    "trainer.precision": "bf16-mixed",
    "trainer.callbacks": _CHECKPOINTS,
    "data.workers": 1,
    "data.batch_size": 8,
}
# With few frames and random weights, every network would memorise the frames within ten epochs without augmentation.
_EIGEN_AUGMENTATION = {
    "class_path": "training.data.augment.Augmentation",
    "init_args": {"zoom": [1.0, 1.5], "roll": 5.0, "colour": [0.8, 1.2], "flip": 0.5},
}
_SMALL_RESNET = {
    "model.network.encoder": "resnet18",
    "model.network.decoder_channels": [160, 96, 64, 32, 16],
    "model.network.pretrained": None,
}


@dataclass(frozen=True)
class Scale:
    """
    Budget of the trainings.

    Parameters
    ----------
    summary : str
        Description of the changes to the recipes, for the report.
    options : dict
        Options of every training.
    recipes : dict of dict
        Options of the trainings with a recipe, by recipe.
    imagenet : bool
        Whether the residual network starts from ImageNet weights, as in the study.
    """

    summary: str
    options: dict[str, Any] = field(default_factory=dict)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    imagenet: bool = False


def _shrunk(height: int, width: int, decoded: list[int]) -> dict[str, dict[str, Any]]:
    """Return options for images of a size; depth maps have a quarter of it, or ``decoded`` for the residual network."""
    quarter = [height // 4, width // 4]
    return {
        "cnn_fc": {
            "data.output_size": quarter,
            "model.network.input_size": [height, width],
            "model.network.output_size": quarter,
        },
        "pure_cnn": {"data.output_size": quarter},
        "cnn_transpose": {"data.output_size": quarter},
        "residual": {"data.output_size": decoded, **_SMALL_RESNET},
    }


SCALES = {
    "minutes": Scale(
        "images of 80x64, ResNet-18 with a narrow decoder from random weights, batches of 8, 5 epochs, no early "
        "stopping, bfloat16",
        {**_ON_A_CPU, "trainer.max_epochs": 5, "data.input_size": [64, 80]},
        _shrunk(64, 80, [32, 48]),
    ),
    "hours": Scale(
        "images of 160x120, ResNet-18 with a narrow decoder from random weights, batches of 8, 40 epochs with "
        "Eigen's augmentation, one cycle of the learning rate up to 5e-4 for a constant 1e-4, no early "
        "stopping, bfloat16",
        {
            **_ON_A_CPU,
            "trainer.max_epochs": 40,
            "data.input_size": [120, 160],
            "data.augmentation": _EIGEN_AUGMENTATION,
            "model.schedule": "one_cycle",
            "model.optimizer.init_args.lr": 5e-4,
        },
        _shrunk(120, 160, [64, 80]),
    ),
    "full": Scale("nothing: the recipes as they are, for a GPU", imagenet=True),
}


@dataclass(frozen=True)
class Training:
    """
    One network to train.

    Parameters
    ----------
    name : str
        Name of the folder.
    title : str
        Title in a report.
    recipe : str
        File of `RECIPES`, without suffix.
    options : dict
        Options of ``python -m training fit`` that differ from the recipe.
    start : tuple of (str, str), optional
        Option and training: the option is set to the best checkpoint of that training.
    rooms : bool
        Train on synthetic rooms instead of photographs.
    """

    name: str
    title: str
    recipe: str
    options: dict[str, Any] = field(default_factory=dict)
    start: tuple[str, str] | None = None
    rooms: bool = False


_RANDOM = {"model.network.pretrained": None}
# An encoder whose weights from ImageNet come with the extra `training`, so that no scale needs a download.
_FROM_IMAGENET = {
    "model.network.name": "up_projection",
    "model.network.encoder": "tf_efficientnet_lite0",
    "model.network.pretrained": "package",
}
_500_FRAMES = {"data.held_out": 0.371}  # of the 795, as many as in the study's table 4
ROOMS = Training("rooms", "synthetic rooms", "residual", _RANDOM, rooms=True)


def _loss(name: str, title: str, **network: Any) -> Training:
    options = {"model.losses": {name: 1.0}} | {f"model.network.{k}": v for k, v in network.items()}
    return Training(f"residual_{name}", title, "residual", options)


RESIDUAL = Training("residual", "CNN+Residual", "residual")
TRAININGS = {
    t.name: t
    for t in (
        Training("cnn_fc", "CNN+FC", "cnn_fc"),
        Training("pure_cnn", "Pure CNN", "pure_cnn"),
        Training("cnn_transpose", "CNN-transpose", "cnn_transpose"),
        RESIDUAL,
        Training("residual_average", "average unpooling", "residual", {"model.network.unpooling": "average"}),
        Training("residual_random", "random", "residual", _RANDOM),
        ROOMS,
        Training(
            "encoder_of_rooms", "encoder from rooms", "residual", _RANDOM, ("model.network.encoder_weights", "rooms")
        ),
        Training("all_of_rooms", "whole network from rooms", "residual", _RANDOM, ("init-from", "rooms")),
        # At an encoder rate of 0 only the decoder learns from rooms, so that only the decoder is transferred.
        Training(
            "decoder_on_rooms",
            "synthetic rooms, encoder from ImageNet",
            "residual",
            {**_FROM_IMAGENET, "model.encoder_rate": 0.0},
            rooms=True,
        ),
        Training("imagenet_random", "random decoder", "residual", {**_FROM_IMAGENET, **_500_FRAMES}),
        Training(
            "imagenet_decoder_of_rooms",
            "decoder from rooms",
            "residual",
            {**_FROM_IMAGENET, **_500_FRAMES},
            ("init-from", "decoder_on_rooms"),
        ),
        _loss("l1", "L1"),
        _loss("berhu", "berHu"),
        _loss("silog", "scale-invariant log"),
        _loss("laplace_nll", "Laplace likelihood", log_variance=True),
    )
}


@dataclass(frozen=True)
class Experiment:
    """
    A comparison of trainings.

    Parameters
    ----------
    title, question : str
        Title and question in the report.
    trainings : tuple of str
        Names of the trainings. The others are compared with the first.
    titles : dict
        Titles in the report that differ from those of the trainings.
    findings : callable
        Function that takes the results by name and returns a list of `Finding`.
    """

    title: str
    question: str
    trainings: tuple[str, ...]
    findings: Callable[[dict[str, Any]], list[Finding]]
    titles: dict[str, str] = field(default_factory=dict)


def experiments(scale: Scale) -> dict[str, Experiment]:
    """Return the experiments of a scale by name."""
    # If the residual network does not start from ImageNet weights, it is the randomly initialised one.
    random = ("residual_random", "residual") if scale.imagenet else ("residual",)
    titles = {"residual_random": "random", "residual": "encoder from ImageNet" if scale.imagenet else "random"}
    return {
        "table1": Experiment(
            "Four networks",
            "Which network estimates depth best, and which over-fits?",
            ("residual", "cnn_fc", "pure_cnn", "cnn_transpose"),
            table1_findings,
        ),
        "table3": Experiment(
            "Zero against average unpooling",
            "Does filling the holes of the unpooling with averages remove the grid that zeros leave?",
            ("residual", "residual_average"),
            table3_findings,
            {"residual": "zero unpooling"},
        ),
        "table4": Experiment(
            "Random against transferred initialisation",
            "What is gained by starting from weights learnt on other images?",
            (*random, "encoder_of_rooms", "all_of_rooms"),
            table4_findings,
            titles,
        ),
        "table4_imagenet": Experiment(
            "Random against transferred decoder, encoder from ImageNet in both",
            "What is gained by starting the up-projections from weights learnt elsewhere, as in table 4 of the study? "
            "The encoder is EfficientNet-Lite0 with weights from ImageNet in both, at every scale, and 500 of the 795 "
            "frames are trained on.",
            ("imagenet_random", "imagenet_decoder_of_rooms"),
            table4_findings,
        ),
        "losses": Experiment(
            "Losses",
            "Does another loss than the study's mean squared error estimate depth better?",
            ("residual", "residual_l1", "residual_berhu", "residual_silog", "residual_laplace_nll"),
            losses_findings,
            {"residual": "MSE"},
        ),
    }


# For orientation: AbsRel, RMSE in metres, log10 and the three deltas, as far as the paper gives them.
PUBLISHED = {
    "Eigen et al. 2014, coarse network, 120,000 frames": (0.228, 0.871, None, 0.618, None, None),
    "Laina et al. 2016, ResNet-50 + up-projection, 12,000 frames": (0.127, 0.573, 0.055, 0.811, 0.953, 0.988),
    "Liu et al. 2015 (DCNF), the 795 frames, encoder from ImageNet": (0.213, 0.759, None, 0.650, None, None),
    "Ladicky et al. 2014, the 795 frames": (None, None, None, 0.542, None, None),
}

# Tables of the study, by experiment: delta1, RMSE in metres and AbsRel, as printed there.
STUDY = {
    "table1": {
        "CNN+FC": ("0.307", "1.12", "3.4e5"),
        "CNN": ("0.195", "1.22", "1.2e6"),
        "CNN+trans": ("0.143", "1.23", "3.2e5"),
        "CNN+Res, 500 images": ("0.634", "1.74", "2.35e4"),
    },
    "table3": {
        "normal unpooling (zeros), 25 images": ("0.0537", "6.18", "1.28e6"),
        "average unpooling, 25 images": ("0.0557", "6.37", "1.27e6"),
    },
    "table4": {
        "random up-projections, encoder from ImageNet, 500 images": ("0.634", "1.74", "2.35e4"),
        "transferred up-projections, encoder from ImageNet, 500 images": ("0.729", "0.734", "1.43e6"),
    },
}
STUDY["table4_imagenet"] = STUDY["table4"]
