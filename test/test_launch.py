"""The launch files, where launch and launch_ros are installed, as they come with a full ROS."""

from pathlib import Path

import pytest
import yaml

pytest.importorskip("launch_ros", reason="launch comes with a full ROS installation, not from PyPI")

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import IncludeLaunchDescription, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource

from depth_estimation_ros.settings import DECLARATIONS

LAUNCH = Path(__file__).resolve().parents[1] / "launch"

try:
    get_package_share_directory("depth_estimation_ros")
except PackageNotFoundError:
    pytest.skip(
        "the workspace is not built and sourced: colcon build, source install/setup.bash", allow_module_level=True
    )


def described(name):
    source = PythonLaunchDescriptionSource(str(LAUNCH / name))
    return source.get_launch_description(LaunchContext())


def nodes(**arguments):
    """Return what depth_estimation.launch.py would start with these arguments."""
    description, context = described("depth_estimation.launch.py"), LaunchContext()
    for argument in description.get_launch_arguments():
        default = "".join(part.perform(context) for part in argument.default_value)
        context.launch_configurations[argument.name] = arguments.get(argument.name, default)
    (function,) = (entity for entity in description.entities if isinstance(entity, OpaqueFunction))
    return list(function.execute(context))


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.launch.py")), ids=lambda path: path.name)
def test_every_launch_file_says_what_its_arguments_are(path):
    arguments = described(path.name).get_launch_arguments()
    assert arguments and all(len(argument.description) > 10 for argument in arguments)


def test_every_parameter_of_the_node_is_an_argument():
    names = [argument.name for argument in described("depth_estimation.launch.py").get_launch_arguments()]
    assert set(DECLARATIONS) <= set(names) and len(names) == len(set(names))


def test_an_argument_that_is_not_of_its_parameters_type_is_one_sentence():
    with pytest.raises(ValueError, match="threads takes a value such as 0, not 'many'"):
        nodes(threads="many")


@pytest.mark.parametrize("asked", (False, True))
def test_rviz_comes_only_when_it_is_asked_for(asked):
    started = nodes(rviz=str(asked).lower())
    assert [node.node_package for node in started] == ["depth_estimation_ros", *["rviz2"] * asked]


def test_cameras_are_one_process_and_each_has_an_rviz():
    (one,) = nodes()
    several, *views = nodes(cameras="front, left", rviz="true")
    assert (one.node_executable, several.node_executable) == ("depth_estimation_node", "multi_camera_node")
    assert [view.node_package for view in views] == ["rviz2", "rviz2"]


@pytest.mark.parametrize("name", ("demo.launch.py", "bag_replay.launch.py", "multi_camera.launch.py"))
def test_the_others_start_the_node_through_the_first(name):
    included = [e for e in described(name).entities if isinstance(e, IncludeLaunchDescription)]
    assert len(included) == 1


def test_the_rviz_configuration_shows_what_the_node_publishes():
    from depth_estimation_ros.frame.pipeline import OUTPUTS

    displays = yaml.safe_load((LAUNCH.parent / "config" / "depth_estimation.rviz").read_text())["Visualization Manager"]
    topics = {display["Topic"]["Value"] for display in displays["Displays"] if "Topic" in display}
    assert topics <= {"image", *OUTPUTS} and "depth/points" in topics
