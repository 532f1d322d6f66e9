"""Humble, Jazzy and Kilted: what the code needs of ROS is in each of them, and is asked for where it is installed."""

from __future__ import annotations

import ast
from importlib import metadata

import pytest
from conftest import REPOSITORY

from depth_estimation_ros.launching.environment import transport_environment

SOURCES = sorted((REPOSITORY / "depth_estimation_ros").rglob("*.py"))
REQUIREMENTS = {
    path.stem: path.read_text().splitlines() for path in sorted((REPOSITORY / "requirements").glob("ros2-*.txt"))
}
OURS = {"depth_estimation_ros", "training"}

# Come with a ROS installation only; the wheels of PyPI have none of them.
INSTALLATION = {"tf2_ros"}
# Come with rclpy, wherever that is.
WITH_RCLPY = {"builtin_interfaces", "lifecycle_msgs", "rcl_interfaces", "rosgraph_msgs"}

# What is imported of rclpy, each looked up in Humble's: https://github.com/ros2/rclpy/tree/humble
HUMBLE = {
    "rclpy.callback_groups": {"ReentrantCallbackGroup"},
    "rclpy.clock": {"Clock", "ClockType", "JumpThreshold"},
    "rclpy.duration": {"Duration"},
    "rclpy.exceptions": {
        "InvalidNamespaceException",
        "InvalidParameterTypeException",
        "InvalidParameterValueException",
    },
    "rclpy.executors": {"ExternalShutdownException", "SingleThreadedExecutor"},
    "rclpy.impl.implementation_singleton": {"rclpy_implementation"},
    "rclpy.lifecycle": {"LifecycleNode", "LifecycleState", "TransitionCallbackReturn"},
    "rclpy.node": {"Node"},
    "rclpy.parameter": {"Parameter"},
    "rclpy.publisher": {"Publisher"},
    "rclpy.qos": {
        "DurabilityPolicy",
        "HistoryPolicy",
        "QoSCompatibility",
        "QoSProfile",
        "ReliabilityPolicy",
        "qos_check_compatible",
        "qos_profile_sensor_data",
    },
    "rclpy.serialization": {"deserialize_message", "serialize_message"},
    "rclpy.signals": {"SignalHandlerOptions"},
    "rclpy.subscription": {"Subscription"},
    "rclpy.task": {"Future"},
    "rclpy.time": {"Time"},
    "rclpy.utilities": {"get_rmw_implementation_identifier", "remove_ros_args"},
    "rclpy.validate_namespace": {"validate_namespace"},
}


def imported() -> set[tuple[str, str]]:
    """Return the modules that the package imports, each with what is taken of it, or with nothing."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(), path.name)):
            if isinstance(node, ast.Import):
                found |= {(alias.name, "") for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found |= {(node.module, alias.name) for alias in node.names}
    return found


def ros_packages() -> set[str]:
    """Return the ROS packages among them."""
    distributions = metadata.packages_distributions()
    top = {module.split(".")[0] for module, _ in imported()} - OURS
    of_wheels = {name for name in top if any(d.startswith("ros-") for d in distributions.get(name, ()))}
    return of_wheels | (top & INSTALLATION)


def test_nothing_is_taken_of_rclpy_that_humble_lacks():
    taken = {(module, name) for module, name in imported() if module.split(".")[0] == "rclpy" and name}
    assert taken
    unknown = {(module, name) for module, name in taken if name not in HUMBLE.get(module, ())}
    assert not unknown, "look these up in Humble's rclpy, then add them here, or guard them"


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_pin_every_ros_package_that_is_imported(name):
    pins = dict(line.split("==") for line in REQUIREMENTS[name] if line and not line.startswith("#"))
    wanted = {f"ros-{package.replace('_', '-')}" for package in ros_packages() - INSTALLATION - WITH_RCLPY}
    assert wanted <= {pin.split("[")[0] for pin in pins}
    # Message packages of one distribution are released together.
    assert len({version for pin, version in pins.items() if pin.endswith("-msgs") or pin.endswith("-srvs")}) == 1


def test_the_distributions_are_asked_for_the_same_packages():
    assert set(REQUIREMENTS) == {"ros2-jazzy", "ros2-kilted"}
    jazzy, kilted = ([line.split("==")[0] for line in lines if "==" in line] for lines in REQUIREMENTS.values())
    assert jazzy == kilted


@pytest.mark.parametrize(
    ("distribution", "variable"),
    [
        ("humble", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("of a later year", "FASTDDS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_fast_dds_is_given_its_profile_under_the_name_that_it_has_there(distribution, variable, monkeypatch):
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROS_DISTRO", distribution)
    assert [name for name in transport_environment() if name.startswith("FAST")] == [variable]
