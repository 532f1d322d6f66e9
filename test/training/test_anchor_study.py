"""What the study of scale anchoring reports, on frames whose errors are made here."""

import json
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the training package needs PyTorch")

import scipy.io

from depth_estimation_ros.anchor import CORRECTIONS
from depth_estimation_ros.estimator import DepthMap
from training.anchor_study.__main__ import main
from training.anchor_study.relative import as_relative, relative_study
from training.anchor_study.study import Frame, Reference, accuracy, study, tune
from training.evaluate import NYU_HALF


def frames(count=3):
    """Make frames that recede from 1.5 to 5 m, estimated 1.4 times too far at the bottom and right at the top."""
    truth = np.tile(np.linspace(1.5, 5, 320, dtype=np.float32), (240, 1))
    truth[:10, :10] = 0
    error = np.exp(np.linspace(0, np.log(1.4), 240, dtype=np.float32))[:, None]
    estimate = DepthMap(np.maximum(truth, 1) * error, NYU_HALF).resized(80, 60)
    return [Frame(estimate, truth, NYU_HALF)] * count


def test_true_points_lie_on_the_truth_and_the_wrong_ones_do_not():
    frame = frames(1)[0]
    drawn = Reference(400, outliers=0.25).draw(frame.truth, NYU_HALF, seed=7)
    columns, rows = np.rint(drawn.rays * (NYU_HALF.fx, NYU_HALF.fy) + (NYU_HALF.cx, NYU_HALF.cy)).astype(int).T
    off = np.abs(np.log(drawn.depth / frame.truth[rows, columns]))
    assert 0.15 < np.mean(off > 0.05) < 0.3
    assert np.std(np.log(drawn.depth / frame.truth[rows, columns])[off < 0.05]) == pytest.approx(0.01, rel=0.2)
    # One row, as a scanner sees it, and no point where nothing is known.
    row = Reference(0).draw(frame.truth, NYU_HALF, seed=7)
    assert len(row) == 320
    assert np.ptp(row.rays[:, 1]) < 1e-6
    again = Reference(0).draw(frame.truth, NYU_HALF, seed=7)
    np.testing.assert_array_equal(row.depth, again.depth)


def test_every_correction_is_better_than_none_and_the_field_is_best():
    rows = study(frames(), [Reference(50), Reference(50, 1 / 3)])
    assert [row["correction"] for row in rows] == ["none", *CORRECTIONS, *CORRECTIONS]
    raw = rows[0]["abs_rel"]
    assert raw == pytest.approx(np.mean(np.exp(np.linspace(0, np.log(1.4), 240))[45 // 2 : 470 // 2]) - 1, abs=0.01)
    assert all(row["abs_rel"] < 0.8 * raw for row in rows[1:])
    field, *others = rows[1:4]
    assert field["abs_rel"] < 0.03 < 0.06 < min(row["abs_rel"] for row in others)
    assert rows[4]["inliers"] < 0.9 < field["inliers"]
    assert rows[4]["confidence"] < field["confidence"]


def test_tuning_never_chooses_what_is_worse_than_the_start(monkeypatch):
    monkeypatch.setattr("training.anchor_study.study.TRIED", {"width": (0.05, 0.3)})
    monkeypatch.setattr("training.anchor_study.study.POINTS", (20,))
    best, trials = tune(frames(1), rounds=1)
    assert len(trials) == 3
    score = {trial["width"]: trial["abs_rel"] for trial in trials}
    assert best.width == min(score, key=score.get)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line; returns what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["anchor_study", *map(str, arguments)])
        main()
        return capsys.readouterr().out

    return run


def test_the_command_reports_before_and_after(run, tmp_path):
    for name in ("rgb", "depth"):
        (tmp_path / name).mkdir()
    depth = np.tile(np.linspace(40, 120, 320).astype(np.uint8), (240, 1))
    for name in ("0001", "0002"):
        cv2.imwrite(str(tmp_path / "rgb" / f"{name}.png"), np.repeat(depth[..., None], 3, axis=2))
        cv2.imwrite(str(tmp_path / "depth" / f"{name}.png"), depth)
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": [[1]], "testNdxs": [[1], [2]]})
    out, picture = tmp_path / "out.json", tmp_path / "out.png"
    printed = run(
        "--data", tmp_path, "--points", 50, "--outliers", 0, "--threads", 1, "--json", out, "--picture", picture
    )
    found = json.loads(out.read_text())
    assert found["frames"] == 2
    raw, *anchored = found["rows"]
    assert [(row["reference"], row["correction"]) for row in anchored] == [
        (reference, correction) for reference in ("50 points", "one row") for correction in CORRECTIONS
    ]
    assert anchored[0]["abs_rel"] < 0.5 * raw["abs_rel"]
    assert f"{anchored[0]['abs_rel']:.4f}" in printed
    assert cv2.imread(str(picture)) is not None
    assert accuracy(frames(1)).keys() < anchored[0].keys()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--points", "0"], "--points must be at least 1"),
        (["--outliers", "1.5"], "--outliers must lie between 0 and 1"),
        (["--json", "nowhere/out.json"], "folder nowhere does not exist"),
        (["missing.onnx"], "missing.onnx' not found"),
        ([], "splits.mat does not exist"),
    ],
)
def test_a_mistake_ends_with_one_sentence(run, tmp_path, arguments, sentence):
    with pytest.raises(SystemExit, match=sentence) as stopped:
        run(*arguments, "--data", tmp_path)
    assert str(stopped.value).startswith("anchor_study: ") and "\n" not in str(stopped.value)


def test_a_relative_model_is_as_good_as_the_metric_one_that_it_is_made_of():
    rows = relative_study(frames(12), [Reference(50), Reference(0), Reference(50, 1 / 3)])
    assert [row["reference"] for row in rows] == ["50 points", "one row", "50 points"]
    for row in rows:
        assert row["without_depth"] == 0
        assert row["relative"]["abs_rel"] < 1.1 * row["metric"]["abs_rel"] + 0.01
    depths = [depth.depth for depth in as_relative(frames(3), drift=0.1)]
    assert abs(np.nanmedian(depths[2]) / np.nanmedian(depths[0]) - 1.0) > 0.01


def test_the_command_prints_relative_depth_beside_published_figures(run, tmp_path, monkeypatch):
    monkeypatch.setattr("training.anchor_study.__main__.estimate_frames", lambda *_: frames(3))
    printed = run("--data", tmp_path, "--relative", "--points", 50, "--outliers", 0, "--threads", 1)
    assert "turned into a relative model, on 3 test frames" in printed and "OMNI-DC v1.1" in printed
