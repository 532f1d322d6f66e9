"""From a recipe to a checkpoint to an ONNX file, by the commands of the README, on a handful of made-up frames."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from depth_estimation_ros import DepthEstimator  # noqa: E402
from training.checkpoint import load_checkpoint  # noqa: E402

ABOUT = ("--training-data", "sixteen walls", "--licence", "Apache-2.0")
RECIPE = Path(__file__).resolve().parents[2] / "training" / "recipes" / "demo.yaml"


def python(module, *arguments):
    return subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True)


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


@pytest.fixture(scope="module")
def checkpoint(recipe):
    result = python("training", "fit", "--config", recipe)
    assert result.returncode == 0, result.stderr[-2000:]
    return recipe.parent / "demo" / "version_0" / "checkpoints" / "last.ckpt"


def test_a_recipe_trains_and_leaves_a_checkpoint_and_curves(checkpoint):
    assert checkpoint.is_file()
    assert list(checkpoint.parents[1].glob("events.out.tfevents.*"))


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(recipe, checkpoint):
    (first,) = checkpoint.parent.glob("epoch=0-*.ckpt")
    result = python("training", "fit", "--config", recipe, "--ckpt_path", first)
    assert result.returncode == 0, result.stderr[-2000:]
    resumed = recipe.parent / "demo" / "version_1" / "checkpoints" / "last.ckpt"
    expected = load_checkpoint(checkpoint).network.state_dict()
    for name, value in load_checkpoint(resumed).network.state_dict().items():
        # Another batch or step would move weights by the learning rate, 2e-3.
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-5, msg=name)


def test_a_checkpoint_becomes_a_model_that_the_robot_takes(checkpoint, frames, tmp_path):
    model = tmp_path / "tiny.onnx"
    result = python("training.export", checkpoint, model, "--data", frames, *ABOUT)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "ONNX Runtime within" in result.stdout
    estimator = DepthEstimator.load(model)
    info = estimator.model.info
    assert (info.name, info.input_width, info.input_height) == ("tiny", 160, 120)
    assert info.focal_length == pytest.approx(0.5 * (259.429 * 259.7348) ** 0.5, rel=1e-5)
    image = cv2.cvtColor(cv2.imread(str(frames / "rgb" / "0000.jpg")), cv2.COLOR_BGR2RGB)
    batch = estimator.preprocess(image)
    with torch.inference_mode():
        expected = load_checkpoint(checkpoint).network(torch.from_numpy(batch))["depth"].numpy()
    np.testing.assert_allclose(estimator.backend.infer(batch), expected, rtol=1e-3)
    # The batch is free: two images at once give what each gives alone.
    pair = np.concatenate([batch, 255 - batch])
    np.testing.assert_allclose(estimator.backend.infer(pair)[0], expected[0], rtol=1e-3)


def test_half_weights_halve_the_file_and_keep_the_depth(checkpoint, frames, tmp_path):
    full, half = tmp_path / "full.onnx", tmp_path / "half.onnx"
    for path, options in ((full, ()), (half, ("--half-weights",))):
        result = python("training.export", checkpoint, path, "--data", frames, *ABOUT, *options)
        assert result.returncode == 0, result.stderr[-2000:]
    assert half.stat().st_size < 0.52 * full.stat().st_size
    batch = np.random.default_rng(0).integers(0, 256, (1, 120, 160, 3), np.uint8)
    a, b = (DepthEstimator.load(path).backend.infer(batch) for path in (full, half))
    np.testing.assert_allclose(a, b, rtol=1e-2)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_one_sentence(checkpoint, tmp_path, content):
    broken = tmp_path / "broken.ckpt"
    whole = checkpoint.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2] if content is None else content)
    result = python("training.export", broken, tmp_path / "x.onnx", *ABOUT)
    assert result.returncode == 1
    assert result.stderr.startswith("export: checkpoint") and "Traceback" not in result.stderr
    assert not (tmp_path / "x.onnx").exists()


def test_a_wrong_recipe_is_one_sentence(recipe):
    result = python("training", "fit", "--config", recipe, "--data.root", "/nowhere")
    assert result.returncode == 1
    assert "training: data folder /nowhere does not exist" in result.stderr and "Traceback" not in result.stderr
