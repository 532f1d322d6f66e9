"""
Shared code of the launch files.

If a launch file fails after it has started a process, launch leaves that process running. The launch files therefore
read all arguments and check all packages before they start the first process.

`launch` exists only in a ROS installation, so it is imported where it is used.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from depth_estimation_ros.launching.environment import PACKAGE, transport_environment
from depth_estimation_ros.support.installing import how_to_install

if TYPE_CHECKING:
    from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
    from launch_ros.actions import Node

Value = bool | int | float | str

SHARED: Mapping[str, tuple[Value, str]] = {
    "namespace": ("", "Namespace of the node and its topics, and of the image source if one is started."),
    "cameras": (
        "",
        "Namespaces of several cameras within `namespace`, such as 'front left right'. Starts one node per camera, all "
        "in one process. Empty starts a single camera.",
    ),
    "image": ("image", "Topic of the colour images."),
    "camera_info": ("camera_info", "Topic of the camera intrinsics."),
    "use_sim_time": (False, "Use simulated time from /clock."),
    "log_level": ("info", "Log level: debug, info, warn, error or fatal."),
    "large_messages": (True, "Set the Fast DDS profile and the malloc thresholds that images and clouds need."),
}
"""Arguments that apply to every process, as (default, description) by name."""

# Launch configurations that launch itself uses.
_OF_LAUNCH = {"emulate_tty", "launch-prefix", "launch-prefix-filter", "sigkill_timeout", "sigterm_timeout"}


def declared(arguments: Mapping[str, tuple[Value, str]]) -> list[LaunchDescriptionEntity]:
    """Return declarations of launch arguments, which are given as (default, description) by name."""
    from launch.actions import DeclareLaunchArgument

    return [
        DeclareLaunchArgument(
            name,
            default_value=str(default).lower() if isinstance(default, bool) else str(default),
            description=description,
        )
        for name, (default, description) in arguments.items()
    ]


def described(path: str, entities: Iterable[LaunchDescriptionEntity]) -> LaunchDescription:
    """
    Return the launch description of one of the launch files.

    If ``ros2 launch`` was called with this file, unknown arguments are refused, and the launch ends when a process of
    this package fails. If another launch file includes it, neither applies: the including file decides.

    Parameters
    ----------
    path : str
        Path of the launch file.
    entities : iterable of launch.LaunchDescriptionEntity
        Declarations and actions of the launch file.
    """
    from launch import LaunchDescription
    from launch.actions import OpaqueFunction, RegisterEventHandler
    from launch.event_handlers import OnProcessExit

    description = LaunchDescription(list(entities))
    if not _asked_for(Path(path)):
        return description

    def check(context: LaunchContext) -> None:
        known = {argument.name for argument in description.get_launch_arguments()}
        check_names(Path(path).name, set(context.launch_configurations) - _OF_LAUNCH, known)

    handler = RegisterEventHandler(OnProcessExit(on_exit=end_with_failed))
    return LaunchDescription([OpaqueFunction(function=check), handler, *description.entities])


def _asked_for(path: Path) -> bool:
    """Return whether a launch file was named on the command line, by its path or as a file of this package."""
    if any(os.path.isfile(word) and os.path.samefile(word, path) for word in sys.argv):
        return True
    return (PACKAGE, path.name) in pairwise(sys.argv)


def check_names(file: str, given: Iterable[str], known: Iterable[str]) -> None:
    """
    Refuse arguments that a launch file does not have, because launch itself ignores them silently.

    Raises
    ------
    ValueError
        If an argument is unknown. The message suggests similar names.
    """
    known = sorted(known)
    mistakes = []
    for name in sorted(set(given) - set(known)):
        closest = difflib.get_close_matches(name, known, 1)
        mistakes.append(f"{name} (did you mean {closest[0]}?)" if closest else name)
    if mistakes:
        raise ValueError(f"{file} has no argument {', '.join(mistakes)}; --show-args lists those that it has")


def value(context: LaunchContext, name: str) -> str:
    """Return the value of a launch argument as text."""
    return context.launch_configurations[name]


def is_true(context: LaunchContext, name: str) -> bool:
    """Return whether a launch argument is true, by the rules of launch conditions."""
    from launch.conditions import IfCondition
    from launch.substitutions import LaunchConfiguration

    return IfCondition(LaunchConfiguration(name)).evaluate(context)


def read(context: LaunchContext, arguments: Mapping[str, tuple[Value, str]]) -> dict[str, Value]:
    """Return the values of launch arguments, converted to the types of their defaults."""
    return {name: typed(name, value(context, name), default) for name, (default, _) in arguments.items()}


def typed(name: str, text: str, default: Value) -> Value:
    """
    Convert a launch argument to the type of its parameter.

    Parameters
    ----------
    name : str
        Name of the argument, for the error message.
    text : str
        Value as text.
    default : bool, int, float or str
        Default of the parameter, which determines the type.

    Raises
    ------
    ValueError
        If the value has another type. An integer is accepted for a float.
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
    Check that the packages needed for RViz are installed.

    Raises
    ------
    ValueError
        If a package is not installed. The message says what to do.
    """
    # Look in the ament index, as ros2 pkg does.
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    for package in packages:
        if not any((prefix / "share/ament_index/resource_index/packages" / package).is_file() for prefix in prefixes):
            name = f"ros-{os.environ.get('ROS_DISTRO', '<distribution>')}-{package.replace('_', '-')}"
            raise ValueError(f"{package} is not installed: give rviz:=false, or install it (sudo apt install {name})")


def check_viewer() -> None:
    """
    Check that the viewer for the browser is installed.

    Raises
    ------
    ValueError
        If it is not. The message says what to do.
    """
    if importlib.util.find_spec("rerun") is None:
        raise ValueError(f"the viewer is not installed: give view:=false, or {how_to_install('rerun')}")


def check_programs() -> None:
    """
    Check that launch can find this package's programs; pip installs them where launch does not look.

    Raises
    ------
    ValueError
        If launch cannot find them. The message says how to start the programs instead.
    """
    folders = [Path(prefix) / "lib" / PACKAGE for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    if not any((folder / "depth_estimation_node").is_file() for folder in folders):
        raise ValueError(
            f"ros2 launch and ros2 run do not find the programs of {PACKAGE}: pip puts them on the PATH instead. Start "
            "depth_estimation_node --ros-args -r image:=/camera/image_raw itself, or build the package with colcon and "
            "source install/setup.bash"
        )


def camera_namespaces(namespace: str, cameras: str) -> list[str]:
    """
    Return the namespace of each camera, by the same rules as the node ``multi_camera``.

    Parameters
    ----------
    namespace, cameras : str
        Values of the launch arguments with these names.

    Raises
    ------
    ValueError
        If a name is not a valid ROS namespace.
    """
    from rclpy.exceptions import InvalidNamespaceException
    from rclpy.validate_namespace import validate_namespace

    names = cameras.replace(",", " ").split() or [""]
    found = [name if name.startswith("/") else "/".join(filter(None, (namespace.rstrip("/"), name))) for name in names]
    for name in found:
        try:
            validate_namespace(f"/{name.lstrip('/')}")
        except InvalidNamespaceException as error:
            reason = " ".join(str(error).split("\n")[0].split())
            raise ValueError(f"{name!r} is no namespace for ROS: {reason.rstrip(':')}") from None
    return found


def shared_options(context: LaunchContext) -> dict[str, Any]:
    """Return the options common to all processes of this package, from the arguments in `SHARED`."""
    return {
        "package": PACKAGE,
        "remappings": [(name, value(context, name)) for name in ("image", "camera_info")],
        "arguments": ["--ros-args", "--log-level", value(context, "log_level")],
        "additional_env": environment(context),
        "output": "screen",
    }


def environment(context: LaunchContext) -> dict[str, str]:
    """Return the environment variables for large messages; empty if ``large_messages`` is false."""
    return transport_environment() if is_true(context, "large_messages") else {}


def sources(context: LaunchContext, executable: str, parameters: Mapping[str, Value]) -> Iterator[Node]:
    """Yield a node that publishes images for each camera, in its namespace and on the topics of the depth node."""
    from launch_ros.actions import Node

    common = shared_options(context)
    given = {**parameters, "use_sim_time": is_true(context, "use_sim_time")}
    for namespace in camera_namespaces(value(context, "namespace"), value(context, "cameras")):
        yield Node(executable=executable, namespace=namespace, parameters=[given], **common)


def end_with_failed(event, context) -> None:
    """
    End the launch with exit code 1 when a process of this package has failed, because the others would wait for ever.

    This is an ``on_exit`` callback of ``launch.event_handlers.OnProcessExit``. The launch goes on if RViz is closed or
    crashes, or if an image source reaches its end.
    """
    ours = getattr(event.action, "node_package", None) == PACKAGE
    if ours and event.returncode and not context.is_shutdown:
        raise RuntimeError(f"{event.process_name} has failed and says why above")
