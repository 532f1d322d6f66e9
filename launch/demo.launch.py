"""A synthetic camera and the depth estimation node, in RViz: nothing but this package and ROS is needed."""

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

# A path, as --show-args can look into no other.
NODE = str(Path(__file__).with_name("depth_estimation.launch.py"))
MOUNTING = {
    "camera_height": (1.3, "Height of the camera over the floor in metres."),
    "camera_pitch": (0.16, "Angle in radians by which it looks down."),
}
# Of synthetic_camera: default, and what it is.
PARAMETERS = {
    "seed": (0, "Chooses the room."),
    "rate": (30.0, "Images a second."),
    "horizontal_fov": (1.105, "Horizontal field of view of the camera in radians; that of the Kinect of NYU Depth v2."),
    **MOUNTING,
}


def generate_launch_description():
    """Return the camera and what `depth_estimation.launch.py` starts; its arguments can be given here too."""
    # The camera says its field of view in its camera_info. In a group, so that only the node's is empty.
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(NODE), launch_arguments={"horizontal_fov": ""}.items()
    )
    return described(
        __file__,
        [
            *declared({**PARAMETERS, "rviz": (True, "Open RViz as well."), **SHARED}),
            OpaqueFunction(function=_check),
            GroupAction([node]),
            OpaqueFunction(function=_camera),
        ],
    )


def _check(context):
    """Find mistakes before the first process is started."""
    read(context, PARAMETERS)
    if is_true(context, "rviz"):
        check_installed("rviz2", "tf2_ros")


def _camera(context):
    """Start the camera, and publish its mounting for RViz; the node has it from its parameters."""
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
