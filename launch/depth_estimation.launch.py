"""The depth estimation node with its parameter file and the transport settings that large messages need."""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from depth_estimation_ros.processes import transport_environment
from launch import LaunchDescription


def generate_launch_description():
    config = os.path.join(get_package_share_directory("depth_estimation_ros"), "config")
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
        DeclareLaunchArgument(
            "params_file",
            default_value=os.path.join(config, "depth_estimation.yaml"),
            description="YAML file with the node's parameters.",
        ),
        DeclareLaunchArgument("image", default_value="image", description="Topic of the colour image."),
        DeclareLaunchArgument("camera_info", default_value="camera_info", description="Topic of its intrinsics."),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
    ]
    node = LifecycleNode(
        package="depth_estimation_ros",
        executable="depth_estimation_node",
        name="depth_estimation",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file")],
        remappings=[
            ("image", LaunchConfiguration("image")),
            ("camera_info", LaunchConfiguration("camera_info")),
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        additional_env=transport_environment(),
        output="screen",
    )
    return LaunchDescription([*arguments, node])
