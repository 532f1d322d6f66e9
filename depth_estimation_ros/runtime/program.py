"""What every program with depth nodes does: begin with ROS, end at a signal, and end indeed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

import cv2
import rclpy
from rclpy.signals import SignalHandlerOptions

from depth_estimation_ros.runtime.session import engine_is_busy
from depth_estimation_ros.runtime.start_errors import START_ERRORS, sentence


def run_program(name: str, run: Callable[[threading.Event], int], args: list[str] | None) -> int:
    """
    Run nodes until SIGINT or SIGTERM.

    Parameters
    ----------
    name : str
        Of the program.
    run : callable
        Runs the nodes until its argument is set, which a signal does, and returns the exit code.
    args : list of str, optional
        The command line; that of the process if None.

    Returns
    -------
    int
        Exit code: that of `run`, or 1 if ROS could not start.
    """
    # OpenCV's pool costs more than it gives here: a third of all that the node does besides inference.
    cv2.setNumThreads(1)
    stopping = threading.Event()
    # rclpy's own handlers would take the context away from under the frame in work.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except START_ERRORS as error:
        print(f"{name}: {sentence(error)}", file=sys.stderr)
        return 1
    try:
        code = run(stopping)
    finally:
        # Already on its way out: a signal now would only spoil the exit code.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        rclpy.shutdown()
    if engine_is_busy():
        # An engine's call that does not end would keep the interpreter from ending.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
