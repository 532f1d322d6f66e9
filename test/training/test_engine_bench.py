"""The comparison of engines compares the same network: every row gives its depth, and the table has every row."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from depth_estimation_ros.model import ModelInfo  # noqa: E402
from training import bench  # noqa: E402
from training.models import build_network  # noqa: E402

TINY = {"encoder": "resnet18", "encoder_blocks": (1, 1, 1, 1), "decoder_channels": (32, 24, 16, 8, 8)}
INFO = ModelInfo("tiny", 96, 64, 80.0, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)


@pytest.fixture
def engines():
    return bench._installed()


def test_every_row_computes_the_same_depth(engines, tmp_path):
    torch.manual_seed(0)
    network = build_network("resnet_up_projection", **TINY).eval()
    rows = bench.network_everywhere(network, INFO, tmp_path, engines, threads=1)
    assert list(rows)[:2] == ["PyTorch, naive", "PyTorch"]
    assert len(rows) == 2 + 2 * 3 * len(engines)
    images = bench.calibration_frames(INFO, count=2)
    depths = {name: estimator.backend.infer(images)["depth"] for name, estimator in rows.items()}
    expected = depths["PyTorch, naive"]
    for name, depth in depths.items():
        np.testing.assert_allclose(depth, expected, rtol=0.05 if "int8" in name else 1e-4, err_msg=name)
    times = bench.measure(rows, rounds=1)
    assert times.keys() == rows.keys() and all(row["ms"] >= row["least_ms"] > 0.0 for row in times.values())


def test_the_report_has_speed_and_accuracy_of_every_engine(rgbd_data, engines, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "CALIBRATION_FRAMES", 4)
    output = tmp_path / "new_folder" / "engines.json"
    arguments = ["--skip-network", "--threads", "1", "--rounds", "1", "--frames", "2", "--output", str(output)]
    assert bench.main([*arguments, "--data", str(rgbd_data / "nyu_v2_labelled")]) == 0
    (result,) = json.loads(output.read_text())["results"]
    assert len(result["rows"]) == 3 * len(engines)
    first = result["rows"]["ONNX Runtime, float32"]
    for row in result["rows"].values():
        assert row["ms"] > 0.0 and abs(row["delta1"] - first["delta1"]) < 0.05
    assert "ONNX Runtime, int8" in capsys.readouterr().out
    assert [path.name for path in output.parent.iterdir()] == ["engines.json"]


def test_without_data_it_says_so_and_measures_speed(engines, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "CALIBRATION_FRAMES", 2)
    output = tmp_path / "engines.json"
    assert bench.main(["--skip-network", "--threads", "1", "--rounds", "1", "--output", str(output)]) == 0
    assert "no --data: speed only" in capsys.readouterr().out
    assert "delta1" not in output.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--model", "nowhere.onnx"], "'nowhere.onnx' not found"), (["--rounds", "0"], "must be at least 1")],
)
def test_a_mistake_is_one_line_and_no_file(arguments, sentence, tmp_path, capsys):
    output = tmp_path / "engines.json"
    assert bench.main(["--skip-network", "--output", str(output), *arguments]) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not output.exists()
