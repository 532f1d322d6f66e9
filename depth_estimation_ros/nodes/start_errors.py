"""Errors that keep a ROS program from starting, and their one-sentence messages for the user."""

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
"""Exceptions that rclpy raises for invalid arguments, names, parameters and environment variables."""


def sentence(error: BaseException) -> str:
    """
    Return the message of an error as one sentence.

    Positions in the ROS source code are removed. The exception's class is added for unexpected errors.
    """
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
