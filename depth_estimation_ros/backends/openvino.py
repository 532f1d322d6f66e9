"""OpenVINO backend, on the CPU."""

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
    Backend that runs a model with OpenVINO, in the precision of the file (float32 or int8).

    Compiled models are not cached on disk: compilation takes less than a second.

    Parameters
    ----------
    model : Model
        Checked model, from `load_model`.
    threads : int
        Number of CPU threads; 0 lets OpenVINO choose.
    cameras : int
        Number of cameras that share the backend. Their calls run concurrently with at least two threads each: with four
        cameras on four cores this gives 1.2 times the throughput of sequential calls or batches (measured by `python -m
        depth_estimation_ros.bench.cameras`).

    Raises
    ------
    BackendError
        If the package openvino is not installed, or cannot run the model.
    """

    name = "openvino/cpu"
    max_batch = 1

    def __init__(self, model: Model, threads: int = 0, cameras: int = 1):
        core = _core()
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            # By default it uses bfloat16 or float16 if the CPU supports it, which changes depth by up to one percent.
            "INFERENCE_PRECISION_HINT": "f32",
            # A thread pinned to a core would wait for other work on that core.
            "ENABLE_CPU_PINNING": False,
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        if cameras > 1:
            options["NUM_STREAMS"] = max(1, min(cameras, (threads or os.cpu_count() or 1) // 2))
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
        """Run the model: uint8 [N, H, W, 3] RGB to its outputs, each float32 [N, 1, h, w]."""
        try:
            with self._request() as request:
                found = request.infer({"image": images}, share_inputs=True)
        except Exception as error:
            raise BackendError(f"{self.name} failed: {_reason(error)}") from error
        return {name: found[name] for name in self._outputs}

    @contextmanager
    def _request(self):
        """Lend an inference request that no other thread uses."""
        try:
            request = self._requests.pop()
        except IndexError:  # all are in use
            request = self._compiled.create_infer_request()
        try:
            yield request
        finally:
            self._requests.append(request)


@functools.cache
def _core():
    """
    Return the one OpenVINO core of this process.

    The CPU plugin sets an alternate signal stack for the thread that loads it, and frees it when the plugin is
    unloaded. If several cores are destroyed in another order than the reverse of their creation, or in another thread,
    signal handlers then run on freed memory: the process crashes at the next signal (OpenVINO 2026.4).
    """
    # Disable telemetry: OpenVINO uses this package to report its import, and works without it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # Python allows None, typeshed does not
    try:
        import openvino
    except ImportError as error:
        raise BackendError(
            f"the backend openvino needs the package openvino ({error}); "
            f"install it: {how_to_install('openvino')}, or choose another backend"
        ) from None
    return openvino.Core()


def _reason(error: Exception) -> str:
    """Return the text of an OpenVINO error without the source locations at its start."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return first_line((told or lines)[-1]) if lines else reason(error)
