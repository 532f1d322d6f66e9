"""
A bag (ROS 1 or 2), a folder of images or a video, played as a camera to the depth estimation node, in RViz.

To replay the whole of a bag, transforms and other sensors included, start `depth_estimation.launch.py` with
`use_sim_time:=true` beside `ros2 bag play BAG --clock`.
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, ThisLaunchFileDir
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from depth_estimation_ros.processes import transport_environment
from launch import LaunchDescription

# Of image_source: type, default, and what it is.
PARAMETERS = {
    "source": (str, None, "Bag, folder of images, video, or the number of a webcam."),
    "rate": (float, "0.0", "Images a second; 0 is the source's own rate."),
    "loop": (bool, "true", "Start again at the end."),
    "image_topic": (str, "", "The bag's topic of images; empty is the first."),
    "camera_info_topic": (str, "", "The bag's topic of intrinsics; empty is the first."),
    "horizontal_fov": (float, "0.0", "Horizontal field of view in radians where the source has no intrinsics."),
}


def generate_launch_description():
    """Return the source and what `depth_estimation.launch.py` starts; its arguments can be given here too."""
    source = {name: ParameterValue(LaunchConfiguration(name), value_type=t) for name, (t, *_) in PARAMETERS.items()}
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (_, default, description) in PARAMETERS.items()
            ),
            DeclareLaunchArgument("rviz", default_value="true", description="Open RViz as well."),
            Node(
                package="depth_estimation_ros",
                executable="image_source",
                parameters=[source],
                additional_env=transport_environment(),
                output="screen",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource([ThisLaunchFileDir(), "/depth_estimation.launch.py"]),
                # The source says it in its camera_info.
                launch_arguments={"rviz": LaunchConfiguration("rviz"), "horizontal_fov": ""}.items(),
            ),
        ]
    )
