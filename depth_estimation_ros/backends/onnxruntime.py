"""ONNX Runtime backend, on the CPU or CUDA."""

from __future__ import annotations

import numpy as np
import onnxruntime

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.model import Model
from depth_estimation_ros.support.sentences import choices, quoted, reason

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}


class OnnxRuntimeBackend:
    """
    Backend that runs a model with ONNX Runtime.

    Parameters
    ----------
    model : Model
        Checked model, from `load_model`.
    provider : {"cpu", "cuda"}
        Execution provider.
    threads : int
        Number of CPU threads; 0 uses all cores.
    cameras : int
        Number of cameras that share the backend. On the CPU their calls run concurrently: with four cameras on four
        cores this gives 1.7 times the throughput of sequential calls, and 1.5 times that of batches (measured by
        `python -m depth_estimation_ros.bench.cameras`).

    Raises
    ------
    BackendError
        If the installed ONNX Runtime lacks the provider, or the provider does not start or does not accept the model.
    """

    def __init__(self, model: Model, provider: str = "cpu", threads: int = 0, cameras: int = 1):
        available = onnxruntime.get_available_providers()
        wanted = PROVIDERS[provider]
        if wanted not in available:
            have = choices(name for name, p in PROVIDERS.items() if p in available)
            raise BackendError(
                f"the installed ONNX Runtime has no {provider} provider (it has: {have}); "
                "install a build of onnxruntime that has it, or choose another backend"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Let idle threads sleep: spinning threads would take the cores that the rest of the robot needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Failures are raised, so logging is off. Exception: only the log names a missing CUDA library.
        options.log_severity_level = 4 if provider == "cpu" else 3
        providers = list(dict.fromkeys((wanted, PROVIDERS["cpu"])))
        try:
            # ONNX Runtime's fallback would print, and try the same again.
            self._session = onnxruntime.InferenceSession(model.content, options, providers=providers, enable_fallback=0)
        except Exception as error:  # onnxruntime's error classes have only Exception in common
            raise BackendError(
                f"onnxruntime/{provider} cannot run model {quoted(model.path)}: {reason(error)}; export it again, or "
                "choose another backend"
            ) from error
        self._session._model_bytes = None  # it would keep the file in memory without need
        # If the libraries of a provider do not load, ONNX Runtime falls back to the CPU with only a log line.
        if self._session.get_providers()[0] != wanted:
            raise BackendError(
                f"the {provider} provider did not start, probably because its libraries are missing or do not fit "
                "this driver; install them, or choose the backend cpu"
            )
        self._outputs = model.outputs
        self.concurrent = provider == "cpu"
        batch = self._session.get_inputs()[0].shape[0]  # a number if it is fixed in the model, else a name
        self.max_batch = 1 if self.concurrent else batch if isinstance(batch, int) else cameras
        self.name = f"onnxruntime/{provider}"

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run the model: uint8 [N, H, W, 3] RGB to its outputs, each float32 [N, 1, h, w]."""
        try:
            arrays = self._session.run(self._outputs, {"image": images})
        except Exception as error:  # onnxruntime's error classes have only Exception in common
            raise BackendError(f"{self.name} failed: {reason(error)}") from error
        return dict(zip(self._outputs, arrays, strict=True))
