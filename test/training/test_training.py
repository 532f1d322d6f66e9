"""From a recipe to a checkpoint to an ONNX file, by the commands of the README, on a handful of made-up frames."""

import csv
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from commands import in_process, in_this_process

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

import lightning  # noqa: E402
import onnxruntime  # noqa: E402

from depth_estimation_ros import DepthEstimator  # noqa: E402
from training import __main__ as training  # noqa: E402
from training import export  # noqa: E402
from training.checkpoint import load_checkpoint  # noqa: E402
from training.data.module import DepthData, hold_out  # noqa: E402
from training.loop import DepthTask  # noqa: E402

ABOUT = ("--training-data", "sixteen walls", "--licence", "Apache-2.0")
RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"
RECIPE = RECIPES / "demo.yaml"


def assert_one_sentence(result, start):
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(start) and "Traceback" not in result.stderr, result.stderr


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Make sixteen pictures of a wall, brighter the nearer it is: something a network can learn."""
    root = tmp_path_factory.mktemp("frames")
    for name in ("rgb", "depth"):
        (root / name).mkdir()
    rng = np.random.default_rng(0)
    for i in range(16):
        metres = rng.uniform(1, 8)
        image = np.clip(rng.normal(255 / metres, 8, (240, 320, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / "rgb" / f"{i:04d}.jpg"), image)
        cv2.imwrite(str(root / "depth" / f"{i:04d}.png"), np.full((240, 320), metres * 25.5, np.uint8))
    (root / "split.txt").write_text("".join(f"{'test' if i > 13 else 'train'} {i:04d}\n" for i in range(16)))
    return root


@pytest.fixture(scope="module")
def recipe(frames, tmp_path_factory):
    """Return the demo model's recipe with a network of a few thousand weights and two epochs."""
    config = yaml.safe_load(RECIPE.read_text())
    config["model"]["network"].update(encoder_blocks=[1, 1, 1, 1], decoder_channels=[8, 8, 8, 8, 8])
    config["data"].update(root=str(frames), split_file="split.txt", batch_size=4, held_out=0.2, workers=0)
    del config["data"]["extra"]
    runs = tmp_path_factory.mktemp("runs")
    config["trainer"].update(max_epochs=2, check_val_every_n_epoch=1, default_root_dir=str(runs))
    config["trainer"]["enable_progress_bar"] = False
    config["trainer"]["logger"]["init_args"]["save_dir"] = str(runs)
    for callback in config["trainer"]["callbacks"]:
        if callback["class_path"].endswith("ModelCheckpoint"):
            callback["init_args"].update(every_n_epochs=1, save_top_k=-1)
    path = runs / "recipe.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def command(*arguments):
    """Run ``python -m training`` in this process."""
    return in_this_process(training.main, *arguments)


@pytest.fixture(scope="module")
def checkpoint(recipe):
    result = in_process("training", "fit", "--config", recipe)
    assert result.returncode == 0, result.stderr[-2000:]
    return recipe.parent / "demo" / "version_0" / "checkpoints" / "last.ckpt"


def test_a_recipe_trains_and_leaves_a_checkpoint_and_curves(checkpoint):
    assert checkpoint.is_file()
    assert list(checkpoint.parents[1].glob("events.out.tfevents.*"))


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(recipe, checkpoint):
    """Bit for bit: network, average, optimiser."""
    (first,) = checkpoint.parent.glob("epoch=0-*.ckpt")
    result = command("fit", "--config", recipe, "--ckpt_path", first, *logged_as(recipe, "resumed"))
    assert result.returncode == 0, result.stderr[-2000:]
    resumed = recipe.parent / "resumed" / "version_0" / "checkpoints" / "last.ckpt"
    expected, actual = (torch.load(path, weights_only=True) for path in (checkpoint, resumed))
    for part in ("state_dict", "current_model_state"):
        assert expected[part].keys() == actual[part].keys()
        for name, value in expected[part].items():
            assert torch.equal(value, actual[part][name]), name
    for a, b in zip(*(c["optimizer_states"][0]["state"].values() for c in (expected, actual)), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    moved = load_checkpoint(first).network.state_dict()
    assert any(not torch.equal(value, expected["state_dict"][f"network.{name}"]) for name, value in moved.items())


def logged_as(recipe, name):
    return ("--trainer.logger.init_args.name", name)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_resuming_from_a_damaged_checkpoint_is_one_sentence_that_names_a_whole_one(
    recipe, checkpoint, tmp_path, content
):
    broken, good = tmp_path / "last.ckpt", tmp_path / "epoch=0.ckpt"
    whole = checkpoint.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2] if content is None else content)
    good.write_bytes(whole)
    result = command("fit", "--config", recipe, "--ckpt_path", broken)
    assert_one_sentence(result, f"training: checkpoint {broken} is damaged")
    assert f"{good} beside it is whole" in result.stderr


def test_a_full_disk_is_one_sentence_and_leaves_the_last_good_checkpoint(recipe, checkpoint, tmp_path):
    """A limit on the size of files does what a full disk does: writing fails half-way."""
    config = yaml.safe_load(recipe.read_text())
    callback = config["trainer"]["callbacks"][1]["init_args"]
    callback.update(dirpath=str(tmp_path), save_top_k=1, enable_version_counter=False)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(config))
    good = tmp_path / "last.ckpt"
    good.write_bytes(checkpoint.read_bytes())
    limit = good.stat().st_size // 2
    result = in_process(
        "training",
        "fit",
        *("--config", tmp_path / "recipe.yaml", *logged_as(recipe, "full")),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert_one_sentence(result, f"training: checkpoint {tmp_path}")
    assert "could not be written: File too large" in result.stderr
    assert good.read_bytes() == checkpoint.read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_a_training_starts_from_the_weights_of_another_and_says_what_it_took(recipe, checkpoint):
    start = ("--init-from", checkpoint, "--trainer.max_epochs", "1", *logged_as(recipe, "transferred"))
    other = ("--model.network.output", "log", "--model.losses", '{"log_l1": 1.0}')
    result = command("fit", "--config", recipe, *start, *other)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "weights taken" in result.stdout
    assert "not taken, of another shape: predict.weight [64, 8, 3, 3], not [1, 8, 3, 3]" in result.stdout
    both = command("fit", "--config", recipe, *start, "--ckpt_path", checkpoint)
    assert_one_sentence(both, "training: give --init-from to start a new training or --ckpt_path to resume")


def test_two_processes_measure_what_one_does(recipe, checkpoint, frames, tmp_path):
    # An odd number of frames: one process has to repeat one, which must not count.
    names = [f"{i:04d}" for i in range(11)]
    assert len(hold_out(names, 0.4)[1]) == 5
    split = tmp_path / "split.txt"
    split.write_text("".join(f"train {name}\n" for name in names))
    measured = []
    for devices, strategy, run in ((1, "auto", command), (2, "ddp", partial(in_process, "training"))):
        logger = ("--trainer.logger", "lightning.pytorch.loggers.CSVLogger")
        logger += ("--trainer.logger.save_dir", tmp_path / str(devices))
        processes = ("--trainer.devices", devices, "--trainer.strategy", strategy)
        source = ("--config", recipe, "--ckpt_path", checkpoint, "--data.held_out", 0.4, "--data.split_file", split)
        result = run("validate", *source, *logger, *processes)
        assert result.returncode == 0, result.stderr[-2000:]
        (figures,) = (tmp_path / str(devices)).rglob("metrics.csv")
        measured.append({name: float(value) for name, value in next(csv.DictReader(figures.open())).items()})
    one, two = measured
    assert one["val/abs_rel"] > 0
    assert two == pytest.approx(one, rel=1e-6)


NETWORKS = {
    "coarse": {"name": "eigen_coarse", "input_size": [120, 160], "output_size": [12, 16], "hidden": 64},
    "plain": {"name": "plain", "channels": [8] * 7, "poolings": 2},
    "transpose": {"name": "plain", "channels": [8] * 7, "poolings": 2, "transpose": True},
    "residual": {
        "name": "resnet_up_projection",
        "encoder": "resnet18",
        "encoder_blocks": [1, 1, 1, 1],
        "decoder_channels": [16, 8, 8, 8, 8],
        "unpooling": "average",
        "log_variance": True,
    },
}


@pytest.fixture
def walls(frames):
    camera = {"width": 320, "height": 240, "fx": 259.4, "fy": 259.7, "cx": 162.0, "cy": 126.1}
    sizes = {"input_size": (120, 160), "output_size": (30, 40)}
    return DepthData(str(frames), "split.txt", 1 / 25.5, camera, **sizes, batch_size=7, workers=0, held_out=0)


@pytest.mark.parametrize(
    ("network", "loss"),
    [("coarse", "mse"), ("plain", "l1"), ("transpose", "berhu"), ("residual", "laplace_nll"), ("residual", "silog")],
)
def test_every_network_learns_with_every_loss(walls, network, loss):
    """Depth written as brightness is learned within a few steps, whatever the output's size."""
    lightning.seed_everything(0)
    task = DepthTask(NETWORKS[network], {loss: 1.0}, lambda p: torch.optim.Adam(p, 3e-3), schedule="constant")
    losses = []
    task.on_train_epoch_end = lambda: losses.append(task.trainer.callback_metrics["train/loss"].item())
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(max_epochs=12, accelerator="cpu", **quiet)
    trainer.fit(task, walls)
    assert losses[-1] < losses[0] - 0.2 * abs(losses[0])


def test_dropout_is_resumed_as_well(walls, tmp_path):
    def fitted(epochs, start=None):
        lightning.seed_everything(3)
        task = DepthTask(NETWORKS["coarse"], {"mse": 1.0}, schedule="constant")
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        options = {"accelerator": "cpu", "reload_dataloaders_every_n_epochs": 1, "default_root_dir": tmp_path}
        trainer = lightning.Trainer(max_epochs=epochs, **options, **quiet)
        trainer.fit(task, walls, ckpt_path=start)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return task.state_dict()

    uninterrupted = fitted(2)
    first = fitted(1)
    resumed = fitted(2, tmp_path / "1.ckpt")
    assert all(torch.equal(value, resumed[name]) for name, value in uninterrupted.items())
    assert not torch.equal(first["network.predict.weight"], resumed["network.predict.weight"])


def test_a_killed_run_leaves_a_checkpoint_to_resume_from(recipe):
    options = ("--config", recipe, *logged_as(recipe, "killed"), "--trainer.max_epochs", "1000")
    folder = recipe.parent / "killed" / "version_0" / "checkpoints"
    line = [sys.executable, "-m", "training", "fit", *map(str, options)]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(list(folder.glob("epoch=*.ckpt"))) < 2:
            time.sleep(0.05)
        process.kill()
    assert process.returncode == -9, "it ended by itself"
    reached = torch.load(folder / "last.ckpt", weights_only=True)["epoch"]
    more = ("--ckpt_path", folder / "last.ckpt", "--trainer.max_epochs", reached + 2)
    result = command("fit", "--config", recipe, *logged_as(recipe, "continued"), *more)
    assert result.returncode == 0, result.stderr[-2000:]
    resumed = recipe.parent / "continued" / "version_0" / "checkpoints"
    assert torch.load(resumed / "last.ckpt", weights_only=True)["epoch"] == reached + 1


def test_compiling_keeps_the_names_of_the_weights():
    task = DepthTask(NETWORKS["plain"], {"mse": 1.0}, compile=True)
    names = list(task.state_dict())
    task.on_fit_start()
    assert task.network._compiled_call_impl is not None
    assert list(task.state_dict()) == names


@pytest.mark.parametrize("name", ["cnn_fc", "pure_cnn", "cnn_transpose", "residual"])
def test_the_studys_recipes_say_what_the_study_says(name, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["training"])
    start = ["--model.network.pretrained=null"] if name == "residual" else []
    arguments = ["--config", str(RECIPES / f"{name}.yaml"), *start, "--trainer.accelerator", "cpu"]
    cli = training.TrainingCLI(DepthTask, DepthData, args=arguments, run=False, seed_everything_default=0)
    optimizer = cli.model.optimizer(cli.model.parameters())
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.defaults["lr"] == optimizer.defaults["weight_decay"] == 1e-4
    assert cli.datamodule.hparams.batch_size == 32 and cli.trainer.max_epochs == 20
    assert cli.model.losses == {"mse": 1.0}
    assert any(isinstance(c, lightning.pytorch.callbacks.EarlyStopping) for c in cli.trainer.callbacks)


@pytest.fixture(scope="module")
def model(checkpoint, frames):
    path = checkpoint.parent / "tiny.onnx"
    result = in_process("training.export", checkpoint, path, "--data", frames, *ABOUT)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "ONNX Runtime within" in result.stdout
    return path


def test_a_checkpoint_becomes_a_model_that_the_robot_takes(checkpoint, model, frames):
    estimator = DepthEstimator.load(model)
    info = estimator.model.info
    assert (info.name, info.input_width, info.input_height) == ("tiny", 160, 120)
    assert info.focal_length == pytest.approx(0.5 * (259.429 * 259.7348) ** 0.5, rel=1e-5)
    image = cv2.cvtColor(cv2.imread(str(frames / "rgb" / "0000.jpg")), cv2.COLOR_BGR2RGB)
    batch = estimator.preprocess(image)
    with torch.inference_mode():
        expected = load_checkpoint(checkpoint).network(torch.from_numpy(batch))["depth"].numpy()
    np.testing.assert_allclose(estimator.backend.infer(batch)["depth"], expected, rtol=1e-3)
    # The batch is free: two images at once give what each gives alone.
    pair = np.concatenate([batch, 255 - batch])
    np.testing.assert_allclose(estimator.backend.infer(pair)["depth"][0], expected[0], rtol=1e-3)


def test_a_network_that_says_how_sure_it_is_exports_both_outputs(walls, frames, tmp_path):
    task = DepthTask(NETWORKS["residual"], {"laplace_nll": 1.0}, schedule="constant")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(task, walls)
    trainer.save_checkpoint(tmp_path / "sure.ckpt")
    paths = (tmp_path / "sure.ckpt", tmp_path / "sure.onnx")
    result = in_this_process(export.main, *paths, "--data", frames, *ABOUT)
    assert result.returncode == 0, result.stderr
    session = onnxruntime.InferenceSession(tmp_path / "sure.onnx")
    assert [output.name for output in session.get_outputs()] == ["depth", "log_variance"]
    image = np.random.default_rng(0).integers(0, 256, (1, 120, 160, 3), np.uint8)
    depth, log_variance = session.run(None, {"image": image})
    with torch.inference_mode():
        expected = load_checkpoint(tmp_path / "sure.ckpt").network(torch.from_numpy(image))
    np.testing.assert_allclose(log_variance, expected["log_variance"].numpy(), atol=1e-3)
    # The robot's side gives both.
    taken = DepthEstimator.load(tmp_path / "sure.onnx", "cpu").backend.infer(image)
    np.testing.assert_array_equal(taken["depth"], depth)
    np.testing.assert_array_equal(taken["log_variance"], log_variance)


def test_half_weights_halve_the_file_and_keep_the_depth(checkpoint, model, frames, tmp_path):
    half = tmp_path / "half.onnx"
    result = in_this_process(export.main, checkpoint, half, "--data", frames, *ABOUT, "--half-weights")
    assert result.returncode == 0, result.stderr
    assert half.stat().st_size < 0.52 * model.stat().st_size
    batch = np.random.default_rng(0).integers(0, 256, (1, 120, 160, 3), np.uint8)
    a, b = (DepthEstimator.load(path).backend.infer(batch)["depth"] for path in (model, half))
    np.testing.assert_allclose(a, b, rtol=1e-2)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_one_sentence(checkpoint, tmp_path, content):
    broken = tmp_path / "broken.ckpt"
    whole = checkpoint.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2] if content is None else content)
    result = in_this_process(export.main, broken, tmp_path / "x.onnx", *ABOUT)
    assert result.returncode == 1
    assert result.stderr.startswith("export: checkpoint") and "Traceback" not in result.stderr
    assert not (tmp_path / "x.onnx").exists()


def test_a_wrong_recipe_is_one_sentence(recipe):
    result = command("fit", "--config", recipe, "--data.root", "/nowhere")
    assert result.returncode == 1
    assert "training: data folder /nowhere does not exist" in result.stderr and "Traceback" not in result.stderr
