"""Several cameras: a depth estimation node for each in its namespace, in one process with one engine."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, ThisLaunchFileDir

from launch import LaunchDescription


def generate_launch_description():
    """Return what `depth_estimation.launch.py` starts; its arguments can be given here too."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "cameras", description="Namespaces of the cameras, separated by spaces or commas: 'front left right'."
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource([ThisLaunchFileDir(), "/depth_estimation.launch.py"]),
                launch_arguments={"cameras": LaunchConfiguration("cameras")}.items(),
            ),
        ]
    )
