"""A synthetic camera and the depth estimation node, in RViz: nothing but this package and ROS is needed."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, RegisterEventHandler
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, ThisLaunchFileDir
from launch_ros.actions import Node

from depth_estimation_ros.geometry.pose import camera_pose, quaternion
from depth_estimation_ros.launching import check_installed, end_with_failed, typed
from depth_estimation_ros.processes import transport_environment
from launch import LaunchDescription

MOUNTING = {
    "camera_height": (1.3, "Height of the camera over the floor in metres."),
    "camera_pitch": (0.16, "Angle in radians by which it looks down."),
}
# Of synthetic_camera: default, and what it is.
PARAMETERS = {"seed": (0, "Chooses the room."), "rate": (30.0, "Images a second."), **MOUNTING}


def generate_launch_description():
    """Return the camera and what `depth_estimation.launch.py` starts; its arguments can be given here too."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("rviz", default_value="true", description="Open RViz as well."),
            *(
                DeclareLaunchArgument(name, default_value=str(default), description=description)
                for name, (default, description) in PARAMETERS.items()
            ),
            RegisterEventHandler(OnProcessExit(on_exit=end_with_failed)),
            OpaqueFunction(function=_check),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource([ThisLaunchFileDir(), "/depth_estimation.launch.py"]),
                launch_arguments={name: LaunchConfiguration(name) for name in ("rviz", *MOUNTING)}.items(),
            ),
            OpaqueFunction(function=_camera),
        ]
    )


def _read(context):
    """Return the camera's parameters, and whether RViz is asked for."""
    texts = {name: LaunchConfiguration(name).perform(context) for name in PARAMETERS}
    parameters = {name: typed(name, text, PARAMETERS[name][0]) for name, text in texts.items()}
    return parameters, IfCondition(LaunchConfiguration("rviz")).evaluate(context)


def _check(context):
    """Find mistakes before the first process is started."""
    _, rviz = _read(context)
    if rviz:
        check_installed("rviz2", "tf2_ros")


def _camera(context):
    """Start the camera, and publish its mounting for RViz; the node has it from its parameters."""
    parameters, rviz = _read(context)
    yield Node(
        package="depth_estimation_ros",
        executable="synthetic_camera",
        parameters=[parameters],
        additional_env=transport_environment(),
        output="screen",
    )
    if not rviz:
        return
    height, pitch = (parameters[name] for name in MOUNTING)
    rotation = quaternion(camera_pose(height, pitch))
    arguments = ["--z", str(height), "--frame-id", "base_link", "--child-frame-id", "camera_optical_frame"]
    for axis, value in zip(("qx", "qy", "qz", "qw"), rotation, strict=True):
        arguments += [f"--{axis}", str(value)]
    yield Node(package="tf2_ros", executable="static_transform_publisher", arguments=arguments)
