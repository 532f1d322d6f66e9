"""The benchmark of the node's own cost: the model that computes nothing, and a run of the command."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: requirements/ros2-jazzy.txt")
pytest.importorskip("onnx", reason="writes a model")
from ros_processes import REPOSITORY, ros_environment

from depth_estimation_ros.backends import create_backend
from depth_estimation_ros.bench.node import write_empty_model
from depth_estimation_ros.model import load_model


def bench(*arguments):
    command = [sys.executable, "-m", "depth_estimation_ros.bench.node", *map(str, arguments)]
    environment = {**os.environ, **ros_environment()}
    return subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)


def test_the_empty_model_has_the_sizes_of_the_real_one(tmp_path):
    model = load_model("default")
    empty = load_model(write_empty_model(model, tmp_path / "empty.onnx"))
    size = (model.info.input_height, model.info.input_width)
    assert (empty.info.input_height, empty.info.input_width) == size
    image = np.zeros((1, *size, 3), np.uint8)
    image[..., 0] = 250
    real, nothing = (create_backend(m, "cpu", 1).infer(image)["depth"] for m in (model, empty))
    assert nothing.shape == real.shape
    np.testing.assert_allclose(nothing, 2.5, rtol=1e-6)


def test_the_node_is_measured_with_and_without_inference(tmp_path):
    result = bench("--seconds", 1.5, "--output", tmp_path / "node.json")
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "node.json").read_text())
    assert all(frames > 10 for frames in figures["frames"])
    assert 0 < figures["receiving"] < figures["without_inference"] < figures["with_model"]
    assert figures["inference"] == pytest.approx(figures["with_model"] - figures["without_inference"], abs=1e-3)
    assert figures["ratio"] > 1 and figures["stages_ms"]["scan"] > 0
    assert "all of the node over inference" in result.stdout


def test_a_mistake_is_one_sentence(tmp_path):
    result = bench("--size", "4x4", "--output", tmp_path / "node.json")
    assert result.returncode == 1 and len(result.stderr.strip().splitlines()) == 1
    assert "--size at least 16x16" in result.stderr and not (tmp_path / "node.json").exists()
