"""Program ``depth_estimation_node``: the lifecycle node of one camera, from its start to its end."""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports, during which a user may press Ctrl-C
    from depth_estimation_ros import entry

    entry.node()

import threading
from collections.abc import Callable

import rclpy

from depth_estimation_ros.nodes.depth_estimation_node import DepthEstimationNode
from depth_estimation_ros.nodes.program import run_program
from depth_estimation_ros.nodes.start_errors import START_ERRORS, sentence
from depth_estimation_ros.runtime.executor import Executor


def main(args: list[str] | None = None) -> int:
    """
    Run the node until SIGINT, SIGTERM or SIGHUP.

    Returns
    -------
    int
        Exit code: 0 after a signal, 1 if the node could not start.
    """
    return run_program("depth_estimation_node", run_node, args, "max_depth:=5.0")


def run_node(stopping: threading.Event, started: Callable[[], None] = lambda: None, **kwargs) -> int:
    """
    Create a node and run it in this thread until the program ends.

    Parameters
    ----------
    stopping : threading.Event
        Event that the signal handler sets to end the program.
    started : callable
        Function called once the node is active, or, without autostart, waits for lifecycle service calls.
    **kwargs
        Passed to `DepthEstimationNode`.

    Returns
    -------
    int
        0, or 1 if the node could not start.
    """
    try:
        node = DepthEstimationNode(stopping, **kwargs)
    except START_ERRORS as error:
        name = f"{kwargs.get('namespace', '')}/depth_estimation".strip("/").replace("/", ".")
        rclpy.logging.get_logger(name).fatal(sentence(error))
        return 1
    executor = Executor(node)

    def spin() -> None:
        executor.spin_once(timeout_sec=0.0)

    try:
        if not node.settings.autostart:
            node.get_logger().info("autostart is false: waiting for the transitions configure and activate")
        if node.settings.autostart and not node.start(spin):
            return 0 if stopping.is_set() else 1
        started()
        while not stopping.is_set():
            executor.spin_once(timeout_sec=0.1)
        return 0
    finally:
        node.finish(spin)
        executor.remove_node(node)
        node.destroy_node()
