"""The launch files, where launch and launch_ros are installed, as they come with a full ROS."""

import re
from pathlib import Path

import pytest
import yaml

pytest.importorskip("launch_ros", reason="launch comes with a full ROS installation, not from PyPI")

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions
from launch_file import prefix_of
from launch_ros.actions import Node
from launch_ros.utilities import evaluate_parameters

from depth_estimation_ros.settings import Settings

LAUNCH = Path(__file__).resolve().parents[2] / "launch"

try:
    get_package_share_directory("depth_estimation_ros")
except PackageNotFoundError:
    pytest.skip(
        "the workspace is not built and sourced: colcon build, source install/setup.bash", allow_module_level=True
    )


def described(name):
    source = PythonLaunchDescriptionSource(str(LAUNCH / name))
    return source.get_launch_description(LaunchContext())


@pytest.fixture(autouse=True)
def _with_rviz(tmp_path, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", prefix_of(tmp_path / "with_rviz", "rviz2", "tf2_ros"))


def nodes(name="depth_estimation.launch.py", /, started=None, **arguments):
    """Return the processes that a launch file would start, in this order."""
    return started_by([included(name, **arguments)], [] if started is None else started)


def included(name, /, **arguments):
    source = PythonLaunchDescriptionSource(str(LAUNCH / name))
    return IncludeLaunchDescription(source, launch_arguments=arguments.items())


def started_by(entities, started):
    context = LaunchContext()

    def visit(entity):
        if isinstance(entity, Node):
            started.append(entity)
        else:
            for inner in entity.visit(context) or ():
                visit(inner)

    for entity in entities:
        visit(entity)
    return started


def parameters(node):
    """Return the parameters of arguments that a node would be started with."""
    given = evaluate_parameters(LaunchContext(), node._Node__parameters)
    return {name: value for p in given if isinstance(p, dict) for name, value in p.items()}


def text(substitutions):
    return perform_substitutions(LaunchContext(), normalize_to_list_of_substitutions(substitutions))


def namespace(node):
    return text(node._Node__node_namespace)


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.launch.py")), ids=lambda path: path.name)
def test_every_launch_file_says_what_its_arguments_are(path):
    arguments = described(path.name).get_launch_arguments()
    assert arguments and all(len(argument.description) > 10 for argument in arguments)


def test_every_parameter_of_the_node_is_an_argument():
    names = [argument.name for argument in described("depth_estimation.launch.py").get_launch_arguments()]
    assert set(Settings.declarations()) <= set(names) and len(names) == len(set(names))


@pytest.mark.parametrize("name", ("demo.launch.py", "bag_replay.launch.py", "multi_camera.launch.py"))
def test_the_others_show_all_arguments_of_the_node_too(name):
    shown, of_node = (
        {argument.name for argument in described(n).get_launch_arguments()}
        for n in (name, "depth_estimation.launch.py")
    )
    assert shown >= of_node


def test_view_starts_a_page_for_each_camera_with_the_parameters_of_its_node():
    pytest.importorskip("rerun", reason="needs the viewer: pip install '.[view]'")
    started = nodes(view="true", view_port="9100", view_address="0.0.0.0", cameras="front rear", camera_height="0.3")
    pages = started[1:]
    assert [namespace(page) for page in pages] == ["front", "rear"]
    assert [parameters(page)["port"] for page in pages] == [9100, 9102]
    assert all(parameters(page)["address"] == "0.0.0.0" for page in pages)
    assert all(parameters(page)["camera_height"] == 0.3 and "cameras" not in parameters(page) for page in pages)
    assert len(nodes(cameras="front rear")) == 1


DEMO = ("demo.launch.py", {"rviz": "false"})
REPLAY = ("bag_replay.launch.py", {"rviz": "false", "source": "/bag"})


@pytest.mark.parametrize(
    ("name", "sound", "mistake", "sentence"),
    [
        ("depth_estimation.launch.py", {}, {"threads": "many"}, "threads takes a value such as 0, not 'many'"),
        ("depth_estimation.launch.py", {}, {"params_file": "/no.yaml"}, "params_file '/no.yaml' not found: give the"),
        ("depth_estimation.launch.py", {}, {"rviz": "maybe"}, "'maybe'"),
        ("depth_estimation.launch.py", {}, {"view_port": "x"}, "view_port takes a value such as 9090"),
        (*DEMO, {"max_depth": "abc"}, "max_depth takes a value such as 10.0, not 'abc'"),
        (*DEMO, {"seed": "1.5"}, "seed takes a value such as 0, not '1.5'"),
        (*DEMO, {"rate": "abc"}, "rate takes a value such as 30.0, not 'abc'"),
        (*DEMO, {"rate": "["}, r"rate takes a value such as 30.0, not '\['"),
        (*DEMO, {"camera_height": "abc"}, "camera_height takes a value such as 1.3, not 'abc'"),
        (*DEMO, {"rviz": "maybe"}, "'maybe'"),
        (*REPLAY, {"max_depth": "abc"}, "max_depth takes a value such as 10.0, not 'abc'"),
        (*REPLAY, {"horizontal_fov": "wide"}, "horizontal_fov takes a value such as 0.0, not 'wide'"),
        (*REPLAY, {"loop": "2"}, "loop takes a value such as true, not '2'"),
        (*REPLAY, {"params_file": "/no.yaml"}, "params_file '/no.yaml' not found: give the path of a YAML file"),
        (*DEMO, {"cameras": "front, le-ft"}, "'le-ft' is no namespace for ROS: Invalid namespace"),
        ("depth_estimation.launch.py", {}, {"namespace": "my robot"}, "'my robot' is no namespace for ROS"),
        (*REPLAY, {"source": ""}, "source is not given: set source:="),
        ("multi_camera.launch.py", {"cameras": "front"}, {"cameras": " "}, "cameras is not given: name the namespaces"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_started(name, sound, mistake, sentence):
    assert nodes(name, **sound)
    started = []
    with pytest.raises(ValueError, match=sentence):
        nodes(name, started, **(sound | mistake))
    assert not started


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("depth_estimation.launch.py", "rviz2"),
        ("demo.launch.py", "rviz2"),
        ("demo.launch.py", "tf2_ros"),
        ("bag_replay.launch.py", "rviz2"),
    ],
)
def test_rviz_that_is_not_installed_is_said_before_anything_is_started(name, missing, tmp_path, monkeypatch):
    arguments, started = {"rviz": "true", "source": "/bag"}, []
    assert nodes(name, **arguments)
    others = {"rviz2", "tf2_ros"} - {missing}
    monkeypatch.setenv("AMENT_PREFIX_PATH", prefix_of(tmp_path / "without", *others))
    with pytest.raises(ValueError, match=f"^{missing} is not installed: give rviz:=false, or install it"):
        nodes(name, started, **arguments)
    assert not started
    assert nodes(name, **(arguments | {"rviz": "false"}))


def test_arguments_reach_the_camera_in_its_parameters_types():
    depth, camera = nodes("demo.launch.py", rviz="false", rate="10", seed="3", horizontal_fov="1")
    assert camera.node_executable == "synthetic_camera"
    mounting = {"camera_height": 1.3, "camera_pitch": 0.16}
    assert parameters(camera) == {"seed": 3, "rate": 10.0, "horizontal_fov": 1.0, "use_sim_time": False, **mounting}
    assert isinstance(parameters(camera)["rate"], float)
    assert parameters(depth) == {"use_sim_time": False, **mounting}, "the camera says its field of view"


def test_arguments_reach_the_source_in_its_parameters_types():
    depth, source = nodes("bag_replay.launch.py", rviz="false", source="0", rate="5", loop="false", horizontal_fov="1")
    assert source.node_executable == "image_source"
    assert parameters(source) == {
        "source": "0",
        "rate": 5.0,
        "loop": False,
        "image_topic": "",
        "camera_info_topic": "",
        "frame_id": "camera_optical_frame",
        "horizontal_fov": 1.0,
        "use_sim_time": False,
    }
    assert "horizontal_fov" not in parameters(depth), "the source says it"


@pytest.mark.parametrize(("name", "sound"), (DEMO, REPLAY))
def test_source_and_node_have_the_same_topics_clock_and_transport(name, sound):
    given = {"namespace": "robot", "image": "/lens/image", "camera_info": "/lens/camera_info", "use_sim_time": "true"}
    for node in nodes(name, **sound, **given, log_level="debug", large_messages="false"):
        assert namespace(node) == "robot" and parameters(node)["use_sim_time"] is True
        remappings = [tuple(map(text, pair)) for pair in node._Node__remappings]
        assert remappings == [("image", "/lens/image"), ("camera_info", "/lens/camera_info")]
        assert "debug" in [text(word) for word in node._Node__arguments] and not node.additional_env


@pytest.mark.parametrize(("name", "sound"), (DEMO, REPLAY))
def test_each_of_several_cameras_has_a_source(name, sound):
    depth, *cameras = nodes(name, **sound, namespace="robot", cameras="front, /rear")
    assert depth.node_executable == "multi_camera_node"
    assert [namespace(camera) for camera in cameras] == ["robot/front", "/rear"]


def test_two_includes_of_the_documented_launch_file_keep_their_arguments_apart(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", (LAUNCH.parent / "docs" / "launch.md").read_text(), re.DOTALL)
    path = tmp_path / "robot.launch.py"
    path.write_text(example.replace('[FindPackageShare("depth_estimation_ros"), "launch", ', f'["{LAUNCH}", '))
    front, rear = started_by([IncludeLaunchDescription(PythonLaunchDescriptionSource(str(path)))], [])
    assert (namespace(front), namespace(rear)) == ("front", "rear")
    assert parameters(front) == {"max_depth": 5.0, "use_sim_time": False}
    assert parameters(rear) == {"model": "/opt/models/rear.onnx", "use_sim_time": False}


def test_a_text_that_looks_like_another_type_stays_a_text():
    (depth,) = nodes(model="yes", max_depth="7")
    assert parameters(depth) == {"model": "yes", "max_depth": 7.0, "use_sim_time": False}
    several, *_ = nodes(cameras="no")
    assert parameters(several)["cameras"] == "no"


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
def test_the_others_start_the_node_and_take_its_arguments(name):
    first, *_ = nodes(name, cameras="front", source="/bag", rviz="false", min_depth="0.5")
    assert first.node_executable == "multi_camera_node" and parameters(first)["min_depth"] == 0.5


def test_the_rviz_configuration_shows_what_the_node_publishes():
    from depth_estimation_ros.pipeline.frame import OUTPUTS

    displays = yaml.safe_load((LAUNCH.parent / "config" / "depth_estimation.rviz").read_text())["Visualization Manager"]
    topics = {display["Topic"]["Value"] for display in displays["Displays"] if "Topic" in display}
    assert topics <= {"image", *OUTPUTS} and "depth/points" in topics
