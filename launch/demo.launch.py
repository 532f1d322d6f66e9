"""A synthetic camera and the depth estimation node, in RViz: nothing but this package and ROS is needed."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, ThisLaunchFileDir
from launch_ros.actions import Node

from depth_estimation_ros.geometry.pose import camera_pose, quaternion
from depth_estimation_ros.processes import transport_environment
from launch import LaunchDescription

MOUNTING = {
    "camera_height": ("1.3", "Height of the camera over the floor in metres."),
    "camera_pitch": ("0.16", "Angle in radians by which it looks down."),
}


def generate_launch_description():
    """Return the camera and what `depth_estimation.launch.py` starts; its arguments can be given here too."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("rviz", default_value="true", description="Open RViz as well."),
            DeclareLaunchArgument("seed", default_value="0", description="Chooses the room."),
            DeclareLaunchArgument("rate", default_value="30.0", description="Images a second."),
            *(
                DeclareLaunchArgument(name, default_value=value, description=text)
                for name, (value, text) in MOUNTING.items()
            ),
            Node(
                package="depth_estimation_ros",
                executable="synthetic_camera",
                parameters=[{name: LaunchConfiguration(name) for name in ("seed", "rate", *MOUNTING)}],
                additional_env=transport_environment(),
                output="screen",
            ),
            OpaqueFunction(function=_transform),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource([ThisLaunchFileDir(), "/depth_estimation.launch.py"]),
                launch_arguments={name: LaunchConfiguration(name) for name in ("rviz", *MOUNTING)}.items(),
            ),
        ]
    )


def _transform(context):
    """Publish the camera's mounting for RViz; the node has it from its parameters."""
    if LaunchConfiguration("rviz").perform(context).lower() not in ("true", "1"):
        return
    height, pitch = (float(LaunchConfiguration(name).perform(context)) for name in MOUNTING)
    rotation = quaternion(camera_pose(height, pitch))
    arguments = ["--z", str(height), "--frame-id", "base_link", "--child-frame-id", "camera_optical_frame"]
    for axis, value in zip(("qx", "qy", "qz", "qw"), rotation, strict=True):
        arguments += [f"--{axis}", str(value)]
    yield Node(package="tf2_ros", executable="static_transform_publisher", arguments=arguments)
