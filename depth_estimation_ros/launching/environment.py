"""Paths of the package's files, and the environment variables that large messages need."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

PACKAGE = "depth_estimation_ros"


def share_path(relative: str) -> Path:
    """
    Return the path of a file in the package's share folder.

    Parameters
    ----------
    relative : str
        Path within the share folder, for example ``"config/fastdds.xml"``.

    Raises
    ------
    FileNotFoundError
        If neither the source tree nor an installation has the file.
    """
    # A source tree or a development install has its own files. Otherwise search the prefixes of the installation.
    source = Path(__file__).resolve().parents[2] / relative
    if source.is_file():
        return source
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)  # pip installs there, but does not set this variable
    for prefix in os.environ["AMENT_PREFIX_PATH"].split(os.pathsep):
        if (path := Path(prefix) / "share" / PACKAGE / relative).is_file():
            return path
    raise FileNotFoundError(f"{relative} of {PACKAGE} was not found; install the package again")


def profile_variable() -> str:
    """Return the variable that names the Fast DDS profile file; Kilted and later use a new name and warn of the old."""
    distribution = os.environ.get("ROS_DISTRO")
    # ROS 2 wheels from PyPI do not set ROS_DISTRO, but contain Fast DDS 2 as a Python package.
    old = distribution in ("humble", "iron", "jazzy") if distribution else importlib.util.find_spec("fastrtps")
    return "FASTRTPS_DEFAULT_PROFILES_FILE" if old else "FASTDDS_DEFAULT_PROFILES_FILE"


def transport_environment() -> dict[str, str]:
    """
    Return environment variables for lossless transport of megabyte messages between processes.

    Fast DDS gets a shared-memory segment that holds several images. glibc keeps the memory of large messages instead
    of mapping and unmapping it for each one. Variables that are already set are not changed.
    """
    wanted = {
        profile_variable(): str(share_path("config/fastdds.xml")),
        "MALLOC_MMAP_THRESHOLD_": "33554432",
        "MALLOC_TRIM_THRESHOLD_": "536870912",
    }
    return {name: value for name, value in wanted.items() if name not in os.environ}


def keep_to_this_machine() -> None:
    """
    Isolate this process and its child processes from other ROS nodes, for measurements.

    They get their own ROS domain and communicate only on this machine, so that other robots cannot affect a
    measurement. `transport_environment` is also applied. Variables that are already set are not changed.
    """
    os.environ.update(transport_environment())
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    # Humble has its own variable, and newer distributions warn if it is set.
    humble = os.environ.get("ROS_DISTRO") == "humble"
    name, value = ("ROS_LOCALHOST_ONLY", "1") if humble else ("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault(name, value)
