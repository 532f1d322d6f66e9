"""The depth estimation node, with the transport settings that large messages need, and RViz on request."""

import os
import re

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from depth_estimation_ros.launching import check_installed, typed
from depth_estimation_ros.processes import transport_environment
from depth_estimation_ros.settings import DECLARATIONS, defaults
from launch import LaunchDescription

CONFIG = os.path.join(get_package_share_directory("depth_estimation_ros"), "config")


def generate_launch_description():
    """Declare an argument for everything that can be set, each parameter of the node included."""
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
        DeclareLaunchArgument(
            "cameras",
            default_value="",
            description="Namespaces of several cameras, such as 'front left right', within `namespace`: a node "
            "for each, in one process. Empty: one camera.",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value=os.path.join(CONFIG, "depth_estimation.yaml"),
            description="YAML file with the node's parameters.",
        ),
        DeclareLaunchArgument("image", default_value="image", description="Topic of the colour image."),
        DeclareLaunchArgument("camera_info", default_value="camera_info", description="Topic of its intrinsics."),
        DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock."),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
        DeclareLaunchArgument(
            "large_messages",
            default_value="true",
            description="Set the Fast DDS profile and the malloc thresholds that images and clouds need.",
        ),
        DeclareLaunchArgument("rviz", default_value="false", description="Open RViz as well."),
        DeclareLaunchArgument(
            "fixed_frame", default_value="camera_optical_frame", description="RViz's fixed frame, e.g. base_link."
        ),
    ]
    parameters = [
        DeclareLaunchArgument(
            name, default_value="", description=f"{declaration.description} Empty: as in params_file."
        )
        for name, declaration in DECLARATIONS.items()
    ]
    return LaunchDescription([*arguments, *parameters, OpaqueFunction(function=_nodes)])


def _nodes(context):
    def value(name):
        return LaunchConfiguration(name).perform(context)

    def is_true(name):
        return IfCondition(LaunchConfiguration(name)).evaluate(context)

    # Whatever can fail is read before the first process is started: see depth_estimation_ros.launching.
    given = {name: typed(name, text, default) for name, default in defaults().items() if (text := value(name))}
    if not os.path.isfile(params_file := value("params_file")):
        raise ValueError(f"params_file {params_file!r} not found: give the path of a YAML file of parameters")
    if rviz := is_true("rviz"):
        check_installed("rviz2")
    environment = transport_environment() if is_true("large_messages") else {}
    use_sim_time = {"use_sim_time": is_true("use_sim_time")}
    common = {
        "package": "depth_estimation_ros",
        "namespace": value("namespace"),
        "remappings": [("image", value("image")), ("camera_info", value("camera_info"))],
        "arguments": ["--ros-args", "--log-level", value("log_level")],
        "additional_env": environment,
        "output": "screen",
    }
    parameters = [params_file, given, use_sim_time]
    if cameras := value("cameras"):
        parameters.append({"cameras": cameras})
        yield Node(executable="multi_camera_node", parameters=parameters, **common)
    else:
        yield LifecycleNode(
            executable="depth_estimation_node", name="depth_estimation", parameters=parameters, **common
        )
    for camera in re.split(r"[\s,]+", cameras.strip()) if rviz else ():
        yield Node(
            package="rviz2",
            executable="rviz2",
            namespace="/".join(filter(None, (value("namespace"), camera))),
            arguments=["-d", os.path.join(CONFIG, "depth_estimation.rviz"), "-f", value("fixed_frame")],
            parameters=[use_sim_time],
            remappings=[("image", value("image"))],
            additional_env=environment,
        )
