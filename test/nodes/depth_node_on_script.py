"""
The programs of the node with an engine that does as a test says: hang, fail, get lost, take its time.

What it is to do stands in files of the folder that the variable SCRIPT names. ``load`` makes the next loading of a
model wait for as long as it holds ``wait`` (until it is cancelled) or ``hang`` (even then), or raise the exception that
it names. While ``stuck`` is there, a call with an image of STUCK_GREY does not come back. An image of LOST_GREY loses
the engine for good, and so does ``lost`` while a model is loaded. The program is
`depth_estimation_ros.nodes.depth_estimation`, or what the variable PROGRAM says.
"""

import builtins
import os
import sys
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np

from depth_estimation_ros.backends import EngineLostError
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.model import load_model
from depth_estimation_ros.nodes import multi_camera
from depth_estimation_ros.nodes.depth_estimation import run_node
from depth_estimation_ros.nodes.program import run_program
from depth_estimation_ros.runtime import shared_engine

STUCK_GREY, LOST_GREY = 7, 9
SCRIPT = Path(os.environ.get("SCRIPT", "/nowhere"))
DEPTH = 2.0


class Panic(BaseException):
    """As of a library that is not written in Python."""


class Engine:
    """Gives a depth of two metres everywhere, and follows the script."""

    name, concurrent, max_batch, lost = "script", False, 1, ""
    last = None

    def __init__(self, info):
        self._shape = (1, info.input_height, info.input_width)
        Engine.last = self

    def infer(self, images):
        while (images == STUCK_GREY).all() and (SCRIPT / "stuck").exists():
            time.sleep(0.02)
        if (images == LOST_GREY).all():
            self.lost = "the engine is gone"
            raise EngineLostError(self.lost)
        return {"depth": np.full((len(images), *self._shape), DEPTH, np.float32)}


def follow(cancelled) -> None:
    """Do what the script says of the loading of a model."""
    script = SCRIPT / "load"
    while script.exists() and (order := script.read_text()) in ("wait", "hang"):
        if (SCRIPT / "lost").exists():
            Engine.last.lost = "the engine is gone"
        if order == "wait" and cancelled.is_set():
            raise CancelledError
        time.sleep(0.02)
    if script.exists():
        kind = {"Panic": Panic, "OSError": lambda: OSError(5, "Input/output error")}.get(order)
        kind = kind or (lambda: getattr(builtins, order)("as the script says"))
        raise kind()


def load(settings, cancelled, _):
    follow(cancelled)
    model = load_model(settings.engine.model)
    return DepthEstimator(model, Engine(model.info))


def load_backend(model, _settings, cancelled, *_):
    follow(cancelled)
    return Engine(model.info)


if __name__ == "__main__":
    if os.environ.get("PROGRAM") == "multi_camera":
        shared_engine.load_backend = load_backend
        sys.exit(multi_camera.main())
    sys.exit(run_program("node", lambda stopping: run_node(stopping, load=load), None, "a:=b"))
