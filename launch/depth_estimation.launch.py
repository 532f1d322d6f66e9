"""Start the depth estimation node with the transport settings that large messages need, and optionally RViz."""

import os

from launch.actions import OpaqueFunction
from launch_ros.actions import LifecycleNode, Node

from depth_estimation_ros.launching.arguments import (
    SHARED,
    camera_namespaces,
    check_installed,
    check_programs,
    check_viewer,
    declared,
    described,
    environment,
    is_true,
    shared_options,
    typed,
    value,
)
from depth_estimation_ros.launching.environment import share_path
from depth_estimation_ros.settings import Settings

PARAMETERS = Settings.declarations()
ARGUMENTS = {
    **SHARED,
    "params_file": (share_path("config/depth_estimation.yaml"), "YAML file with the node's parameters."),
    "rviz": (False, "Start RViz."),
    "view": (False, "Show the depth live in a browser; see docs/viewing.md. A namespace of `cameras` takes two ports."),
    "view_address": ("127.0.0.1", "IP address that the browser's page listens on; 0.0.0.0 shows it to the network."),
    "view_port": (9090, "Port of the browser's page. The data takes the next one."),
    "fixed_frame": ("camera_optical_frame", "Fixed frame of RViz, e.g. base_link."),
    **{
        name: ("", f"{declaration.description} Default: the value in params_file.")
        for name, declaration in PARAMETERS.items()
    },
}


def generate_launch_description():
    """Declare all launch arguments, including one for each parameter of the node, and start the nodes."""
    return described(__file__, [*declared(ARGUMENTS), OpaqueFunction(function=_nodes)])


def _nodes(context):
    # Check everything before the first process is started: see depth_estimation_ros.launching.arguments.
    check_programs()
    given = {
        name: typed(name, text, declaration.default)
        for name, declaration in PARAMETERS.items()
        if (text := value(context, name))
    }
    if not os.path.isfile(params_file := value(context, "params_file")):
        raise ValueError(f"params_file {params_file!r} not found: give the path of a YAML file of parameters")
    if rviz := is_true(context, "rviz"):
        check_installed("rviz2")
    view = is_true(context, "view")
    if view:
        check_viewer()
    page = {"address": value(context, "view_address"), "port": typed("view_port", value(context, "view_port"), 9090)}
    use_sim_time = {"use_sim_time": is_true(context, "use_sim_time")}
    parameters = [params_file, given, use_sim_time]
    namespace, cameras = value(context, "namespace"), value(context, "cameras")
    namespaces = camera_namespaces(namespace, cameras)
    common = {"namespace": namespace, **shared_options(context)}
    if cameras:
        parameters.append({"cameras": cameras})
        yield Node(executable="multi_camera_node", parameters=parameters, **common)
    else:
        yield LifecycleNode(
            executable="depth_estimation_node", name="depth_estimation", parameters=parameters, **common
        )
    for index, camera in enumerate(namespaces if view else ()):
        yield Node(
            executable="view_depth",
            parameters=[params_file, given, use_sim_time, page | {"port": page["port"] + 2 * index}],
            **{**common, "namespace": camera},
        )
    for camera in namespaces if rviz else ():
        yield Node(
            package="rviz2",
            executable="rviz2",
            namespace=camera,
            arguments=["-d", str(share_path("config/depth_estimation.rviz")), "-f", value(context, "fixed_frame")],
            parameters=[use_sim_time],
            remappings=[("image", value(context, "image"))],
            additional_env=environment(context),
        )
