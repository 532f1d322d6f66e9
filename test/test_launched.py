"""The launch files run, where launch and the installed package are: topics, parameters, Ctrl-C, a mistake."""

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager

import pytest
from conftest import REPOSITORY
from depth_client import DepthClient
from ros_processes import output, ros_context, ros_environment, stop, wait_for
from sensor_msgs.msg import Image

pytest.importorskip("launch_ros", reason="launch comes with a full ROS installation, not from PyPI")

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

try:
    get_package_prefix("depth_estimation_ros")
except PackageNotFoundError:
    pytest.skip(
        "the workspace is not built and sourced: colcon build, source install/setup.bash", allow_module_level=True
    )


@contextmanager
def launched(name, *arguments):
    """Launch a file for the length of a ``with`` block."""
    path = REPOSITORY / "launch" / name
    environment = {**os.environ, **ros_environment()}
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY / "test"), environment["PYTHONPATH"]])
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "launch_file", str(path), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        process.log = log
        try:
            yield process
        finally:
            stop(process)


def test_several_cameras_give_depth_and_end_by_ctrl_c(tmp_path):
    settings = tmp_path / "cameras.yaml"
    settings.write_text("/robot/left/depth_estimation: {ros__parameters: {depth_encoding: 16UC1}}\n")
    arguments = ("cameras:=front left", "namespace:=robot", "image:=lens", f"params_file:={settings}", "max_depth:=7")
    with ros_context(name="launch_observer") as node, launched("multi_camera.launch.py", *arguments) as process:
        for name, encoding in (("front", "32FC1"), ("left", "16UC1")):
            camera = DepthClient(node, process, f"/robot/{name}")
            camera.images = node.create_publisher(Image, f"{camera.namespace}/lens", 10)
            camera.subscribe("depth/image")
            assert camera.send_until_published().encoding == encoding
            assert not camera.set(min_depth=7.0).successful, "max_depth is 7 for all"
            assert camera.set(min_depth=6.9).successful
        assert stop(process) == 0
        printed = output(process)
    assert "process has finished cleanly" in printed and "Traceback" not in printed
    assert printed.count("frames received = ") == 2


@pytest.mark.parametrize("name", ["depth_estimation.launch.py", "multi_camera.launch.py"])
def test_a_missing_model_is_one_sentence(name):
    arguments = ["model:=/none", *["cameras:=front left"] * (name == "multi_camera.launch.py")]
    with ros_context(name="launch_observer") as node, launched(name, *arguments) as process:
        wait_for(node, lambda: "process has died" in output(process) or process.poll() is not None)
        printed = output(process)
    assert printed.count("model '/none' not found: give the path of an ONNX file") == 1
    assert "exit code 1" in printed and "Traceback" not in printed


def test_several_cameras_need_names():
    with launched("multi_camera.launch.py") as process:
        assert process.wait(20) == 1
        assert "missing required argument 'cameras'" in output(process)
