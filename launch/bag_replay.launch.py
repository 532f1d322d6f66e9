"""
A bag (ROS 1 or 2), a folder of images or a video, played as a camera to the depth estimation node, in RViz.

To replay the whole of a bag, transforms and other sensors included, start `depth_estimation.launch.py` with
`use_sim_time:=true` beside `ros2 bag play BAG --clock`.
"""

from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, ThisLaunchFileDir
from launch_ros.actions import Node

from depth_estimation_ros.launching import end_with_failed, typed
from depth_estimation_ros.processes import transport_environment
from launch import LaunchDescription

# Of image_source, beside `source`: default, and what it is.
PARAMETERS = {
    "rate": (0.0, "Images a second; 0 is the source's own rate."),
    "loop": (True, "Start again at the end."),
    "image_topic": ("", "The bag's topic of images; empty is the first."),
    "camera_info_topic": ("", "The bag's topic of intrinsics; empty is the first."),
    "horizontal_fov": (0.0, "Horizontal field of view in radians where the source has no intrinsics."),
}


def generate_launch_description():
    """Return the source and what `depth_estimation.launch.py` starts; its arguments can be given here too."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("source", description="Bag, folder of images, video, or the number of a webcam."),
            *(
                DeclareLaunchArgument(name, default_value=str(default).lower(), description=description)
                for name, (default, description) in PARAMETERS.items()
            ),
            DeclareLaunchArgument("rviz", default_value="true", description="Open RViz as well."),
            RegisterEventHandler(OnProcessExit(on_exit=end_with_failed)),
            OpaqueFunction(function=_check),
            # In a group, as its horizontal_fov is not the source's.
            GroupAction(
                [
                    IncludeLaunchDescription(
                        PythonLaunchDescriptionSource([ThisLaunchFileDir(), "/depth_estimation.launch.py"]),
                        # The source says it in its camera_info.
                        launch_arguments={"rviz": LaunchConfiguration("rviz"), "horizontal_fov": ""}.items(),
                    )
                ]
            ),
            OpaqueFunction(function=_source),
        ]
    )


def _read(context):
    """Return the source's parameters."""
    examples = {"source": "", **{name: default for name, (default, _) in PARAMETERS.items()}}
    return {n: typed(n, LaunchConfiguration(n).perform(context), example) for n, example in examples.items()}


def _check(context):
    """Find mistakes before the first process is started."""
    _read(context)


def _source(context):
    yield Node(
        package="depth_estimation_ros",
        executable="image_source",
        parameters=[_read(context)],
        additional_env=transport_environment(),
        output="screen",
    )
