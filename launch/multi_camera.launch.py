"""Start a depth estimation node for each of several cameras, in its namespace, in one process with one engine."""

from pathlib import Path

from launch.actions import IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource

from depth_estimation_ros.launching.arguments import SHARED, declared, described, value

# A plain path, because --show-args cannot follow substitutions.
NODE = str(Path(__file__).with_name("depth_estimation.launch.py"))


def generate_launch_description():
    """Include `depth_estimation.launch.py`, whose arguments are accepted here too."""
    cameras = {"cameras": SHARED["cameras"]}
    include = IncludeLaunchDescription(PythonLaunchDescriptionSource(NODE))
    return described(__file__, [*declared(cameras), OpaqueFunction(function=_check), include])


def _check(context):
    if not value(context, "cameras").strip(" ,"):
        raise ValueError("cameras is not given: name the namespaces of the cameras, e.g. cameras:='front left right'")
