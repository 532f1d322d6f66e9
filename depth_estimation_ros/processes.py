"""Start the package's nodes as processes of their own, with the transport settings that large messages need."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO

PACKAGE = "depth_estimation_ros"


def share_path(relative: str) -> Path:
    """
    Return a file of the package's share folder.

    Parameters
    ----------
    relative : str
        For example ``"config/fastdds.xml"``.

    Raises
    ------
    FileNotFoundError
        If neither the source tree nor the ament index has it.
    """
    # A source tree, or a development install, has its own; an installed package is found through the ament index.
    source = Path(__file__).resolve().parents[1] / relative
    if source.is_file():
        return source
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)  # pip installs there, and sets no such variable
    for prefix in os.environ["AMENT_PREFIX_PATH"].split(os.pathsep):
        if (path := Path(prefix) / "share" / PACKAGE / relative).is_file():
            return path
    raise FileNotFoundError(f"{relative} of {PACKAGE} was not found; install the package again")


def profile_variable() -> str:
    """Return the variable that names the profile to Fast DDS; from Kilted on it is another, and the old one warns."""
    distribution = os.environ.get("ROS_DISTRO")
    # The wheels of PyPI set no ROS_DISTRO, but hold Fast DDS 2 as a Python package.
    old = distribution in ("humble", "iron", "jazzy") if distribution else importlib.util.find_spec("fastrtps")
    return "FASTRTPS_DEFAULT_PROFILES_FILE" if old else "FASTDDS_DEFAULT_PROFILES_FILE"


def transport_environment() -> dict[str, str]:
    """
    Return environment variables that let megabyte messages pass between processes without loss.

    Fast DDS gets a shared-memory segment that holds several images, and glibc keeps the memory of large messages
    instead of mapping and unmapping it for each one. Variables that are set already are left alone.
    """
    wanted = {
        profile_variable(): str(share_path("config/fastdds.xml")),
        "MALLOC_MMAP_THRESHOLD_": "33554432",
        "MALLOC_TRIM_THRESHOLD_": "536870912",
    }
    return {name: value for name, value in wanted.items() if name not in os.environ}


def keep_to_this_machine() -> None:
    """
    Set for this process, and those that it starts, what a measurement needs, unless the user has set it.

    A domain of its own and nothing beyond this machine: another robot's camera must not end up in the figures. And
    `transport_environment`.
    """
    os.environ.update(transport_environment())
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    # Humble's name for it; newer distributions warn of that.
    humble = os.environ.get("ROS_DISTRO") == "humble"
    name, value = ("ROS_LOCALHOST_ONLY", "1") if humble else ("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault(name, value)


def start_node(
    module: str, parameters: dict, log: IO, remappings: Mapping[str, str] = MappingProxyType({})
) -> subprocess.Popen:
    """
    Start a node of this package.

    Parameters
    ----------
    module : str
        Module to run, e.g. ``"depth_estimation_ros.node"``.
    parameters : dict
        ROS parameters by name.
    log : file
        Takes what the node prints.
    remappings : mapping of str to str
        Names as the node has them, and what to call them instead.

    Returns
    -------
    subprocess.Popen
    """
    arguments = [sys.executable, "-m", module, "--ros-args"]
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={json.dumps(value)}"]
    for name, value in remappings.items():
        arguments += ["-r", f"{name}:={value}"]
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def stop(process: subprocess.Popen, timeout: float = 10.0) -> int:
    """End a process as Ctrl-C would, or by force after ``timeout`` seconds; return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def last_line(log: Path) -> str:
    """Return the last thing that a process has written to its log, without ROS's prefix of level, time and name."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].rsplit("]: ", 1)[-1] if lines else f"it printed nothing to {log}"
