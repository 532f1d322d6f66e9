"""Start a synthetic camera, the depth estimation node and RViz. Only this package and ROS are needed."""

from pathlib import Path

from launch.actions import GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from depth_estimation_ros.geometry.pose import camera_pose, quaternion
from depth_estimation_ros.launching.arguments import (
    SHARED,
    check_installed,
    declared,
    described,
    is_true,
    read,
    sources,
)

# A plain path, because --show-args cannot follow substitutions.
NODE = str(Path(__file__).with_name("depth_estimation.launch.py"))
MOUNTING = {
    "camera_height": (1.3, "Height of the camera over the floor in metres."),
    "camera_pitch": (0.16, "Downward pitch of the camera in radians."),
}
# Parameters of synthetic_camera: (default, description).
PARAMETERS = {
    "seed": (0, "Seed of the room."),
    "rate": (30.0, "Images per second."),
    "horizontal_fov": (1.105, "Horizontal field of view in radians. The default is that of the NYU Depth v2 Kinect."),
    **MOUNTING,
}


def generate_launch_description():
    """Start the camera and include `depth_estimation.launch.py`, whose arguments are accepted here too."""
    # The camera publishes its field of view as camera_info, so the node's argument is empty. The group limits that to
    # the node.
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(NODE), launch_arguments={"horizontal_fov": ""}.items()
    )
    return described(
        __file__,
        [
            *declared({**PARAMETERS, "rviz": (True, "Start RViz."), **SHARED}),
            OpaqueFunction(function=_check),
            GroupAction([node]),
            OpaqueFunction(function=_camera),
        ],
    )


def _check(context):
    """Check the arguments before the first process is started."""
    read(context, PARAMETERS)
    if is_true(context, "rviz"):
        check_installed("rviz2", "tf2_ros")


def _camera(context):
    """Start the camera, and publish its pose on TF for RViz; the node knows the pose from its parameters."""
    parameters = read(context, PARAMETERS)
    yield from sources(context, "synthetic_camera", parameters)
    if not is_true(context, "rviz"):
        return
    height, pitch = (parameters[name] for name in MOUNTING)
    base = context.launch_configurations.get("base_frame") or "base_link"
    arguments = ["--z", str(height), "--frame-id", base, "--child-frame-id", "camera_optical_frame"]
    for axis, part in zip(("qx", "qy", "qz", "qw"), quaternion(camera_pose(height, pitch)), strict=True):
        arguments += [f"--{axis}", str(part)]
    yield Node(package="tf2_ros", executable="static_transform_publisher", arguments=arguments)
