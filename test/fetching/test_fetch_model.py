"""The command that makes a model of published weights."""

from __future__ import annotations

from pathlib import Path

import fcrn_reference
import numpy as np
import pytest
from file_server import CONTENT, file_server

pytest.importorskip("onnx", reason="fetch_model needs onnx")

from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.fetching import fcrn
from depth_estimation_ros.tools import fetch_model


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Serve the file that the command downloads, into a cache of the test."""
    with file_server() as server:
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(fcrn, "URL", server.url)
        monkeypatch.chdir(tmp_path)
        yield server


def refusal(*arguments: str) -> str:
    """Run the command and return its exit sentence."""
    with pytest.raises(SystemExit) as end:
        fetch_model.main(["fcrn-nyu", *arguments])
    assert isinstance(end.value.code, str) and "\n" not in end.value.code
    return end.value.code


def test_a_mistake_at_the_command_line_gives_one_sentence_and_no_file(server, tmp_path):
    assert refusal("--from", "missing.npy") == "fetch_model: there is no file missing.npy"
    assert refusal("--output", "nowhere/model.onnx") == "fetch_model: folder nowhere does not exist"
    assert refusal("--output", ".") == "fetch_model: . is a folder: give the name of a file"
    assert server.asked == []
    np.save("other.npy", {"conv1": {"weights": np.zeros((7, 7, 3, 64), np.float32)}})
    assert refusal("--from", "other.npy") == (
        "fetch_model: other.npy does not hold the weights of FCRN's ResNet-UpProj: it lacks conv1/biases"
    )
    assert refusal().startswith(f"fetch_model: what {server.url} gave cannot be used: ")
    assert {path.name for path in tmp_path.iterdir()} == {"other.npy", "cache"}
    assert not (tmp_path / "cache" / "depth_estimation_ros" / "downloads.json").exists()


def test_the_command_downloads_once_and_writes_the_model(server, tmp_path, monkeypatch, capsys):
    read = []
    monkeypatch.setattr(fcrn, "load", lambda path: read.append(path.read_bytes()) or fcrn.Network(None, 0, "digest"))
    monkeypatch.setattr(fcrn, "write_model", lambda network, path: path.write_bytes(b"model"))
    for _ in range(2):
        fetch_model.main(["fcrn-nyu"])
    assert read == [CONTENT, CONTENT] and server.asked == [None]
    cache = tmp_path / "cache" / "depth_estimation_ros"
    assert (cache / "models" / "fcrn-nyu.onnx").read_bytes() == b"model"
    assert (cache / "file.npy").exists()
    said = capsys.readouterr().out
    assert "fcrn-nyu.onnx: 0.0 MB; its card is beside it; the name of the model is fcrn-nyu" in said
    fetch_model.main(["fcrn-nyu", "--output", "mine.onnx"])
    assert Path("mine.onnx").read_bytes() == b"model" and "the name of" not in capsys.readouterr().out
    monkeypatch.setattr(fcrn, "write_model", lambda network, path: Path("/dev/full").write_bytes(b"x"))
    assert refusal("--output", "mine.onnx") == "fetch_model: cannot write mine.onnx: No space left on device"


@pytest.fixture(scope="module")
def weights():
    return fcrn_reference.make_weights()


def test_the_released_file_becomes_a_model_that_computes_what_the_original_does(tmp_path, weights, capsys):
    np.save(tmp_path / "weights.npy", weights)
    path = tmp_path / "fcrn.onnx"
    fetch_model.main(["fcrn-nyu", "--from", str(tmp_path / "weights.npy"), "--output", str(path)])
    printed = capsys.readouterr()
    assert "its card is beside it" in printed.out and printed.err == ""
    estimator = DepthEstimator.load(path, backend="cpu", threads=1)
    depth = estimator.backend.infer(fcrn_reference.make_image()[None])["depth"]
    np.testing.assert_allclose(depth[0, 0], fcrn_reference.depth(weights), rtol=0, atol=1e-4)
    info = estimator.model.info
    assert (info.input_width, info.input_height) == (304, 228)
    assert info.focal_length == pytest.approx(259.58, abs=0.005)
    assert info.source_sha256 in printed.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fcrn.md", "fcrn.onnx", "weights.npy"]
    card = (tmp_path / "fcrn.md").read_text()
    for line in ("| Size | 63,572,737 parameters, ", "| Input, output | 304x228 RGB, 160x128 metres |", "Laina et al."):
        assert line in card
    assert f"| sha256 | {estimator.model.sha256}, of the weights it was made from {info.source_sha256} |" in card


def test_weights_of_another_network_are_refused_by_name(weights):
    without = {layer: dict(entries) for layer, entries in weights.items()}
    del without["layer4x_br2_ConvB"]["biases"]
    with pytest.raises(ValueError, match="it lacks layer4x_br2_ConvB/biases"):
        fcrn.build(without)
    with pytest.raises(ValueError, match=r"its res3a_branch2a/weights has shape \(3, 3, 256, 128\), the network needs"):
        fcrn.build({**weights, "res3a_branch2a": {"weights": np.zeros((3, 3, 256, 128), np.float32)}})
    with pytest.raises(ValueError, match="it has fc1000/biases, which the network does not"):
        fcrn.build({**weights, "fc1000": {"biases": np.zeros(1000, np.float32)}})


def test_weights_that_give_no_depth_are_refused(weights, tmp_path, capsys):
    norm = weights["bn2a_branch1"]
    np.save(tmp_path / "bad.npy", {**weights, "bn2a_branch1": {**norm, "variance": -norm["variance"]}})
    sentence = refusal("--from", str(tmp_path / "bad.npy"), "--output", str(tmp_path / "bad.onnx"))
    assert sentence.startswith("fetch_model: the depth that these weights give is not finite: ")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.npy"] and capsys.readouterr().err == ""
