"""Where the nodes' programs begin: imports next to nothing, so that Ctrl-C ends them without a word from here on."""

from __future__ import annotations

import signal
import sys
from importlib import import_module


def node() -> None:
    """Run ``depth_estimation_node``."""
    _run("node")


def multi_camera() -> None:
    """Run ``multi_camera_node``."""
    _run("multi_camera")


def synthetic_camera() -> None:
    """Run ``synthetic_camera``."""
    _run("synthetic_camera")


def image_source() -> None:
    """Run ``image_source``."""
    _run("image_source")


def _run(module: str) -> None:
    # A KeyboardInterrupt in an import would print where it came. Until `runtime.program` there is nothing to clean up.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(import_module(f"depth_estimation_ros.{module}").main())
