"""An average of weights is as good in evaluation as in training: its batch normalisation has statistics of its own."""

import lightning
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from lightning.pytorch.callbacks import EMAWeightAveraging  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from training.averaging import AveragedWeights  # noqa: E402
from training.loop import DepthTask  # noqa: E402
from training.models.__main__ import RECIPES  # noqa: E402

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def averaging_recipes():
    """Return every recipe that averages weights, with the class and the options of its callback."""
    found = {}
    for path in sorted(RECIPES.glob("*.yaml")):
        recipe = yaml.safe_load(path.read_text())
        for callback in recipe["trainer"]["callbacks"]:
            if "verag" in callback["class_path"]:
                found[path.stem] = recipe, callback
    return found


def walls(count=16, size=(64, 64)):
    """Return walls that are the brighter the nearer they are."""
    rng = np.random.default_rng(0)
    frames = []
    for metres in rng.uniform(1, 8, count):
        image = np.clip(rng.normal(255 / metres, 8, (*size, 3)), 0, 255).astype(np.uint8)
        frames.append({"image": torch.from_numpy(image), "depth": torch.full((1, 32, 32), float(metres))})
    return frames


def loss_of(network, mode):
    """Return the mean difference of the logarithms on the walls, with statistics of the batch or of the network."""
    network.train(mode)
    (batch,) = DataLoader(walls(), 16)
    with torch.no_grad():
        depth = network(batch["image"])["depth"]
    return (depth.log() - batch["depth"].mean((2, 3), keepdim=True).log()).abs().mean().item()


def fitted(recipe, averaging):
    """Train a recipe's network with a narrow decoder for 24 steps."""
    lightning.seed_everything(0)
    options = {**recipe["model"]["network"], "pretrained": None, "decoder_channels": [16, 16, 8, 8, 8]}
    task = DepthTask(options, recipe["model"]["losses"], lambda p: torch.optim.AdamW(p, 3e-3), "constant")
    # All walls at once, so that statistics of a batch are those of the set.
    loader = DataLoader(walls(), 16)
    lightning.Trainer(max_epochs=24, accelerator="cpu", callbacks=[averaging], **QUIET).fit(task, loader)
    return task.network


def test_every_recipe_that_averages_estimates_the_statistics_anew():
    recipes = averaging_recipes()
    assert set(recipes) >= {"demo", "lite2"}
    for _, callback in recipes.values():
        assert callback["class_path"] == "training.averaging.AveragedWeights"
        AveragedWeights(**callback["init_args"])


# As a long training has it at its end, the average holds a tenth of the first steps.
SHORT = {"decay": 0.9, "update_every_n_steps": 1}


@pytest.mark.parametrize("name", averaging_recipes())
def test_an_averaged_network_evaluates_as_well_as_it_trains(name):
    recipe, callback = averaging_recipes()[name]
    network = fitted(recipe, AveragedWeights(**{**callback["init_args"], **SHORT}))
    evaluated, trained = loss_of(network, False), loss_of(network, True)
    assert evaluated < 1.1 * trained + 0.02


def test_with_averages_of_running_statistics_it_does_not():
    """What the test above guards against happens with Lightning's own average."""
    network = fitted(averaging_recipes()["demo"][0], EMAWeightAveraging(**SHORT))
    evaluated, trained = loss_of(network, False), loss_of(network, True)
    assert evaluated > 1.1 * trained + 0.02


def test_statistics_are_those_of_the_network_without_dropout():
    """In evaluation, each normalised map of the last batches has the mean and the variance that it was given."""
    torch.manual_seed(0)
    averaging = AveragedWeights(0.5)
    options = {"name": "up_projection", "encoder": "resnet18", "encoder_blocks": [1, 1, 1, 1], "dropout": 0.5}
    task = DepthTask({**options, "decoder_channels": [8] * 5}, {"l1": 1.0}, schedule="constant")
    frames = walls(8)
    lightning.Trainer(max_epochs=2, accelerator="cpu", callbacks=[averaging], **QUIET).fit(task, DataLoader(frames, 8))
    seen = {}
    norm = task.network.bottleneck[2]
    norm.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    task.network.eval()
    with torch.inference_mode():
        task.network(torch.stack([frame["image"] for frame in frames]))
    mean, variance = seen["x"].mean((0, 2, 3)), seen["x"].var((0, 2, 3))
    # The layers before it normalise by the batch in one case, by its unbiased variance in the other.
    torch.testing.assert_close(variance, norm.running_var, rtol=0.15, atol=0)
    assert ((mean - norm.running_mean).abs() < 0.15 * variance.sqrt()).all()
