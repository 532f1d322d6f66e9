import re
import subprocess
import sys

import pytest
import yaml
from rclpy.parameter import Parameter
from ros_processes import REPOSITORY, ros_context

from depth_estimation_ros.parameters import declare, to_markdown
from depth_estimation_ros.settings import DECLARATIONS, Effect, Settings, defaults


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
    assert [row.split("`")[1] for row in rows] == list(defaults())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"colour_map": "rainbow"}, "colour_map must be one of turbo, .* got 'rainbow'"),
        ({"threads": -1}, "threads must be between 0 and 256, got -1"),
        ({"max_rate": float("nan")}, "max_rate must be 0 or between 0.001 and 1000, got nan"),
        ({"min_depth": 5.0, "max_depth": 2.0}, "min_depth must be less than max_depth, got 5 and 2"),
        ({"horizontal_fov": 3.2}, "horizontal_fov must be 0 or between 0.01 and 3.1, got 3.2"),
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
    assert getattr(Settings().changed(values), name) == value


def test_a_parameter_that_is_fixed_for_now_keeps_its_value_and_says_until_when():
    fixed = {Effect.CONFIGURE: "while it snows: wait for spring"}
    assert Settings().changed({"max_depth": 4.0}, fixed).max_depth == 4.0
    with pytest.raises(ValueError, match=r"^model cannot change while it snows: wait for spring$"):
        Settings().changed({"model": "other.onnx"}, fixed)
    assert Settings().changed({"model": "default"}, fixed) == Settings()  # no change, no objection


def test_parameters_of_others_are_passed_over():
    assert Settings().changed({"use_sim_time": True}) == Settings()


def test_ros_knows_type_range_choices_and_description_of_every_parameter():
    with ros_context() as node:
        assert declare(node) == Settings()
        for name, default in defaults().items():
            descriptor, declaration = node.describe_parameter(name), DECLARATIONS[name]
            assert descriptor.description == declaration.description
            assert type(node.get_parameter(name).value) is type(default)
            ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
            assert [(r.from_value, r.to_value) for r in ranges] == [declaration.extremes] * declaration.bounded
            assert all(str(choice) in descriptor.additional_constraints for choice in declaration.choices)
            # ROS would refuse even the value that a read-only parameter has, as ros2 param load sets it.
            assert not descriptor.read_only


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
            declare(node)
