"""Start and end of every program with ROS nodes: arguments, signals, rclpy, exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

import cv2
import rclpy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import get_rmw_implementation_identifier, remove_ros_args

from depth_estimation_ros.nodes.start_errors import START_ERRORS, sentence
from depth_estimation_ros.runtime.session import engine_is_busy

SHARED_MEMORY = 100_000_000
"""Bytes of free shared memory below which the program warns; a process uses 67 MB (``config/fastdds.xml``)."""

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_USAGE = """\
usage: {name} {options}[--ros-args [-p PARAMETER:=VALUE] ... [-r NAME:=NEW_NAME] ... [--params-file FILE]]

for example: {name} --ros-args -p {example}

While it runs, `ros2 node info` lists its topics, `ros2 param list` its parameters, and `ros2 param describe` says what
these mean. The README explains both."""


def run_program(
    name: str, run: Callable[[threading.Event], int], args: list[str] | None, example: str, options: str = ""
) -> int:
    """
    Run nodes until SIGINT, SIGTERM or SIGHUP.

    Parameters
    ----------
    name : str
        Name of the program, for messages.
    run : callable
        Function that runs the nodes until the event it gets is set by a signal, and returns the exit code.
    args : list of str, optional
        Command-line arguments. Default: those of the process.
    example : str
        Parameter with a value, shown in the usage text and in the error for arguments that are not ROS arguments.
    options : str
        Options of the program itself, for the usage text.

    Returns
    -------
    int
        Exit code: that of `run`, 0 after ``--help``, or 1 if ROS could not start.
    """
    # OpenCV's thread pool is slower here: it costs a third of all the node's work besides inference.
    cv2.setNumThreads(1)
    stopping = threading.Event()
    # rclpy's own handlers would shut the context down while a frame is being processed.
    for number in _ENDING:
        # Leave SIGHUP ignored if it was: that is how nohup keeps a program alive when its terminal closes.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: stopping.set())
    try:
        for argument in sys.argv[1:] if args is None else args:
            if any("\ud800" <= letter <= "\udfff" for letter in argument):
                raise ValueError(f"argument {argument!a} is not UTF-8, as ROS wants it: give the file another name")
        others = remove_ros_args(sys.argv[1:] if args is None else args)
        if {"-h", "--help"} & set(others):
            print(_USAGE.format(name=name, example=example, options=options))
            return 0
        if others:
            given = " ".join(others)
            raise ValueError(f"this program takes ROS arguments only, not '{given}'; e.g. --ros-args -p {example}")
        if "fastrtps" in get_rmw_implementation_identifier() and (warning := scarce_shared_memory()):
            print(f"{name}: {warning}", file=sys.stderr)
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except START_ERRORS as error:
        print(f"{name}: {sentence(error)}", file=sys.stderr)
        return 1
    try:
        code = run(stopping)
    finally:
        # The program is ending; another signal would only change its exit code.
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        rclpy.shutdown()
    if engine_is_busy():
        # An engine call that does not return would keep the interpreter from ending.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def scarce_shared_memory(folder: str = "/dev/shm", needed: int = SHARED_MEMORY) -> str:
    """
    Return a one-sentence warning if free shared memory is low.

    Fast DDS sends images through shared memory. A process that writes to it when it is full is killed by SIGBUS.

    Parameters
    ----------
    folder : str
        Mount point of the shared memory.
    needed : int
        Bytes that must be free.

    Returns
    -------
    str
        Warning with what to do; empty if enough memory is free or the folder does not exist.
    """
    if not os.path.isdir(folder):
        return ""
    at = os.statvfs(folder)
    free, size = (at.f_frsize * blocks // 1_000_000 for blocks in (at.f_bavail, at.f_blocks))
    if at.f_frsize * at.f_bavail >= needed:
        return ""
    return (
        f"warning: only {free} of {size} MB of shared memory ({folder}) are free, so images may be lost, or the program"
        " killed (SIGBUS): start a container with docker run --shm-size=512m, or remove the files "
        f"{folder}/fastrtps_* of processes that have died"
    )
