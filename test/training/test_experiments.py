"""The study: its measures on made-up maps, and an experiment from frames to a report by the README's command."""

import csv
import json
import subprocess
import sys
import time
from functools import partial

import cv2
import numpy as np
import pytest
from commands import in_process, in_this_process

pytest.importorskip("torch", reason="the training package needs PyTorch")

import scipy.io

from training.__main__ import TrainingCLI
from training.curves import read_curves
from training.data.module import DepthData
from training.experiments import __main__ as command
from training.experiments.findings import table1_findings
from training.experiments.grid import grid_amplitude, spectrum
from training.experiments.results import Result, difference
from training.experiments.runner import Runner
from training.experiments.study import SCALES, TRAININGS, experiments
from training.loop import DepthTask

run = partial(in_this_process, command.main)


def scene(rng):
    """Return a smooth depth map without any period, [64, 80] metres."""
    return np.exp(cv2.resize(rng.normal(1, 0.3, (6, 7)), (80, 64), interpolation=cv2.INTER_CUBIC))


def test_a_grid_is_measured_and_a_scene_without_one_has_none():
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:64, :80]
    scenes = [scene(rng) for _ in range(20)]
    checkers = 1 + 0.02 * (-1.0) ** (x + y)
    fours = 1 + 0.02 * np.sqrt(2) * np.cos(np.pi / 2 * x + 1) * np.ones_like(y)
    plain, fine, coarse = (
        grid_amplitude(np.mean([spectrum(s * pattern) for s in scenes], axis=0)) for pattern in (1, checkers, fours)
    )
    assert plain[2] < 1e-4 and plain[4] < 1e-3
    assert fine[2] == pytest.approx(0.02, rel=0.02) and fine[4] == pytest.approx(plain[4], abs=1e-4)
    # Rows see it and columns do not: half of its squared amplitude.
    assert coarse[4] == pytest.approx(0.02, rel=0.05) and coarse[2] < 1e-4


@pytest.fixture
def result(tmp_path):
    """Return a function that makes a result of given AbsRel by frame."""

    def make(name, abs_rel, training=0.1, loss_gap=1.0):
        folder = tmp_path / name
        folder.mkdir()
        with open(folder / "frames.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(("name", "abs_rel"))
            table.writerows((f"{i:04d}", value) for i, value in enumerate(abs_rel))
        figures = {
            "eigen": {"per_image_mean": {"abs_rel": float(np.mean(abs_rel))}},
            "training_frames": {"abs_rel": training},
        }
        from lightning.pytorch.loggers import TensorBoardLogger

        logger = TensorBoardLogger(folder.parent, name="", version=name)
        logger.log_metrics({"train/loss": 1.0, "val/loss": loss_gap, "epoch": 0}, 1)
        logger.finalize("success")
        return Result(name, name, (folder,), (figures,))

    return make


def test_a_difference_is_decided_only_where_other_frames_would_not_turn_it(result):
    frames = np.random.default_rng(0).uniform(0.1, 0.5, 200)
    noise = np.random.default_rng(1).normal(0, 0.05, 200)
    reference, better = result("reference", frames), result("better", frames - 0.05 + noise)
    same = result("same", frames + noise - noise.mean())
    assert difference(better, reference).decided and difference(better, reference).mean == pytest.approx(
        -0.05, abs=0.02
    )
    assert not difference(same, reference).decided
    assert difference(reference, reference).mean == 0


def test_findings_follow_the_figures_either_way(result):
    frames = np.random.default_rng(0).uniform(0.1, 0.5, 200)
    residual = result("residual", frames)
    others = {n: result(n, frames + 0.1) for n in ("pure_cnn", "cnn_transpose")}
    as_claimed = {"residual": residual, **others, "cnn_fc": result("cnn_fc", frames + 0.1, 0.05, 3.0)}
    assert [f.agrees for f in table1_findings(as_claimed)] == [True] * 5
    against = {"residual": residual, **others, "cnn_fc": result("fc", frames - 0.05, 0.4)}
    assert [f.agrees for f in table1_findings(against)] == [False, True, True, False, False]


@pytest.mark.parametrize("scale", ("minutes", "full"))
@pytest.mark.parametrize("name", [name for name, training in TRAININGS.items() if not training.start])
def test_every_training_is_a_command_that_fit_understands(name, scale, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["training"])
    runner = Runner(scale, SCALES[scale], tmp_path, tmp_path / "runs", tmp_path / "rooms")
    command = runner.fit_command(TRAININGS[name], 3)
    if "--model.network.pretrained" not in command:
        command += ["--model.network.pretrained", "null"] if "residual" in command[5] else []
    cli = TrainingCLI(DepthTask, DepthData, args=command[4:], run=False, save_config_callback=None)
    assert cli.config["seed_everything"] == 3 and cli.config["trainer"]["logger"].init_args.version == "seed_3"


def test_what_a_training_starts_from_is_trained_first(tmp_path):
    runner = Runner("minutes", SCALES["minutes"], tmp_path, tmp_path, tmp_path)
    for experiment in experiments(SCALES["full"]).values():
        order = runner.needed(list(experiment.trainings))
        for name in order:
            start = TRAININGS[name].start
            assert not start or order.index(start[1]) < order.index(name)
    assert "rooms" in runner.needed(["all_of_rooms"])


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Make walls, brighter the nearer, in the layout of NYU Depth v2's labelled set at half size."""
    root = tmp_path_factory.mktemp("nyu")
    for name in ("rgb", "depth"):
        (root / name).mkdir()
    rng = np.random.default_rng(0)
    for i in range(1, 41):
        metres = np.clip(scene(rng) + rng.uniform(0, 4), 0.7, 9)
        metres = cv2.resize(metres, (320, 240))
        image = np.clip(rng.normal(255 / metres, 4), 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / "rgb" / f"{i:04d}.jpg"), np.dstack([image] * 3))
        cv2.imwrite(str(root / "depth" / f"{i:04d}.png"), np.round(metres * 25.5).astype(np.uint8))
    numbers = np.arange(1, 41)[:, None]
    scipy.io.savemat(root / "splits.mat", {"trainNdxs": numbers[:32], "testNdxs": numbers[32:]})
    return root


EPOCHS = 3
SMALL = {"model.network.encoder_blocks": [1, 1, 1, 1], "model.network.decoder_channels": [16, 8, 8, 8, 8]}
OPTIONS = {"data.workers": 0, "trainer.max_epochs": EPOCHS, **SMALL}


@pytest.fixture(scope="module")
def arguments(frames, tmp_path_factory):
    """Kill a training after its first epoch, then run its experiment to the end; return the experiment's arguments."""
    runs = tmp_path_factory.mktemp("runs")
    runner = Runner("minutes", SCALES["minutes"], frames, runs, runs, OPTIONS)
    fit, last = runner.fit_command(TRAININGS["residual"], 0), trained(runs) / "checkpoints" / "last.ckpt"
    killed = subprocess.Popen([sys.executable, *fit[1:]], stdout=subprocess.DEVNULL)
    while not last.is_file() and killed.poll() is None:
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() < 0, "the training ended before it could be killed"
    options = [part for name, value in OPTIONS.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    arguments = ("table3", "--data", frames, "--runs", runs, *options)
    result = in_process("training.experiments", *arguments)
    assert result.returncode == 0, result.stderr[-2000:]
    return arguments


@pytest.fixture
def runs(arguments):
    return arguments[4]


def trained(runs):
    return runs / "minutes" / "residual" / "seed_0"


def test_an_experiment_ends_in_a_report(runs):
    report = runs / "minutes" / "reports" / "table3"
    text = (report / "README.md").read_text()
    for row in ("| zero unpooling |", "| average unpooling |", "| median of the training depths, blind |"):
        assert row in text
    assert "$" not in text and "Average unpooling smooths the grid" in text
    assert f"--set trainer.max_epochs={EPOCHS}" in text
    figures = json.loads((report / "figures.json").read_text())
    assert set(figures) == {"residual", "residual_average"}
    assert f"{figures['residual']['seeds'][0]['eigen']['per_image_mean']['abs_rel']:.3f}" in text
    for name in ("curves.png", "spectra.png"):
        assert cv2.imread(str(report / name)).std() > 10
    assert len(list((report / "pictures").glob("*.png"))) == 4


def test_a_killed_training_goes_on(runs):
    epochs = read_curves(trained(runs))["train/loss"][0]
    # The epoch that was cut off may have been logged before, the one that was saved is not trained again.
    assert sorted(set(epochs)) == list(range(1, EPOCHS + 1)) and epochs.count(1) == 1
    assert json.loads((trained(runs) / "figures.json").read_text())["epochs"] == EPOCHS


def test_a_finished_training_is_not_repeated_and_one_with_other_options_is_refused(arguments, runs):
    last, figures = (trained(runs) / name for name in ("checkpoints/last.ckpt", "figures.json"))
    written, found = last.stat().st_mtime_ns, figures.read_text()
    assert run(*arguments).returncode == 0
    assert last.stat().st_mtime_ns == written and figures.read_text() == found
    result = run(*arguments, "--set", f"trainer.max_epochs={EPOCHS + 1}")
    assert result.returncode == 1 and "was trained with other options" in result.stderr


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (("--data", "nowhere"), "nowhere is not NYU Depth v2's labelled set"),
        (("--seeds", "0"), "--seeds must be at least 1"),
        (("--set", "trainer.devices"), "--set takes OPTION=VALUE"),
        (("--set", "trainer.nonsense=1"), "failed"),
    ],
)
def test_a_mistake_is_one_sentence(frames, tmp_path, wrong, sentence):
    data = () if "--data" in wrong else ("--data", frames)
    result = run("table1", *data, "--runs", tmp_path, *wrong)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("experiments: ") and sentence in last and "Traceback" not in result.stderr
