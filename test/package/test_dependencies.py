"""What the code imports is asked for where it is installed: package.xml on a robot, setup.py with pip."""

from __future__ import annotations

import ast
import sys
from xml.etree import ElementTree

import pytest
from conftest import REPOSITORY
from packaging.requirements import Requirement
from setup_file import distribution, install_requires

# In package.xml, a ROS package has the name of its module, but for these; other modules have rosdep's keys.
KEYS = {
    "tf2_ros": "tf2_ros_py",
    "cv2": "python3-opencv",
    "numpy": "python3-numpy",
    "onnxruntime": "python3-onnxruntime-pip",
    "rich": "python3-rich",
    "rosbags": "python3-rosbags-pip",
    "yaml": "python3-yaml",
}
# Only some programs need these, and say so where they are missing (test_missing_packages.py).
OPTIONAL = {"cuda", "distributed", "matplotlib", "onnx", "openvino", "rerun", "rerun_cli", "tensorrt", "tensorrt_rtx"}
# They come with rosbags, or with Python from 3.14 on.
OF_ROSBAGS = {"backports", "compression", "lz4"}
# The launch files start programs of these packages, and `ros2 launch` starts the launch files.
STARTED = {"ros2launch", "rviz2", "tf2_ros"}

WHEELS = {
    "cuda": "cuda-bindings",
    "cv2": "opencv-python-headless",
    "rerun": "rerun-sdk",
    "rerun_cli": "rerun-sdk",
    "tensorrt_rtx": "tensorrt-rtx",
    "yaml": "PyYAML",
}
# NVIDIA's own: with JetPack, or as the system's package.
NOT_OF_PIP = {"tensorrt"}


def imported() -> set[str]:
    """Return the modules that the package and the launch files import, wherever in a file."""
    found = set()
    for path in [*(REPOSITORY / "depth_estimation_ros").rglob("*.py"), *(REPOSITORY / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(), path.name)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module)
    modules = {name.partition(".")[0] for name in found}
    return modules - set(sys.stdlib_module_names) - {"depth_estimation_ros"} - OF_ROSBAGS


def of_ros(module: str) -> bool:
    return module.endswith(("_msgs", "_srvs", "_interfaces")) or module in ("launch", "launch_ros", "rclpy", "tf2_ros")


def test_package_xml_asks_for_all_that_is_imported_and_for_nothing_else():
    named = [depend.text for depend in ElementTree.parse(REPOSITORY / "package.xml").iter("exec_depend")]
    assert len(named) == len(set(named))
    modules = imported()
    assert "rclpy" in modules
    assert set(named) == {KEYS.get(module, module) for module in modules - OPTIONAL} | STARTED


def test_setup_py_asks_for_every_imported_package_that_is_not_of_ros(monkeypatch):
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    found = distribution()
    asked = {name(line) for lines in (found.install_requires, *found.extras_require.values()) for line in lines}
    wanted = {WHEELS.get(module, module) for module in imported() - NOT_OF_PIP if not of_ros(module)}
    assert wanted <= asked


@pytest.mark.parametrize("ros", ("humble", "jazzy", "kilted", ""))
def test_beside_an_installed_ros_pip_is_asked_for_no_second_opencv_and_no_numpy_2(ros, monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", ros)
    asked = {name(line): Requirement(line) for line in install_requires()}
    assert ("opencv-python-headless" in asked) == (not ros)
    assert ("2.0" in asked["numpy"].specifier) == (not ros) and "1.26.4" in asked["numpy"].specifier


def test_the_packages_for_a_robot_keep_numpy_and_bring_no_opencv(monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    lines = (REPOSITORY / "requirements" / "robot.txt").read_text().splitlines()
    asked = {name(line): Requirement(line) for line in lines if line and not line.startswith("#")}
    assert "2.0" not in asked["numpy"].specifier and not any("opencv" in package for package in asked)
    of_setup = {name(line): Requirement(line) for line in install_requires()}
    assert all(line == of_setup[package] for package, line in asked.items() if package != "numpy")


def name(line: str) -> str:
    return Requirement(line).name
