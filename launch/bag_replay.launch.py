"""
Play a bag (ROS 1 or 2), a folder of images or a video as a camera to the depth estimation node, and show it in RViz.

To replay a whole bag with transforms and other sensors, run `ros2 bag play BAG --clock` and
`depth_estimation.launch.py use_sim_time:=true` instead.
"""

from pathlib import Path

from launch.actions import GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource

from depth_estimation_ros.launching.arguments import SHARED, declared, described, read, sources

# A plain path, because --show-args cannot follow substitutions.
NODE = str(Path(__file__).with_name("depth_estimation.launch.py"))
# Parameters of image_source: (default, description).
PARAMETERS = {
    "source": ("", "Bag, folder of images, video, or number of a webcam. Required."),
    "rate": (0.0, "Images per second. 0 uses the rate of the source."),
    "loop": (True, "Restart the source at its end."),
    "image_topic": ("", "Image topic in the bag. Empty uses the one that fits best."),
    "camera_info_topic": ("", "CameraInfo topic in the bag. Empty uses the one that fits the images."),
    "frame_id": ("camera_optical_frame", "TF frame of the images; replaces the one in the bag. See also fixed_frame."),
    "horizontal_fov": (0.0, "Horizontal field of view in radians, used if the source has no intrinsics."),
}


def generate_launch_description():
    """Start the source and include `depth_estimation.launch.py`, whose arguments are accepted here too."""
    # The source publishes its field of view as camera_info, so the node's argument is empty. The group limits that to
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
            OpaqueFunction(function=_source),
        ],
    )


def _check(context):
    """Check the arguments before the first process is started."""
    if not read(context, PARAMETERS)["source"]:
        raise ValueError("source is not given: set source:= to a bag, a folder of images, a video or a webcam's number")


def _source(context):
    yield from sources(context, "image_source", read(context, PARAMETERS))
