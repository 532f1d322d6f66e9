"""ONNX Runtime, with the execution provider of choice."""

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
    Runs a model with ONNX Runtime.

    Parameters
    ----------
    model : Model
        A checked model.
    provider : {"cpu", "cuda"}
        Where it runs.
    threads : int
        CPU threads, 0 for all cores.
    callers : int
        Cameras that share it. On the CPU their calls run side by side (four of them on four cores: 1.7 times as many
        as one by one, 1.5 times as many as in batches, by `python -m depth_estimation_ros.bench.cameras`).

    Raises
    ------
    BackendError
        If the provider is not part of the installed ONNX Runtime, does not start, or refuses the model.
    """

    def __init__(self, model: Model, provider: str = "cpu", threads: int = 0, callers: int = 1):
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
        # Idle threads sleep: a spinning pool would burn the cores that the rest of the robot needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # What fails is raised. Only of CUDA's libraries, the log alone says which is missing.
        options.log_severity_level = 4 if provider == "cpu" else 3
        providers = list(dict.fromkeys((wanted, PROVIDERS["cpu"])))
        try:
            # Its own fallback would print, and try the same once more.
            self._session = onnxruntime.InferenceSession(model.content, options, providers=providers, enable_fallback=0)
        except Exception as error:  # onnxruntime raises classes of its own that share only Exception
            raise BackendError(
                f"onnxruntime/{provider} cannot run model {quoted(model.path)}: {reason(error)}; export it again, or "
                "choose another backend"
            ) from error
        self._session._model_bytes = None  # it would keep the file in memory to no purpose
        # ONNX Runtime falls back to the CPU with a mere log line when a provider's libraries do not load.
        if self._session.get_providers()[0] != wanted:
            raise BackendError(
                f"the {provider} provider did not start, probably because its libraries are missing or do not fit "
                "this driver; install them, or choose the backend cpu"
            )
        self._outputs = model.outputs
        self.concurrent = provider == "cpu"
        batch = self._session.get_inputs()[0].shape[0]  # a number where the model has it fixed, else a name
        self.max_batch = 1 if self.concurrent else batch if isinstance(batch, int) else callers
        self.name = f"onnxruntime/{provider}"

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network: uint8 [N, H, W, 3] RGB to every output, float32 [N, 1, h, w] each."""
        try:
            arrays = self._session.run(self._outputs, {"image": images})
        except Exception as error:  # onnxruntime raises classes of its own that share only Exception
            raise BackendError(f"{self.name} failed: {reason(error)}") from error
        return dict(zip(self._outputs, arrays, strict=True))
