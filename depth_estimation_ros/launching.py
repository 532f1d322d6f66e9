"""
What the launch files share.

A launch file that fails after it has started a process leaves that one behind: launch waits for none of them then. So
the files read every argument, and ask for every package, before they start the first.
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml


def typed(name: str, text: str, default: bool | int | float | str) -> bool | int | float | str:
    """
    Return a launch argument as the type that the parameter has.

    Parameters
    ----------
    name : str
        Of the argument, for the message.
    text : str
        What the user gave.
    default : bool, int, float or str
        A value of that type.

    Raises
    ------
    ValueError
        If it is of another type. An integer is a float as well.
    """
    if isinstance(default, str):
        return text
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError:
        given = text
    if isinstance(default, float) and type(given) is int:
        return float(given)
    if type(given) is not type(default):
        raise ValueError(f"{name} takes a value such as {str(default).lower()}, not {text!r}")
    return given


def check_installed(*packages: str) -> None:
    """
    Ask for packages that are needed only for RViz.

    Raises
    ------
    ValueError
        If one is not installed; it says how to go on.
    """
    # The ament index, as ros2 pkg reads it.
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    for package in packages:
        if not any((prefix / "share/ament_index/resource_index/packages" / package).is_file() for prefix in prefixes):
            name = f"ros-{os.environ.get('ROS_DISTRO', '<distribution>')}-{package.replace('_', '-')}"
            raise ValueError(f"{package} is not installed: give rviz:=false, or install it (sudo apt install {name})")


def end_with_failed(event, context) -> None:
    """
    End the launch, with exit code 1, when a process of this package has failed: the others would wait for ever.

    An ``on_exit`` of ``launch.event_handlers.OnProcessExit``; RViz may be closed or crash, and a source may be through.
    """
    ours = getattr(event.action, "node_package", None) == "depth_estimation_ros"
    if ours and event.returncode and not context.is_shutdown:
        raise RuntimeError(f"{event.process_name} has failed and says why above")
