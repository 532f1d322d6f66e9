"""Node ``multi_camera``: one depth estimation node per camera, in one process with a shared engine."""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports, during which a user may press Ctrl-C
    from depth_estimation_ros import entry

    entry.multi_camera()

import re
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import rclpy
from rclpy.exceptions import InvalidNamespaceException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.validate_namespace import validate_namespace

from depth_estimation_ros.nodes.depth_estimation import run_node
from depth_estimation_ros.nodes.program import run_program
from depth_estimation_ros.nodes.start_errors import START_ERRORS, sentence
from depth_estimation_ros.parameters.declaration import ParameterGroup, constant
from depth_estimation_ros.parameters.declare import declare
from depth_estimation_ros.runtime.session import Load
from depth_estimation_ros.runtime.shared_engine import SharedEngines
from depth_estimation_ros.settings import Settings


def _names(given: object) -> list[str]:
    """Return the names in the parameter's value."""
    names = re.split(r"[\s,]+", given.strip()) if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"cameras takes names, such as 'front left right', not {given!r}")
    if not any(names):
        raise ValueError("cameras is empty: name the cameras, such as -p cameras:='front left right'")
    return names


@dataclass(frozen=True)
class MultiCameraParameters(ParameterGroup):
    """Parameters of the node ``multi_camera``; those of the cameras' own nodes are in `settings.Settings`."""

    cameras: Sequence[str] = constant(
        "",
        "Names of the cameras, used as their namespaces, such as 'front left right'.",
        parse=_names,
    )


class MultiCamera(Node):
    """
    Node that holds the list of cameras.

    Each camera has its own node ``depth_estimation`` in its namespace, with its own topics, parameters, lifecycle,
    statistics, diagnostics (`depth_estimation_node.DepthEstimationNode`) and thread. Cameras with the same model and
    engine settings share one engine (`shared_engine`). Command-line arguments apply to all cameras. A parameter file
    can address each one, as ``/front/depth_estimation``.

    Parameters
    ----------
    cameras : str or list of str (ROS parameter)
        Names of the cameras, separated by spaces or commas. They are namespaces, relative to that of this node.

    Raises
    ------
    ValueError
        If no cameras are given, or a name is not a valid ROS namespace.
    """

    def __init__(self):
        super().__init__("multi_camera")
        chosen = declare(self, MultiCameraParameters, read_only=True, others=Settings.declarations())
        self.namespaces = [self._namespace(name) for name in chosen.cameras]
        for namespace in self.namespaces:
            if self.namespaces.count(namespace) > 1:
                raise ValueError(f"cameras names {namespace} twice; each camera needs a namespace of its own")

    def _namespace(self, name: str) -> str:
        namespace = name if name.startswith("/") else f"{self.get_namespace().rstrip('/')}/{name}"
        try:
            validate_namespace(namespace)
        except InvalidNamespaceException as error:
            raise ValueError(f"cameras: {name!r} is no name for ROS: {sentence(error).rstrip(':')}") from None
        return namespace


def main(args: list[str] | None = None) -> int:
    """
    Run the nodes of all cameras until SIGINT, SIGTERM or SIGHUP.

    Returns
    -------
    int
        Exit code: 0 after a signal, 1 if a camera's node could not start or ended with an error.
    """
    return run_program("multi_camera_node", _run, args, "cameras:='front rear'")


def _run(stopping: threading.Event) -> int:
    try:
        host = MultiCamera()
    except START_ERRORS as error:
        rclpy.logging.get_logger("multi_camera").fatal(sentence(error))
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(host)
    cameras, load = [], SharedEngines(len(host.namespaces)).load
    with ThreadPoolExecutor(len(host.namespaces)) as threads:
        try:
            for namespace in host.namespaces:
                # One after the other: the first one makes the engine, and an error common to all is logged once.
                started = threading.Event()
                camera = threads.submit(_run_camera, host, namespace, stopping, started, load)
                cameras.append(camera)
                while not (started.is_set() or camera.done() or stopping.is_set()):
                    executor.spin_once(timeout_sec=0.05)
                if camera.done():
                    stopping.set()
                if stopping.is_set():
                    break
            while not (stopping.is_set() or all(camera.done() for camera in cameras)):
                executor.spin_once(timeout_sec=0.1)
        finally:
            stopping.set()
    host.destroy_node()
    return max(camera.result() for camera in cameras)


def _run_camera(
    host: MultiCamera, namespace: str, stopping: threading.Event, started: threading.Event, load: Load
) -> int:
    """Run a camera's node; log an unexpected error, which ends this node only."""
    # A remapping for this node only, because a global one would give all nodes the same namespace.
    rules = ["--ros-args", "-r", f"__ns:={namespace}"]
    try:
        return run_node(
            stopping,
            started.set,
            load=load,
            others=MultiCameraParameters.declarations(),
            namespace=namespace,
            cli_args=rules,
        )
    except Exception:
        host.get_logger().error(f"{namespace} has ended, the other cameras go on: {traceback.format_exc()}")
        return 1
