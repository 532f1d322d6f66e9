"""A mistake in how a node is started, of a kind that rclpy notices, ends it with one sentence and no traceback."""

import os
import signal
import subprocess
import sys
import time

import pytest
from depth_client import MODULE
from ros_processes import REPOSITORY, output, ros_context, ros_environment, running_node, start_node

from depth_estimation_ros.nodes.program import scarce_shared_memory

MODULES = (MODULE, "depth_estimation_ros.nodes.synthetic_camera")
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


# Arguments that are not ROS's

PROGRAMS = {
    "image_source": "source:=my_bag",
    "depth_estimation": "max_depth:=5.0",
    "multi_camera": "cameras:='front rear'",
}


def run_program(program, *arguments):
    command = [sys.executable, "-m", f"depth_estimation_ros.nodes.{program}", *arguments]
    return subprocess.run(command, env={**os.environ, **ros_environment()}, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("program", PROGRAMS)
def test_arguments_that_are_not_of_ros_are_refused(program):
    ended = run_program(program, "my_bag", "--ros-args", "-p", "a:=1")
    (line,) = ended.stderr.splitlines()
    assert f"takes ROS arguments only, not 'my_bag'; e.g. --ros-args -p {PROGRAMS[program]}" in line
    assert ended.returncode == 1


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_says_how_to_give_parameters_and_where_they_are_explained(program):
    ended = run_program(program, "--help")
    assert ended.returncode == 0 and not ended.stderr
    assert f"--ros-args -p {PROGRAMS[program]}" in ended.stdout
    assert "ros2 param describe" in ended.stdout and "README" in ended.stdout


# Shared memory


def test_shared_memory_is_scarce_if_too_little_is_free_and_says_what_to_do(tmp_path):
    assert scarce_shared_memory(str(tmp_path), needed=1) == ""
    assert scarce_shared_memory("/nowhere") == ""
    warning = scarce_shared_memory(str(tmp_path), needed=2**62)
    assert f"--shm-size=512m, or remove the files {tmp_path}/fastrtps_*" in warning


# A process whose shared memory has 8 MB of 64 MB left.
SCARCE = """
import os, sys
from importlib import import_module
real = os.statvfs("/dev/shm")
os.statvfs = lambda _: os.statvfs_result((4096, 4096, 16384, 2048, 2048, *real[5:]))
sys.exit(import_module(sys.argv.pop(1)).main())
"""


@pytest.mark.parametrize("module", MODULES)
def test_a_program_warns_of_scarce_shared_memory_when_it_starts(module):
    # The domain, which is none, ends it then.
    environment = {**os.environ, **ros_environment(), "ROS_DOMAIN_ID": "home"}
    command = [sys.executable, "-c", SCARCE, module]
    ended = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=30)
    assert "only 8 of 67 MB of shared memory (/dev/shm) are free" in ended.stderr.splitlines()[0], ended.stderr


# Ctrl-C and its like, early

PROBE = """
import os, runpy, signal, sys
program, module = sys.argv.pop(1), sys.argv.pop(1)
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
if program.startswith("depth_estimation_ros."):
    runpy.run_module(program, run_name="__main__", alter_sys=True)
else:
    from depth_estimation_ros import entry
    getattr(entry, program)()
"""


@pytest.mark.parametrize("module", ["numpy", "cv2", "rclpy"])
@pytest.mark.parametrize("program", [MODULE, "node", "multi_camera", "synthetic_camera", "image_source"])
def test_ctrl_c_while_modules_are_imported_ends_a_program_without_a_word(program, module):
    """Both ways to start it, as a module and by its script; SIGINT comes as the import of a module begins."""
    command = [sys.executable, "-c", PROBE, program, module]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_camera_is_being_made_ends_it_cleanly(number):
    """The node is there, its room is not drawn yet."""
    name = f"young_{number.name.lower()}"
    module = "depth_estimation_ros.nodes.synthetic_camera"
    with ros_context() as node, running_node(module, remappings={"__node": name}) as camera:
        while name not in node.get_node_names() and camera.poll() is None:
            time.sleep(0.005)
        camera.send_signal(number)
        assert camera.wait(30) == 0
        assert "Traceback" not in output(camera)
