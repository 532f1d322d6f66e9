"""
A bag (ROS 1 or 2), a folder of images or a video, played as a camera to the depth estimation node, in RViz.

To replay the whole of a bag, transforms and other sensors included, start `depth_estimation.launch.py` with
`use_sim_time:=true` beside `ros2 bag play BAG --clock`.
"""

from pathlib import Path

from launch.actions import GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource

from depth_estimation_ros.launching.arguments import SHARED, declared, described, read, sources

# A path, as --show-args can look into no other.
NODE = str(Path(__file__).with_name("depth_estimation.launch.py"))
# Of image_source: default, and what it is.
PARAMETERS = {
    "source": ("", "Bag, folder of images, video, or the number of a webcam; needed."),
    "rate": (0.0, "Images a second; 0 is the source's own rate."),
    "loop": (True, "Start again at the end."),
    "image_topic": ("", "The bag's topic of images; empty is the camera's."),
    "camera_info_topic": ("", "The bag's topic of intrinsics; empty is that of the images."),
    "frame_id": ("camera_optical_frame", "Frame of the images, whatever the bag says; RViz shows fixed_frame."),
    "horizontal_fov": (0.0, "Horizontal field of view in radians where the source has no intrinsics."),
}


def generate_launch_description():
    """Return the source and what `depth_estimation.launch.py` starts; its arguments can be given here too."""
    # The source says its field of view in its camera_info. In a group, so that only the node's is empty.
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(NODE), launch_arguments={"horizontal_fov": ""}.items()
    )
    return described(
        __file__,
        [
            *declared({**PARAMETERS, "rviz": (True, "Open RViz as well."), **SHARED}),
            OpaqueFunction(function=_check),
            GroupAction([node]),
            OpaqueFunction(function=_source),
        ],
    )


def _check(context):
    """Find mistakes before the first process is started."""
    if not read(context, PARAMETERS)["source"]:
        raise ValueError("source is not given: source:=BAG, or a folder of images, a video, the number of a webcam")


def _source(context):
    yield from sources(context, "image_source", read(context, PARAMETERS))
