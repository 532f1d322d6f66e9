"""What keeps a ROS program from starting, or a node from what it was asked for, in one sentence for its user."""

from __future__ import annotations

import re

from rclpy.exceptions import InvalidParameterTypeException
from rclpy.impl.implementation_singleton import rclpy_implementation

START_ERRORS = (
    ValueError,
    InvalidParameterTypeException,  # of use_sim_time, which rclpy declares by itself
    rclpy_implementation.RCLError,
    rclpy_implementation.UnknownROSArgsError,
)
"""What rclpy raises of arguments, names, parameters and the environment that it does not take."""


def sentence(error: BaseException) -> str:
    """Return what an error says, without the places in ROS's own sources; of a fault of the program, its kind too."""
    if isinstance(error, rclpy_implementation.UnknownROSArgsError):
        return f"unknown ROS arguments: {error}"
    if isinstance(error, MemoryError):
        return "the memory of this machine does not suffice"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: '{error.filename}'" if error.filename else error.strerror
    first = (str(error).splitlines() or [""])[0]
    first = re.sub(r", at /\S+:\d+", "", first)
    if isinstance(error, (*START_ERRORS, RuntimeError)) and first:
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
