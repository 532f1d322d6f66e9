"""A robot has what package.xml names and no more: every program that needs more says what to install, in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from ros_processes import ros_environment
from setup_file import distribution
from small_bags import write

pytest.importorskip("rclpy", reason="needs ROS 2: requirements/ros2-jazzy.txt")

# Runs a program where modules are hidden from every finder, as if they were not installed.
HIDING = """
import sys
from types import SimpleNamespace
program, hidden, *arguments = sys.argv[1:]
def without(finder):
    def find_spec(name, *rest):
        return None if name.partition(".")[0] in hidden.split(",") else finder.find_spec(name, *rest)
    return SimpleNamespace(find_spec=find_spec, invalidate_caches=lambda: None)
sys.meta_path[:] = map(without, sys.meta_path)
sys.argv[:] = [program, *arguments]
from depth_estimation_ros import entry
getattr(entry, program)()
"""
# What package.xml does not name, and what older ones did not.
OPTIONAL = "cuda,distributed,h5py,matplotlib,onnx,openvino,scipy,tensorrt,tensorrt_rtx,torch,torchvision,webdataset"
OLDER = f"{OPTIONAL},apsw,backports,lz4,rosbags"
RICH = "the Python package rich is missing: sudo apt install python3-rich"
ROSBAGS = "pip install 'rosbags<0.12' 'numpy<2'"
ONNX = "the Python package onnx is missing: pip install onnx 'numpy<2'"
QUANTIZE = ["default", "--calibration", "{pictures}", "--output", "{output}.onnx"]

# Program, modules that are missing, arguments, and what its last line has.
CASES = [
    ("node", "diagnostic_msgs", [], "diagnostic_msgs is missing: sudo apt install ros-jazzy-diagnostic-msgs"),
    ("node", "onnxruntime", [], "install it: pip install onnxruntime 'numpy<2'"),
    (
        "multi_camera",
        "yaml",
        [],
        "the Python package yaml is missing: sudo apt install python3-yaml",
    ),
    ("synthetic_camera", "cv2", [], "the Python package cv2 is missing: sudo apt install python3-opencv"),
    ("image_source", OLDER, ["--ros-args", "-p", "source:={bag}"], ROSBAGS),
    (
        "view_depth",
        "rerun",
        [],
        "view_depth: the Python package rerun is missing: pip install --no-deps 'rerun-sdk<0.42'",
    ),
    ("demo", "rich", [], f"demo: {RICH}"),
    ("demo", OLDER, ["--output", "{output}"], f"demo: the Python package rosbags is missing: {ROSBAGS}"),
    ("bench", "rich", [], f"bench: {RICH}"),
    ("evaluate_bag", "rich", ["{bag}"], f"evaluate_bag: {RICH}"),
    ("evaluate_bag", OLDER, ["{bag}"], ROSBAGS),
    ("evaluate_bag", OPTIONAL, ["{bag}"], "the report needs matplotlib: sudo apt install python3-matplotlib"),
    ("build_engine", "rich", ["default"], f"build_engine: {RICH}"),
    ("build_engine", OPTIONAL, ["default"], "build_engine: tensorrt cannot be imported"),
    ("engines", "rich", ["list"], f"engines: {RICH}"),
    ("quantize_model", "rich", QUANTIZE, f"quantize_model: {RICH}"),
    ("quantize_model", OPTIONAL, QUANTIZE, "install it: pip install onnx 'numpy<2'"),
    ("list_models", "rich", [], f"list_models: {RICH}"),
    ("wrap_model", OPTIONAL, ["--list"], f"wrap_model: {ONNX}"),
    ("fetch_model", OPTIONAL, ["fcrn-nyu"], f"fetch_model: {ONNX}"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run all cases, side by side, and return what each printed."""
    folder = tmp_path_factory.mktemp("robot")
    (folder / "pictures").mkdir()
    cv2.imwrite(str(folder / "pictures" / "one.png"), np.full((48, 64, 3), 90, np.uint8))
    places = {"bag": write(folder / "bag"), "pictures": folder / "pictures"}
    environment = {**os.environ, **ros_environment(), "ROS_DISTRO": "jazzy"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started = []
    for i, (program, hidden, arguments, _) in enumerate(CASES):
        words = [word.format(**places, output=folder / f"output{i}") for word in arguments]
        command = [sys.executable, "-c", HIDING, program, hidden, *words]
        started.append(subprocess.Popen(command, env=environment, cwd=folder, **pipes))
    return [(process.communicate(timeout=120)[0], process.returncode) for process in started]


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{CASES[i][0]}-{CASES[i][1].rpartition(',')[2]}")
def test_a_program_says_what_to_install(runs, case):
    printed, code = runs[case]
    last = printed.strip().splitlines()[-1]
    assert code == 1 and CASES[case][3] in last and "Traceback" not in printed, printed


def test_every_program_is_among_them():
    scripts = distribution().entry_points["console_scripts"]
    assert {script.rpartition(":")[2] for script in scripts} == {case[0] for case in CASES}
