"""
Entry points of the programs.

This module imports very little, so that Ctrl-C during start-up prints nothing and a missing package only one line.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module

from depth_estimation_ros.support.installing import advice


def node() -> None:
    """Run ``depth_estimation_node``."""
    _run("depth_estimation_node", "nodes.depth_estimation")


def multi_camera() -> None:
    """Run ``multi_camera_node``."""
    _run("multi_camera_node", "nodes.multi_camera")


def synthetic_camera() -> None:
    """Run ``synthetic_camera``."""
    _run("synthetic_camera", "nodes.synthetic_camera")


def image_source() -> None:
    """Run ``image_source``."""
    _run("image_source", "nodes.image_source")


def view_depth() -> None:
    """Run ``view_depth``."""
    _run("view_depth", "nodes.view_depth")


def demo() -> None:
    """Run ``depth_estimation_demo``."""
    _run("demo", "demo.__main__", interruptible=True)


def bench() -> None:
    """Run ``depth_estimation_bench``."""
    _run("bench", "bench.pipeline", interruptible=True)


def evaluate_bag() -> None:
    """Run ``evaluate_bag``."""
    _run("evaluate_bag", "tools.evaluate_bag", interruptible=True)


def build_engine() -> None:
    """Run ``build_engine``."""
    _run("build_engine", "tools.build_engine", interruptible=True)


def engines() -> None:
    """Run ``engines``."""
    _run("engines", "tools.engines", interruptible=True)


def quantize_model() -> None:
    """Run ``quantize_model``."""
    _run("quantize_model", "tools.quantize_model", interruptible=True)


def wrap_model() -> None:
    """Run ``wrap_model``."""
    _run("wrap_model", "tools.wrap_model", interruptible=True)


def list_models() -> None:
    """Run ``list_models``."""
    _run("list_models", "tools.list_models", interruptible=True)


def fetch_model() -> None:
    """Run ``fetch_model``."""
    _run("fetch_model", "tools.fetch_model", interruptible=True)


def speak_utf8() -> None:
    """Restart Python in UTF-8 mode if the locale has another encoding, because names in ROS are always UTF-8."""
    if sys.getfilesystemencoding().replace("-", "").lower() != "utf8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"  # child processes inherit it
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _run(program: str, module: str, interruptible: bool = False) -> None:
    """
    Run a module's ``main`` and exit with what it returns.

    Parameters
    ----------
    program : str
        Name of the program, for messages.
    module : str
        Module in this package.
    interruptible : bool
        Whether ``main`` handles KeyboardInterrupt at Ctrl-C. The nodes have their own signal handlers.
    """
    speak_utf8()
    # A KeyboardInterrupt during an import would print a traceback, and before `main` there is nothing to clean up.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        main = import_module(f"depth_estimation_ros.{module}").main
        if interruptible:
            signal.signal(signal.SIGINT, handler)
        sys.exit(main())
    except ImportError as error:
        if (sentence := advice(error)) is None:
            raise
        sys.exit(f"{program}: {sentence}")
