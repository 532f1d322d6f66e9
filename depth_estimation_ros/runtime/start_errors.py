"""What keeps a ROS program from starting, in one sentence for its user."""

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


def sentence(error: Exception) -> str:
    """Return what an error says, without the places in ROS's own sources."""
    if isinstance(error, rclpy_implementation.UnknownROSArgsError):
        return f"unknown ROS arguments: {error}"
    first = (str(error).splitlines() or [""])[0]
    return re.sub(r", at /\S+:\d+", "", first) or type(error).__name__
