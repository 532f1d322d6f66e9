import re
import subprocess
import sys
from dataclasses import fields

import pytest
import yaml
from rclpy.parameter import Parameter
from ros_processes import REPOSITORY, ros_context

from depth_estimation_ros.nodes.image_source import ImageSourceParameters
from depth_estimation_ros.nodes.synthetic_camera import SyntheticCameraParameters
from depth_estimation_ros.parameters.__main__ import to_markdown
from depth_estimation_ros.parameters.declaration import Effect, ParameterGroup
from depth_estimation_ros.parameters.declare import declare
from depth_estimation_ros.settings import Settings, defaults


def test_the_committed_yaml_is_what_the_declaration_writes():
    command = [sys.executable, "-m", "depth_estimation_ros.parameters", "--yaml"]
    written = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert (REPOSITORY / "config" / "depth_estimation.yaml").read_text() == written


def test_the_committed_yaml_holds_every_default_with_its_type():
    text = (REPOSITORY / "config" / "depth_estimation.yaml").read_text()
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert values == defaults()
    assert [type(v) for v in values.values()] == [type(v) for v in defaults().values()]


def test_the_table_has_a_row_for_every_parameter():
    rows = to_markdown().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(Settings.declarations())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"colour_map": "rainbow"}, "colour_map must be one of turbo, .* got 'rainbow'"),
        ({"threads": -1}, "threads must be between 0 and 256, got -1"),
        ({"max_rate": float("nan")}, "max_rate must be 0 or between 0.001 and 1000, got nan"),
        ({"min_depth": 5.0, "max_depth": 2.0}, "min_depth must be less than max_depth, got 5 and 2"),
        ({"horizontal_fov": 3.2}, "horizontal_fov must be 0 or between 0.01 and 2.96, got 3.2"),
        ({"scan_angle_increment": 1e-9}, "scan_angle_increment must be 0 or between 0.0001 and 1, got 1e-09"),
        ({"cloud_voxel_size": 5e-324}, "cloud_voxel_size must be 0 or between 0.001 and 10, got .*"),
        ({"base_frame": ""}, "base_frame must be a name of 1 to 255 characters that can be written, got ''"),
        ({"base_frame": "a\nb"}, r"base_frame must be a name of .* got 'a\\nb'"),
        ({"base_frame": "x" * 5000}, r"base_frame must be a name of .* got 'x+'\.\.\. \(5000 characters\)"),
        ({"base_frame": "/base_link"}, "base_frame must not begin with '/', which TF does not take"),
        ({"save_folder": "a\0b"}, r"save_folder must be a path of characters that can be written, got 'a\\x00b'"),
        ({"save_folder": "~nobody_here/a"}, "save_folder names the home folder of a user who is not known .*"),
        ({"engine_cache": "x" * 300}, r"engine_cache is too long for a path: .* \(300 characters\)"),
        ({"model": "a/" * 3000}, r"model is too long for a path: .* \(6000 characters\)"),
        ({"model": "\ud800.onnx"}, r"model must be a path of characters that can be written, got '\\ud800.onnx'"),
        ({"max_depth": None}, "max_depth cannot be deleted: a parameter of this node always has a value"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_in_one_sentence(values, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        Settings().changed(values)


@pytest.mark.parametrize(
    "values", [{"base_frame": "küche"}, {"save_folder": "~/küche/\u3000"}, {"cloud_voxel_size": 0.0}, {"model": ""}]
)
def test_a_value_that_is_allowed_is_taken(values):
    ((name, value),) = values.items()
    assert Settings().changed(values).values()[name] == value


def test_a_parameter_that_is_fixed_for_now_keeps_its_value_and_says_until_when():
    fixed = {Effect.CONFIGURE: "while it snows: wait for spring"}
    assert Settings().changed({"max_depth": 4.0}, fixed).output.max_depth == 4.0
    with pytest.raises(ValueError, match=r"^model cannot change while it snows: wait for spring$"):
        Settings().changed({"model": "other.onnx"}, fixed)
    assert Settings().changed({"model": "default"}, fixed) == Settings()  # no change, no objection


def test_parameters_of_others_are_passed_over():
    assert Settings().changed({"use_sim_time": True}) == Settings()


@pytest.mark.parametrize("kind", [Settings, ImageSourceParameters, SyntheticCameraParameters])
def test_ros_knows_type_range_choices_and_description_of_every_parameter(kind):
    read_only = kind is not Settings
    with ros_context() as node:
        assert declare(node, kind, read_only=read_only) == kind()
        for name, declaration in kind.declarations().items():
            descriptor = node.describe_parameter(name)
            assert descriptor.description == declaration.description
            assert type(node.get_parameter(name).value) is type(declaration.default)
            ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
            assert [(r.from_value, r.to_value) for r in ranges] == [declaration.extremes] * declaration.bounded
            assert all(str(choice) in descriptor.additional_constraints for choice in declaration.choices)
            # ROS would refuse even the value that a read-only parameter has, as ros2 param load sets it.
            assert descriptor.read_only == read_only


def test_text_that_yaml_reads_as_a_number_is_text():
    with ros_context() as node:
        node._parameter_overrides["source"] = Parameter("source", value=0)
        assert declare(node, ImageSourceParameters).source == "0"


def test_every_parameter_of_a_group_is_a_parameter_of_the_whole_and_the_groups_share_none():
    groups = [f.default for f in fields(Settings) if isinstance(f.default, ParameterGroup)]
    names = [name for group in groups for name in group.declarations()]
    assert groups and len(names) == len(set(names)) and set(names) < set(Settings.declarations())


def test_the_settings_import_no_engine_and_no_ros():
    code = "import sys, depth_estimation_ros.settings; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    heavy = {"onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "torch", "rclpy"}
    assert not heavy & set(run.stdout.split())


def test_the_documentation_lists_the_parameters_as_declared():
    assert to_markdown() in (REPOSITORY / "docs" / "parameters.md").read_text()


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("max_depth", 3, "parameter max_depth must be a number with a decimal point, such as its default 10.0"),
        ("threads", 1.5, "parameter threads must be an integer, such as its default 0"),
        ("autostart", "yes", "parameter autostart must be true or false, such as its default true"),
        ("model", 3, 'parameter model must be text, such as its default "default"'),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_type_that_is_wanted(name, given, sentence):
    with ros_context() as node:
        node._parameter_overrides[name] = Parameter(name, value=given)
        with pytest.raises(ValueError, match=re.escape(sentence)):
            declare(node, Settings)
