"""What pip and colcon install."""

from __future__ import annotations

import subprocess
import sys

from conftest import REPOSITORY
from setup_file import distribution

PACKAGE = "depth_estimation_ros"


def test_nothing_is_installed_beside_the_package(tmp_path):
    subprocess.run([sys.executable, "setup.py", "-q", "build_py", "-d", tmp_path], cwd=REPOSITORY, check=True)
    assert [path.name for path in tmp_path.iterdir()] == [PACKAGE]
    installed = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.py")}
    assert installed == {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / PACKAGE).rglob("*.py")}
    assert (tmp_path / PACKAGE / "weights" / "nyu_resnet18_small.onnx").is_file()


def test_every_command_is_in_the_package():
    scripts = distribution().entry_points["console_scripts"]
    assert scripts and all(script.split(" = ")[1].startswith(f"{PACKAGE}.entry:") for script in scripts)
