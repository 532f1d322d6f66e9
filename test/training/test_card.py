"""The card of a model says what its checkpoint and file say, and takes in what evaluations find."""

import hashlib
import re
import sys
from dataclasses import asdict

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

import lightning  # noqa: E402
import scipy.io  # noqa: E402

from depth_estimation_ros.evaluation.metrics import METRICS  # noqa: E402
from training import evaluate, export  # noqa: E402
from training.data.module import DepthData  # noqa: E402
from training.evaluate import NYU_HALF  # noqa: E402
from training.loop import DepthTask  # noqa: E402

ABOUT = ("--training-data", "six walls, grey | white", "--licence", "Apache-2.0")


def run(monkeypatch, command, *arguments):
    monkeypatch.setattr(sys, "argv", [command.__name__, *map(str, arguments)])
    command.main()


def rows(card):
    """Return the cells of every table row by its first."""
    cells = (re.split(r"(?<!\\)\|", line)[1:-1] for line in card.read_text().splitlines() if line.startswith("|"))
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in cells}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Train a small network for two epochs on six walls, and export it."""
    root = tmp_path_factory.mktemp("walls")
    for name in ("rgb", "depth"):
        (root / name).mkdir()
    for i in range(1, 9):
        cv2.imwrite(str(root / "rgb" / f"{i:04d}.png"), np.full((240, 320, 3), 30 * i, np.uint8))
        cv2.imwrite(str(root / "depth" / f"{i:04d}.png"), np.full((240, 320), 25 * i, np.uint8))
    scipy.io.savemat(root / "splits.mat", {"trainNdxs": [[i] for i in range(1, 7)], "testNdxs": [[7], [8]]})
    camera = asdict(NYU_HALF)
    data = DepthData(str(root), "splits.mat", 10 / 255, camera, (60, 80), (15, 20), batch_size=3, workers=0, held_out=0)
    network = {"name": "plain", "channels": [8] * 7, "poolings": 2}
    task = DepthTask(network, {"l1": 1.0, "log_l1": 0.5}, lambda p: torch.optim.Adam(p, 3e-3, weight_decay=1e-4))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=root, **quiet)
    trainer.fit(task, data)
    trainer.save_checkpoint(root / "last.ckpt")
    with pytest.MonkeyPatch.context() as monkeypatch:
        run(monkeypatch, export, root / "last.ckpt", root / "small.onnx", *ABOUT)
    return root


def test_a_card_tells_how_a_model_was_made(folder):
    card = rows(folder / "small.md")
    (network,) = card["Network"]
    assert "`plain`" in network and "channels 8 8 8 8 8 8 8" in network and "poolings 2" in network
    assert card["Input, output"] == ["80x60 RGB, 20x15 metres"]
    assert card["Trained on"] == [r"six walls, grey \| white"] and card["Licence"] == ["Apache-2.0"]
    assert card["Depth range"] == ["0.5 to 10 m"]
    focal_length = NYU_HALF.resized(80, 60).focal_length
    assert card["Metric for"][0].startswith(f"focal length {focal_length:.1f} px at 80x60 (63° across)")
    (recipe,) = card["Recipe"]
    for part in (
        "1 l1 + 0.5 log_l1",
        "Adam, learning rate 0.003 (one_cycle), weight decay 0.0001",
        "2 epochs (4 steps), batches of 3",
    ):
        assert part in recipe
    for file in ("small.onnx", "last.ckpt"):
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() in card["sha256"][0]
    # 3x3 convolutions with their normalisation from 3 to 8 channels and on, and the last one, to depth.
    parameters = (27 * 8 + 6 * 72 * 8) + 7 * 16 + (72 + 1)
    assert card["Size"] == [f"{parameters:,} parameters, {(folder / 'small.onnx').stat().st_size / 1e6:.3g} MB"]


def test_evaluations_enter_their_figures_one_row_each(folder, monkeypatch, capsys):
    card = folder / "small.md"
    before, printed = card.read_text(), []
    for options in ((), ("--protocol", "fcrn"), ("--flip",), ("--protocol", "eigen")):
        run(monkeypatch, evaluate, folder / "small.onnx", "--data", folder, "--card", card, *options)
        printed.append(capsys.readouterr().out)
    assert card.read_text().startswith(before)
    found = {name: cells for name, cells in rows(card).items() if "test frames" in name}
    assert [len(cells) for cells in found.values()] == [len(METRICS)] * 3
    frames = f"2 test frames of {folder.name}"
    mine = found[f"{frames}, Eigen crop, mean of per-image values"]
    shown = next(line for line in printed[0].splitlines() if line.startswith("per image")).split()[2:]
    assert [float(value) for value in mine] == pytest.approx([float(v) for v in shown[: len(METRICS)]], abs=6e-4)
    assert f"{frames}, FCRN (Laina 2016): whole image, pooled pixels" in found


def test_a_card_is_of_one_model_and_nothing_else_is_overwritten(folder, tmp_path, monkeypatch):
    other = tmp_path / "other.md"
    other.write_text((folder / "small.md").read_text().replace("| sha256 | ", "| sha256 | 0"))
    for card, sentence in ((tmp_path / "none.md", "there is no card"), (other, "is not the card of this model")):
        with pytest.raises(SystemExit, match=sentence):
            run(monkeypatch, evaluate, folder / "small.onnx", "--data", folder, "--card", card)
    (folder / "notes.md").write_text("my notes\n")
    with pytest.raises(SystemExit, match=r"notes\.md is there and is not the card of a model"):
        run(monkeypatch, export, folder / "last.ckpt", folder / "notes.onnx", *ABOUT)
    assert not (folder / "notes.onnx").exists() and (folder / "notes.md").read_text() == "my notes\n"
