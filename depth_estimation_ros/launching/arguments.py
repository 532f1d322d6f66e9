"""
What the launch files share.

A launch file that fails after it has started a process leaves that one behind: launch waits for none of them then. So
the files read every argument, and ask for every package, before they start the first.

`launch` comes with a ROS installation only, and is imported where it is used.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from depth_estimation_ros.launching.environment import PACKAGE, transport_environment

if TYPE_CHECKING:
    from launch_ros.actions import Node

    from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

Value = bool | int | float | str

SHARED: Mapping[str, tuple[Value, str]] = {
    "namespace": ("", "Namespace of the node, its topics, and its source where one is started."),
    "cameras": (
        "",
        "Namespaces of several cameras, such as 'front left right', within `namespace`: a node for each, in one "
        "process. Empty: one camera.",
    ),
    "image": ("image", "Topic of the colour image."),
    "camera_info": ("camera_info", "Topic of its intrinsics."),
    "use_sim_time": (False, "Take the time from /clock."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
    "large_messages": (True, "Set the Fast DDS profile and the malloc thresholds that images and clouds need."),
}
"""Arguments that concern every process: default, and what they are."""

# Launch configurations that launch itself reads.
_OF_LAUNCH = {"emulate_tty", "launch-prefix", "launch-prefix-filter", "sigkill_timeout", "sigterm_timeout"}


def declared(arguments: Mapping[str, tuple[Value, str]]) -> list[LaunchDescriptionEntity]:
    """Return declarations of launch arguments, given by name as default and description."""
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
    Return the description of one of the launch files.

    Where ``ros2 launch`` was asked for that very file, an argument that it does not have is refused, and a process of
    this package that fails ends the launch. Where another file includes it, both are that one's to decide.

    Parameters
    ----------
    path : str
        Of the launch file.
    entities : iterable of launch.LaunchDescriptionEntity
        What it declares and starts.
    """
    from launch.actions import OpaqueFunction, RegisterEventHandler
    from launch.event_handlers import OnProcessExit

    from launch import LaunchDescription

    description = LaunchDescription(list(entities))
    if not _asked_for(Path(path)):
        return description

    def check(context: LaunchContext) -> None:
        known = {argument.name for argument in description.get_launch_arguments()}
        check_names(Path(path).name, set(context.launch_configurations) - _OF_LAUNCH, known)

    handler = RegisterEventHandler(OnProcessExit(on_exit=end_with_failed))
    return LaunchDescription([OpaqueFunction(function=check), handler, *description.entities])


def _asked_for(path: Path) -> bool:
    """Tell whether a launch file was named on the command line, by its path or as a file of this package."""
    if any(os.path.isfile(word) and os.path.samefile(word, path) for word in sys.argv):
        return True
    return (PACKAGE, path.name) in pairwise(sys.argv)


def check_names(file: str, given: Iterable[str], known: Iterable[str]) -> None:
    """
    Refuse arguments that a launch file does not have; launch itself takes any and says nothing.

    Raises
    ------
    ValueError
        If there are some; it says which arguments have names like theirs.
    """
    known = sorted(known)
    mistakes = []
    for name in sorted(set(given) - set(known)):
        closest = difflib.get_close_matches(name, known, 1)
        mistakes.append(f"{name} (did you mean {closest[0]}?)" if closest else name)
    if mistakes:
        raise ValueError(f"{file} has no argument {', '.join(mistakes)}; --show-args lists those that it has")


def value(context: LaunchContext, name: str) -> str:
    """Return a launch argument as the user gave it."""
    return context.launch_configurations[name]


def is_true(context: LaunchContext, name: str) -> bool:
    """Return a launch argument that is a condition, as launch reads those."""
    from launch.conditions import IfCondition
    from launch.substitutions import LaunchConfiguration

    return IfCondition(LaunchConfiguration(name)).evaluate(context)


def read(context: LaunchContext, arguments: Mapping[str, tuple[Value, str]]) -> dict[str, Value]:
    """Return launch arguments in the types of their defaults."""
    return {name: typed(name, value(context, name), default) for name, (default, _) in arguments.items()}


def typed(name: str, text: str, default: Value) -> Value:
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


def check_programs() -> None:
    """
    Ask for the package's own programs, which pip puts where launch does not look.

    Raises
    ------
    ValueError
        If they are not there; it says how to start them instead.
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
    Return the namespace of each camera, as `multi_camera` reads them, by the arguments of these names.

    Raises
    ------
    ValueError
        If ROS takes no such namespace.
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
    """Return what a process of this package is started with, whichever it is, by the arguments `SHARED`."""
    return {
        "package": PACKAGE,
        "remappings": [(name, value(context, name)) for name in ("image", "camera_info")],
        "arguments": ["--ros-args", "--log-level", value(context, "log_level")],
        "additional_env": environment(context),
        "output": "screen",
    }


def environment(context: LaunchContext) -> dict[str, str]:
    """Return the environment variables that large messages ask for, unless the user does without."""
    return transport_environment() if is_true(context, "large_messages") else {}


def sources(context: LaunchContext, executable: str, parameters: Mapping[str, Value]) -> Iterator[Node]:
    """Start a program that publishes images: one for each camera, in its namespace, on the topics of the node."""
    from launch_ros.actions import Node

    common = shared_options(context)
    given = {**parameters, "use_sim_time": is_true(context, "use_sim_time")}
    for namespace in camera_namespaces(value(context, "namespace"), value(context, "cameras")):
        yield Node(executable=executable, namespace=namespace, parameters=[given], **common)


def end_with_failed(event, context) -> None:
    """
    End the launch, with exit code 1, when a process of this package has failed: the others would wait for ever.

    An ``on_exit`` of ``launch.event_handlers.OnProcessExit``; RViz may be closed or crash, and a source may be through.
    """
    ours = getattr(event.action, "node_package", None) == PACKAGE
    if ours and event.returncode and not context.is_shutdown:
        raise RuntimeError(f"{event.process_name} has failed and says why above")
