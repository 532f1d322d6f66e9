"""The environment of the processes: paths of the package, the transport settings that large messages need."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

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
    source = Path(__file__).resolve().parents[2] / relative
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
