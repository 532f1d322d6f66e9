"""
Nodes as separate processes, for tests of what crosses the wire.

A test starts a node with :func:`start_node`, talks to it through a node of its own (:func:`ros_context`),
waits with :func:`wait_for`, and ends it as a person would, with Ctrl-C: :func:`stop`. Both sides share a
``ROS_DOMAIN_ID`` that nobody else has, and stay on this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from depth_estimation_ros.launching.environment import profile_variable

REPOSITORY = Path(__file__).resolve().parents[1]


def free_domain() -> tuple[int, socket.socket]:
    """
    Take a ROS domain that no other run of the tests on this machine has, and no other worker of this one.

    Returns
    -------
    domain_id : int
    taken : socket.socket
        A socket in Linux's abstract namespace: its name belongs to one process, until that ends in whatever way.
    """
    # 0 is everybody's default, and above 101 the ports of DDS overlap Linux's ephemeral ones.
    for domain_id in range(1, 102):
        taken = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            taken.bind(f"\0depth_estimation_ros test domain {domain_id}")
            return domain_id, taken
        taken.close()
    raise RuntimeError("every ROS domain from 1 to 101 is taken by a run of these tests")


def free_ports(count: int) -> int:
    """Return the first of some consecutive TCP ports that are free on this machine."""
    while True:
        with contextlib.ExitStack() as taken, contextlib.suppress(OSError, OverflowError):
            first = 0
            for number in range(count):
                trial = taken.enter_context(socket.socket())
                trial.bind(("127.0.0.1", first + number if first else 0))
                first = first or trial.getsockname()[1]
            return first


DOMAIN_ID, _TAKEN = free_domain()

# A job in the background of a shell inherits "ignore SIGINT", and would hand it on to every node it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Under nohup it is SIGHUP. This process goes on to ignore it, but a handler is not handed on.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def ros_environment(domain_id: int = DOMAIN_ID) -> dict[str, str]:
    """Return the variables that every ROS process of a test runs with, this one included."""
    return {
        "ROS_DOMAIN_ID": str(domain_id),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_PYTHON_CHECK_FIELDS": "1",
        # Without it Fast DDS loses images on a busy machine, even reliable ones for seconds.
        profile_variable(): str(REPOSITORY / "config" / "fastdds.xml"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }


def start_node(
    module: str,
    *ros_args: str,
    parameters: dict | None = None,
    remappings: dict[str, str] | None = None,
    domain_id: int = DOMAIN_ID,
    env: dict[str, str] | None = None,
) -> subprocess.Popen:
    """
    Start ``python -m <module> --ros-args ...`` in a process of its own.

    Parameters
    ----------
    module : str
        Module to run, e.g. ``"depth_estimation_ros.nodes.synthetic_camera"``.
    *ros_args : str
        Further ROS arguments, e.g. ``"--params-file", "x.yaml"``.
    parameters : dict, optional
        Parameters by name. A string stays a string, also one like ``"0"``.
    remappings : dict, optional
        Names as the node has them, and what to call them instead.
    domain_id : int
        ``ROS_DOMAIN_ID`` of the node.
    env : dict, optional
        Further environment variables.

    Returns
    -------
    subprocess.Popen
        The process. What it prints goes to a file (a pipe nobody empties blocks the node): :func:`output`.
    """
    arguments = [sys.executable, "-m", module, "--ros-args", *ros_args]
    for name, value in (parameters or {}).items():
        arguments += ["-p", f"{name}:={json.dumps(value)}"]
    for name, value in (remappings or {}).items():
        arguments += ["-r", f"{name}:={value}"]
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    process = subprocess.Popen(
        arguments,
        env={**os.environ, **ros_environment(domain_id), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    process.log = log
    return process


def output(process: subprocess.Popen) -> str:
    """Return what a process of :func:`start_node` has printed so far, stdout and stderr together."""
    size = os.fstat(process.log.fileno()).st_size
    return os.pread(process.log.fileno(), size, 0).decode(errors="replace")


def stop(process: subprocess.Popen, timeout: float = 10.0) -> int:
    """
    End a process as Ctrl-C would and return its exit code (of one that has ended already: the one it had).

    Raises
    ------
    AssertionError
        If it is still alive after ``timeout`` seconds (it is killed then); the text holds what it printed.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"did not end within {timeout} s of SIGINT; it printed:\n{output(process)}") from None


@contextlib.contextmanager
def running_node(module: str, *ros_args: str, **kwargs):
    """Run a node for the length of a ``with`` block; arguments are those of :func:`start_node`."""
    process = start_node(module, *ros_args, **kwargs)
    try:
        yield process
    finally:
        # A killed process leaves its shared memory behind.
        process.terminate()
        try:
            process.wait(3.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def ros_context(domain_id: int = DOMAIN_ID, name: str = "test_observer"):
    """Give the test a node of its own, an ``rclpy.node.Node``, on the domain of the nodes under test."""
    os.environ.update({k: v for k, v in ros_environment(domain_id).items() if k.startswith(("ROS_", "FAST"))})
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    node = rclpy.create_node(name, context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def wait_for(node, condition, timeout: float = 20.0, process: subprocess.Popen | None = None) -> None:
    """
    Spin ``node`` until ``condition()`` holds.

    The timeout is a safety net, not a measurement: it is generous, and only a failing test gets near it.

    Raises
    ------
    AssertionError
        If the time passes, or ``process`` ends before; the text holds what ``process`` printed.
    """
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    deadline = time.monotonic() + timeout
    try:
        while not condition():
            printed = f"; it printed:\n{output(process)}" if process is not None else ""
            if process is not None and process.poll() is not None:
                raise AssertionError(f"the node ended with exit code {process.returncode}{printed}")
            if time.monotonic() > deadline:
                raise AssertionError(f"did not happen within {timeout} s{printed}")
            executor.spin_once(timeout_sec=0.05)
    finally:
        executor.remove_node(node)
        executor.shutdown()
