"""Start the nodes of this package as child processes, and stop them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO


def start_node(
    module: str, parameters: dict, log: IO, remappings: Mapping[str, str] = MappingProxyType({})
) -> subprocess.Popen:
    """
    Start a node of this package.

    Parameters
    ----------
    module : str
        Module to run, e.g. ``"depth_estimation_ros.nodes.depth_estimation"``.
    parameters : dict
        ROS parameters by name.
    log : file
        File that receives the node's output.
    remappings : mapping of str to str
        New names by the node's names.

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
    """Stop a process with SIGINT, or kill it after ``timeout`` seconds; return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def last_line(log: Path) -> str:
    """Return the last line of a process's log, without ROS's prefix of level, time and name."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].rsplit("]: ", 1)[-1] if lines else f"it printed nothing to {log}"
