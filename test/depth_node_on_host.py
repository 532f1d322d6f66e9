"""
The depth node on a GPU that is not there (`tensorrt_on_host`), for tests that run it in a process of its own.

``PROGRAM`` is the module of `nodes` to run, ``depth_estimation``, or ``multi_camera`` for two cameras. ``STEP_SECONDS``
slows every step of a build down. ``DISTORTION`` is what depths are multiplied by. After ``LOST_AFTER`` calls, those of
the comparison and the warm-up among them, the GPU is lost.
"""

import os
import sys
import time
from dataclasses import replace
from importlib import import_module

import tensorrt_rtx
from tensorrt_on_host import HostCuda, library_on_host

from depth_estimation_ros.backends.tensorrt import engine
from depth_estimation_ros.model import load_model

PROGRAM = os.environ.get("PROGRAM", "depth_estimation")
STEP_SECONDS = float(os.environ.get("STEP_SECONDS", "0"))
DISTORTION = float(os.environ.get("DISTORTION", "1"))
LOST_AFTER = int(os.environ.get("LOST_AFTER", "0"))


class Gpu(HostCuda):
    """Is lost after so many calls, if it is told to be."""

    def synchronize(self, stream):
        if LOST_AFTER and self.journal.count("synchronize") == LOST_AFTER:
            self.failing["synchronize"] = 719
        super().synchronize(stream)


def build_slowly(library, content, options, **kwargs):
    """Build for real, with a pause at every step."""

    def report(*step):
        time.sleep(STEP_SECONDS)
        options.progress(*step)

    return build(library, content, replace(options, progress=report), **kwargs)


if __name__ == "__main__":
    gpu, build = Gpu(), engine.build
    onnx = load_model("default").path.read_bytes()
    engine.build = build_slowly
    engine.open_cuda = lambda: gpu
    engine.find_library = lambda _: library_on_host(
        tensorrt_rtx, gpu, onnx, max_batch=1 + (PROGRAM == "multi_camera"), distort=lambda depth: depth * DISTORTION
    )
    sys.exit(import_module(f"depth_estimation_ros.nodes.{PROGRAM}").main())
