"""OpenVINO, on the CPU."""

from __future__ import annotations

import functools
import os
import sys
from contextlib import contextmanager

import numpy as np

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.model import Model
from depth_estimation_ros.support.installing import how_to_install
from depth_estimation_ros.support.sentences import first_line, quoted, reason


class OpenVinoBackend:
    """
    Runs a model with OpenVINO, float32 or int8 as the file has it.

    Nothing that it compiles is kept on disk: compiling takes less than a second.

    Parameters
    ----------
    model : Model
        A checked model.
    threads : int
        CPU threads, 0 for as many as OpenVINO finds good.
    callers : int
        Cameras that share it. Their calls run side by side with two threads or more each (four of them on four
        cores: 1.2 times as many as one by one or in batches, by `python -m depth_estimation_ros.bench.cameras`).

    Raises
    ------
    BackendError
        If the package openvino is not installed, or cannot run the model.
    """

    name = "openvino/cpu"
    max_batch = 1

    def __init__(self, model: Model, threads: int = 0, callers: int = 1):
        core = _core()
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            # Its own choice is bfloat16 or float16 where the CPU has it, whose depth is up to a percent another.
            "INFERENCE_PRECISION_HINT": "f32",
            # A thread bound to a core would wait there for whatever else the robot computes on it.
            "ENABLE_CPU_PINNING": False,
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        if callers > 1:
            options["NUM_STREAMS"] = max(1, min(callers, (threads or os.cpu_count()) // 2))
        try:
            self._compiled = core.compile_model(core.read_model(model.content), "CPU", options)
            self._requests = [self._compiled.create_infer_request()]
        except Exception as error:
            raise BackendError(
                f"{self.name} cannot run model {quoted(model.path)}: {_reason(error)}; export it again, or choose "
                "another backend"
            ) from error
        self.concurrent = self._compiled.get_property("NUM_STREAMS") > 1
        self._outputs = model.outputs

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network: uint8 [N, H, W, 3] RGB to every output, float32 [N, 1, h, w] each."""
        try:
            with self._request() as request:
                found = request.infer({"image": images}, share_inputs=True)
        except Exception as error:
            raise BackendError(f"{self.name} failed: {_reason(error)}") from error
        return {name: found[name] for name in self._outputs}

    @contextmanager
    def _request(self):
        """Lend a request that no other thread uses."""
        try:
            request = self._requests.pop()
        except IndexError:  # all are in work
            request = self._compiled.create_infer_request()
        try:
            yield request
        finally:
            self._requests.append(request)


@functools.cache
def _core():
    """
    Return the one OpenVINO core of this process.

    Its CPU plugin gives the thread that loads it another signal stack, and frees that with itself. With several cores
    that do not end in the reverse order of their creation, or end in another thread, signal handlers then run in
    memory that belongs to nobody, or to somebody else: a crash, whenever the next signal comes (OpenVINO 2026.4).
    """
    # It would report its import to its makers with this package, which it can do without.
    sys.modules.setdefault("openvino_telemetry", None)
    try:
        import openvino
    except ImportError as error:
        raise BackendError(
            f"the backend openvino needs the package openvino ({error}); "
            f"install it: {how_to_install('openvino')}, or choose another backend"
        ) from None
    return openvino.Core()


def _reason(error: Exception) -> str:
    """Return what an error of OpenVINO says, without the places in its source that come first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return first_line((told or lines)[-1]) if lines else reason(error)
