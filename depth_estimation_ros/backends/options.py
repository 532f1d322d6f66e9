"""Options of an engine, one name each from the node's parameters and ``build_engine`` to the engine itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

from depth_estimation_ros.backends.errors import BackendError

BACKENDS = ("auto", "cpu", "cuda", "tensorrt", "tensorrt_rtx", "openvino")
PRECISIONS = ("fp32", "fp16", "int8", "best")
"""Precisions of a TensorRT engine."""

MAX_THREADS = 256
"""Maximum number of CPU threads of an engine."""

CACHE_LIMIT = 4096
"""Default limit of the total size of the engines in a cache, MiB."""

Progress = Callable[[str, float], None]
"""Function called with the current phase and the fraction of it that is done (0 to 1), from any thread."""


@dataclass(frozen=True)
class EngineOptions:
    """
    Options of an engine besides threads. All but ``cameras`` apply to TensorRT only.

    Parameters
    ----------
    precision : {"fp32", "fp16", "int8", "best"}
        int8 needs a quantised model (Q/DQ nodes). best selects the fastest precision that passes the parity check.
    cameras : int
        Number of cameras that share the engine: the maximum number of images per run, or of calls at the same time.
    workspace : int
        GPU memory in MiB that the builder's tactics may use; 0 uses half of the free memory.
    cache : str
        Folder of the engine cache; empty uses the user's cache folder.
    cache_limit : int
        Maximum total size of the engines in the cache in MiB; the least recently used ones are deleted first.
    calibration : str
        Images, video or bag on which a new engine is compared with its model; empty uses rendered rooms.
    file : str
        Path of an engine outside the cache, to run unchanged; empty for none.
    progress : callable
        See `Progress`.
    cancelled : threading.Event
        Event that cancels a build.
    log : callable
        Function that logs one sentence (str).

    Raises
    ------
    BackendError
        If a value is not allowed.
    """

    precision: str = "fp16"
    cameras: int = 1
    workspace: int = 0
    cache: str = ""
    cache_limit: int = CACHE_LIMIT
    calibration: str = ""
    file: str = ""
    progress: Progress = lambda *_: None
    cancelled: threading.Event = field(default_factory=threading.Event)
    log: Callable[[str], None] = lambda _: None

    def __post_init__(self):
        """Check the values."""
        if self.cameras < 1:
            raise BackendError(f"the number of cameras must be at least 1, got {self.cameras}")
        if self.precision not in PRECISIONS:
            raise BackendError(f"precision {self.precision!r} is unknown; choose one of: {', '.join(PRECISIONS)}")
        if self.workspace < 0:
            raise BackendError(
                f"the workspace must be a number of MiB, or 0 for half of what is free, got {self.workspace}"
            )

    def begin(self, phase: str) -> None:
        """Report the beginning of a phase; raise CancelledError if `cancelled` is set."""
        if self.cancelled.is_set():
            raise CancelledError
        self.progress(phase, 0.0)
