"""The list of models: what is there with its speed and accuracy, and how to get what is not."""

import re
import shutil

from depth_estimation_ros.model import PACKAGED, load_model
from depth_estimation_ros.tools.list_models import main


def test_every_name_is_listed_with_what_its_card_says_and_a_time_measured_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["--rounds", "1", "--backend", "cpu", "--threads", "1"]) == 0
    said = capsys.readouterr().out
    assert "Models, on onnxruntime/cpu" in said
    for name in PACKAGED:
        assert re.search(rf"^ *{name}\b", said, re.MULTILINE), name
    assert re.search(r" 160x120 +80x64 +\d+\.\d +15\.8 +0\.207 +0\.667", said)
    assert "fcrn-nyu: not on this machine; `fetch_model fcrn-nyu` makes it" in said
    for name in ("default", "small"):
        assert f"{name}: {load_model(name).info.licence}; card {PACKAGED[name].with_suffix('.md')}" in said


def test_a_fetched_model_without_accuracy_is_listed_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "depth_estimation_ros" / "models").mkdir(parents=True)
    shutil.copy(PACKAGED["nyu_resnet18_small"], tmp_path / "depth_estimation_ros" / "models" / "fcrn-nyu.onnx")
    assert main(["--rounds", "1", "--backend", "cpu", "--threads", "1"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"fcrn-nyu +160x120 +80x64 +\d+\.\d +15\.8 +- +-", said) and "no card" in said


def test_named_models_and_files_are_measured_without_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PACKAGED["nyu_resnet18_small"], "mine.onnx")
    assert main(["mine.onnx", "nyu_resnet18_small", "--rounds", "1", "--backend", "cpu", "--threads", "1"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^ *mine.onnx +160x120 +80x64 +\d+\.\d +15\.8 +- +-", said, re.MULTILINE)
    assert re.search(r"^ *nyu_resnet18_small +160x120 +80x64 +\d+\.\d +15\.8 +0\.207 +0\.667", said, re.MULTILINE)
    assert "default" not in said and "fcrn-nyu" not in said


def test_mistakes_are_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["--rounds", "0"]) == 1
    assert capsys.readouterr().err == "list_models: --rounds must be at least 1 and --threads not negative\n"
    assert main(["nowhere.onnx"]) == 1
    assert "list_models: model 'nowhere.onnx' not found: give the path of an ONNX file" in capsys.readouterr().err
    assert main(["fcrn-nyu"]) == 1
    assert "model 'fcrn-nyu' is not on this machine yet: run `fetch_model fcrn-nyu`" in capsys.readouterr().err
