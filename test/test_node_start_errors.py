"""A mistake in how a node is started, of a kind that rclpy notices, ends it with one sentence and no traceback."""

import pytest
from depth_client import MODULE
from ros_processes import output, start_node

MODULES = (MODULE, "depth_estimation_ros.synthetic_camera")
NOTHING = "/nowhere/parameters.yaml"

# What it is started with, and what is said of it.
MISTAKES = {
    "an unknown argument": (("--wrong",), {}, "unknown ROS arguments: ['--wrong']"),
    "no parameter file": (("--params-file", NOTHING), {}, f"'--params-file {NOTHING}'. Error: Error opening"),
    "an impossible name": ((), {"remappings": {"image": "a//b"}}, "Couldn't parse remap rule: '-r image:=a//b'"),
    "an impossible namespace": ((), {"remappings": {"__ns": "/" + 250 * "a"}}, "invalid node namespace"),
    "simulated time that is a number": ((), {"parameters": {"use_sim_time": 1}}, "parameter 'use_sim_time' to '1'"),
    "a domain that is none": ((), {"env": {"ROS_DOMAIN_ID": "home"}}, "ROS_DOMAIN_ID is not an integral number"),
}


@pytest.fixture(scope="module")
def started():
    """Start all of them at once."""
    processes = {
        (module, name): start_node(module, *arguments, **options)
        for module in MODULES
        for name, (arguments, options, _) in MISTAKES.items()
    }
    yield processes
    for process in processes.values():
        process.kill()


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("module", MODULES)
def test_it_is_one_sentence(started, module, name):
    process = started[module, name]
    assert process.wait(30) == 1
    printed = output(process)
    assert "Traceback" not in printed and ".c:" not in printed.splitlines()[-1], printed
    assert MISTAKES[name][2] in printed.splitlines()[-1]


def test_a_node_that_waits_for_its_transitions_says_so(start):
    node = start("/waiting", autostart=False)
    node.wait(lambda: "waiting for the transitions configure and activate" in output(node.process))


def test_a_parameter_that_the_node_does_not_have_is_named_with_the_one_that_was_meant(start):
    node = start("/misspelt", autostart=False, max_dept=3.0, use_sim_time=False)
    node.wait(lambda: "waiting for the transitions" in output(node.process))
    assert "max_dept is no parameter of this node and does nothing; did you mean max_depth?" in output(node.process)
    assert output(node.process).count("is no parameter") == 1
