"""The launch files run, where launch and the installed package are: topics, parameters, Ctrl-C, mistakes, a failure."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
from conftest import REPOSITORY
from depth_client import DepthClient, picture
from ros_processes import output, ros_context, ros_environment, wait_for
from sensor_msgs.msg import Image

pytest.importorskip("launch_ros", reason="launch comes with a full ROS installation, not from PyPI")

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch_file import prefix_of

try:
    get_package_prefix("depth_estimation_ros")
except PackageNotFoundError:
    pytest.skip(
        "the workspace is not built and sourced: colcon build, source install/setup.bash", allow_module_level=True
    )


# As a robot's own launch file includes the node's, with an argument of its own.
ROBOT = """
import sys
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription

def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("robot"),
        ExecuteProcess(cmd=[sys.executable, "-c", "import time; time.sleep(60)"]),
        IncludeLaunchDescription({node!r}, launch_arguments={{"model": "/none"}}.items()),
    ])
"""


@contextmanager
def launched(name, *arguments, **variables):
    """Launch a file for the length of a ``with`` block, in a process group of its own."""
    path = REPOSITORY / "launch" / name  # or a path of its own
    environment = {**os.environ, **ros_environment(), **variables}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environment["PYTHONPATH"]])
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "launch_file", str(path), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        process.log = log
        try:
            yield process
        finally:
            if anybody_left(process):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def anybody_left(process):
    """Tell whether the launch, or a process that it started, is alive."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def ctrl_c(process):
    """Send what the terminal sends, to the launch and all that it started; return the exit code."""
    os.killpg(process.pid, signal.SIGINT)
    return process.wait(20)


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
        assert ctrl_c(process) == 0 and not anybody_left(process)
        printed = output(process)
    assert "process has finished cleanly" in printed and "Traceback" not in printed
    assert printed.count("frames received = ") == 2


@pytest.mark.parametrize("name", ["depth_estimation.launch.py", "multi_camera.launch.py"])
def test_a_node_that_fails_ends_its_launch_by_one_sentence_and_exit_code_1(name):
    arguments = ["model:=/none", *["cameras:=front left"] * (name == "multi_camera.launch.py")]
    with launched(name, *arguments) as process:
        assert process.wait(30) == 1 and not anybody_left(process)
        printed = output(process)
    assert printed.count("model '/none' not found: give the path of an ONNX file") == 1
    assert "exit code 1" in printed and "Traceback" not in printed


def test_a_node_that_fails_leaves_a_launch_that_includes_it_alone(tmp_path):
    robot = tmp_path / "robot.launch.py"
    robot.write_text(ROBOT.format(node=str(REPOSITORY / "launch" / "depth_estimation.launch.py")))
    with ros_context(name="launch_observer") as node, launched(robot, "robot:=mine") as process:
        wait_for(node, lambda: "process has died" in output(process), process=process)
        assert process.poll() is None and "has no argument" not in output(process)
        assert ctrl_c(process) == 0 and not anybody_left(process)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("depth_estimation.launch.py", ["rviz:=true"], "rviz2 is not installed: give rviz:=false, or install it"),
        ("demo.launch.py", [], "rviz2 is not installed: give rviz:=false, or install it"),
        ("demo.launch.py", ["rviz:=false", "max_depth:=abc"], "max_depth takes a value such as 10.0, not 'abc'"),
        ("bag_replay.launch.py", ["rviz:=false", "source:=/bag", "rate:=abc"], "rate takes a value such as 0.0, not"),
        ("multi_camera.launch.py", [], "cameras is not given: name the namespaces of the cameras"),
        (
            "depth_estimation.launch.py",
            ["params_file:=/nope.yaml"],
            "params_file '/nope.yaml' not found: give the path",
        ),
        (
            "bag_replay.launch.py",
            ["sorce:=/bag", "quite_another:=1", "sigterm_timeout:=3"],
            "bag_replay.launch.py has no argument quite_another, sorce (did you mean source?); --show-args lists those",
        ),
    ],
)
def test_a_mistake_starts_nothing_and_leaves_nothing(name, arguments, sentence, tmp_path):
    with launched(name, *arguments, AMENT_PREFIX_PATH=prefix_of(tmp_path / "without_rviz")) as process:
        assert process.wait(20) == 1
        assert not anybody_left(process)
        printed = output(process)
    assert printed.count(sentence) == 1 and "Traceback" not in printed and "process started" not in printed


def test_a_package_that_pip_installed_says_how_its_programs_are_started(tmp_path):
    prefix = Path(prefix_of(tmp_path / "pip"))
    (prefix / "lib" / "depth_estimation_ros").unlink()
    with launched("depth_estimation.launch.py", AMENT_PREFIX_PATH=str(prefix)) as process:
        assert process.wait(20) == 1
        printed = output(process)
    assert "pip puts them on the PATH instead. Start depth_estimation_node --ros-args" in printed
    assert "process started" not in printed


def test_the_demo_runs_in_a_namespace_on_topics_of_other_names():
    arguments = ("rviz:=false", "namespace:=robot", "image:=/lens/image", "camera_info:=/lens/camera_info")
    with ros_context(name="launch_observer") as node, launched("demo.launch.py", *arguments) as process:
        depth = DepthClient(node, process, "/robot")
        depth.subscribe("depth/image")
        depth.wait(lambda: depth.got["depth/image"])
        depth.wait(lambda: all(map(node.count_publishers, ("/lens/image", "/robot/ground_truth/depth"))))
        assert ctrl_c(process) == 0 and not anybody_left(process)


@pytest.mark.parametrize(
    ("name", "argument", "sentence"),
    [
        ("bag_replay.launch.py", "source:=/nope", "image_source: source '/nope' does not exist"),
        ("demo.launch.py", "rate:=1000", "synthetic_camera: parameter rate must be"),
        ("demo.launch.py", "model:=/none", "model '/none' not found: give the path of an ONNX file"),
    ],
)
def test_a_process_that_fails_ends_the_others(name, argument, sentence):
    with launched(name, "rviz:=false", argument) as process:
        assert process.wait(30) == 1
        assert not anybody_left(process)
        printed = output(process)
    assert printed.count(sentence) == 1 and "Traceback" not in printed
    assert printed.count("process started") == 2 and printed.count("process has finished cleanly") == 1


def test_the_demo_takes_a_whole_number_as_rate_and_ends_by_ctrl_c():
    with ros_context(name="launch_observer") as node, launched("demo.launch.py", "rviz:=false", "rate:=10") as process:
        DepthClient(node, process).subscribe("depth/image")
        wait_for(node, lambda: "10 images a second" in output(process), process=process)
        assert ctrl_c(process) == 0 and not anybody_left(process)
        printed = output(process)
    assert printed.count("process has finished cleanly") == 2 and "Traceback" not in printed


def test_a_source_that_is_through_leaves_the_node_running(tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), picture())
    arguments = ("rviz:=false", "loop:=false", "rate:=20", f"source:={tmp_path}", "horizontal_fov:=1")
    with ros_context(name="launch_observer") as node, launched("bag_replay.launch.py", *arguments) as process:
        depth = DepthClient(node, process)
        depth.wait(lambda: "process has finished cleanly" in output(process))
        assert depth.set(min_depth=0.5).successful
        assert ctrl_c(process) == 0 and not anybody_left(process)
        printed = output(process)
    assert "published 1 images" in printed and "Caught exception" not in printed
    assert printed.count("process has finished cleanly") == 2
