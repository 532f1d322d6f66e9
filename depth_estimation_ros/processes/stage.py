"""Nodes of this package as child processes, and a client in this process that listens to them."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

from depth_estimation_ros.launching.environment import keep_to_this_machine
from depth_estimation_ros.support.children import ending_with_this

if TYPE_CHECKING:
    from depth_estimation_ros.processes.client import Client

DEPTH_NODE = "depth_estimation_ros.nodes.depth_estimation"
START_SECONDS = 60.0
"""Maximum time for a node to start, and for its first depth image."""

_STOP_SECONDS = 10.0
_SETTLE_SECONDS = 2.5  # time for two diagnostics messages of the node, which sends one each second

AnyClient = TypeVar("AnyClient", bound="Client")


class StageError(RuntimeError):
    """Error of a node that has ended, or of which nothing is received; the message is one sentence."""


class Stage(Generic[AnyClient]):
    """
    Child processes and their client, for the length of a ``with`` block.

    They have their own ROS domain (`keep_to_this_machine`). The processes are stopped at the end of the block, and when
    this process is killed. SIGTERM and SIGHUP raise KeyboardInterrupt in the block, as SIGINT does. rclpy's handlers
    are not used: they would shut down the context before the processes are stopped.

    Parameters
    ----------
    logs : pathlib.Path
        Folder of the logs, NAME.log for each process.
    client : callable
        Function that makes the client, after rclpy is initialised.
    ended : str
        Message for a process that has ended, with ``{name}``, ``{code}`` (exit code) and ``{line}`` (last line of its
        log).

    Attributes
    ----------
    client : Client
        The client, within the block.
    processes : dict of str to subprocess.Popen
        Processes by name.
    """

    client: AnyClient

    def __init__(self, logs: Path, client: Callable[[], AnyClient], ended: str = "the {name} failed: {line}"):
        self.processes: dict[str, subprocess.Popen] = {}
        self._logs, self._make_client, self._ended = logs, client, ended
        self._may_end: set[str] = set()
        self._ending = ExitStack()

    def __enter__(self) -> Stage[AnyClient]:
        """Initialise rclpy and make the client."""
        keep_to_this_machine()
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions

        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        with ExitStack() as ending:
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is signal.SIG_DFL:  # not ignored, as by nohup
                    ending.callback(signal.signal, number, signal.signal(number, signal.default_int_handler))
            ending.callback(rclpy.shutdown)
            self.client = self._make_client()
            ending.callback(self.client.destroy_node)
            self._executor = SingleThreadedExecutor()
            ending.callback(self._executor.shutdown)
            self._executor.add_node(self.client)
            ending.callback(lambda: [self.stop(name) for name in self.processes])
            self._ending = ending.pop_all()
        return self

    def __exit__(self, *_) -> None:
        """Stop the processes, and shut down rclpy."""
        self._ending.close()

    def start(
        self,
        name: str,
        module: str,
        parameters: Mapping[str, object],
        remappings: Mapping[str, str] = MappingProxyType({}),
        may_end: bool = False,
    ) -> None:
        """
        Start a node of this package.

        Parameters
        ----------
        name : str
            Name of the process, for messages and its log.
        module : str
            Module to run, e.g. `DEPTH_NODE`.
        parameters : mapping of str to object
            ROS parameters by name.
        remappings : mapping of str to str
            New names by the node's names.
        may_end : bool
            Whether the node may end by itself, as a source of images does at its end.
        """
        arguments = [sys.executable, "-m", module, "--ros-args"]
        for parameter, value in parameters.items():
            arguments += ["-p", f"{parameter}:={json.dumps(value)}"]
        for old, new in remappings.items():
            arguments += ["-r", f"{old}:={new}"]
        with open(self._log(name), "wb") as log:
            self.processes[name] = subprocess.Popen(
                ending_with_this(arguments), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        if may_end:
            self._may_end.add(name)

    def spin(self, seconds: float = math.inf, until: Callable[[], object] = lambda: False) -> bool:
        """
        Run the client's callbacks until a condition holds or the time is over; return whether the condition holds.

        Raises
        ------
        StageError
            If a process ends that should run, or fails.
        """
        deadline = time.monotonic() + seconds
        while not until():
            for name, process in self.processes.items():
                code = process.poll()
                if code or (code == 0 and name not in self._may_end):
                    raise self.failure(name)
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(0.1, left))
        return True

    def settling(self) -> Callable[[], bool]:
        """Return a function that says whether the depth node has reported since now, with every frame accounted for."""
        reported = time.monotonic() + _SETTLE_SECONDS
        return lambda: time.monotonic() > reported and self.client.all_accounted

    def is_running(self, name: str) -> bool:
        """Return whether a process is running."""
        return self.processes[name].poll() is None

    def stop(self, name: str) -> int:
        """Stop a process with SIGINT, or kill it after a while; return its exit code."""
        process = self.processes[name]
        self._may_end.add(name)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            return process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def failure(self, name: str) -> StageError:
        """Return the error of a process that has ended."""
        return StageError(
            self._ended.format(name=name, code=self.processes[name].returncode, line=self.last_line(name))
        )

    def last_line(self, name: str) -> str:
        """Return the last line of a process's log, without ROS's prefix of level, time and name."""
        log = self._log(name)
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].rsplit("]: ", 1)[-1] if lines else f"it printed nothing to {log}"

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"
