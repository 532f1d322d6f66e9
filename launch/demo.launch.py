"""A synthetic camera and the depth estimation node, in RViz: nothing but this package and ROS is needed."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, ThisLaunchFileDir
from launch_ros.actions import Node

from depth_estimation_ros.processes import transport_environment
from launch import LaunchDescription


def generate_launch_description():
    """Return the camera and what `depth_estimation.launch.py` starts; its arguments can be given here too."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("rviz", default_value="true", description="Open RViz as well."),
            DeclareLaunchArgument("seed", default_value="0", description="Chooses the room."),
            DeclareLaunchArgument("rate", default_value="30.0", description="Images a second."),
            Node(
                package="depth_estimation_ros",
                executable="synthetic_camera",
                parameters=[{name: LaunchConfiguration(name) for name in ("seed", "rate")}],
                additional_env=transport_environment(),
                output="screen",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource([ThisLaunchFileDir(), "/depth_estimation.launch.py"]),
                launch_arguments={"rviz": LaunchConfiguration("rviz")}.items(),
            ),
        ]
    )
