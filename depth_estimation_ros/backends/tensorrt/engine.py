"""Create a running engine for a model: load it from the cache, or build it, compare it with the model and store it."""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from depth_estimation_ros.backends import BackendError, EngineOptions
from depth_estimation_ros.backends.tensorrt import parity
from depth_estimation_ros.backends.tensorrt.builder import Build, BuildOptions, Progress, build
from depth_estimation_ros.backends.tensorrt.cache import EngineCache
from depth_estimation_ros.backends.tensorrt.cuda import Cuda, Device, open_cuda
from depth_estimation_ros.backends.tensorrt.files import write_privately
from depth_estimation_ros.backends.tensorrt.library import Library, find_library
from depth_estimation_ros.backends.tensorrt.prepare import is_quantized
from depth_estimation_ros.backends.tensorrt.runner import PlanError, TensorRTBackend
from depth_estimation_ros.model import Model
from depth_estimation_ros.support.sentences import quoted, reason

RECIPE = "1"
"""Version of `prepare` and `builder`; increase it when their result for the same model changes."""

Comparison = Callable[[TensorRTBackend, str], parity.Parity]
Checked = tuple[bytes, dict[str, object], TensorRTBackend]
"""Plan, its facts, and the backend that runs it."""

_REPEATS = 50  # runs to time a precision


@dataclass
class Workshop:
    """
    Factory of running engines on the first GPU.

    Parameters
    ----------
    library : Library
        TensorRT to use.
    cuda : Cuda
        CUDA runtime to use.
    cache : EngineCache
        Cache of engines.
    frames : str
        Source of images for the comparison (`parity.calibration_frames`).
    progress : callable
        See `builder.Progress`.
    cancelled : threading.Event
        Event that cancels a build.
    log : callable
        Function that logs one sentence (str).
    """

    library: Library
    cuda: Cuda
    cache: EngineCache
    frames: str = ""
    progress: Progress = lambda *_: None
    cancelled: threading.Event = field(default_factory=threading.Event)
    log: Callable[[str], None] = lambda _: None

    def open(self, model: Model, options: BuildOptions) -> TensorRTBackend:
        """
        Return a model's running engine, from the cache or newly built and stored there.

        Raises
        ------
        BackendError
            If there is no GPU, the model cannot be built, there are no images to compare on, the engine fails the
            parity check, or it cannot be stored.
        CancelledError
            If `cancelled` was set.
        """
        key = engine_key(model, options, self.library, self.cuda.device())
        seen = self.cache.stamp(key)
        if backend := self._from_cache(model, options, key):
            return backend
        # The weights may be in half precision in the model and in single precision in the engine.
        with self.cache.lock(self.cancelled, room=2 * len(model.content)):
            # Another process may have built it while this one waited for the lock.
            if self.cache.stamp(key) != seen and (backend := self._from_cache(model, options, key)):
                return backend
            return self._built(model, options, key)

    def open_plan(self, model: Model, plan: Path, max_batch: int) -> TensorRTBackend:
        """
        Return the running engine of a plan that the user chose, after comparing it with the model.

        Raises
        ------
        BackendError
            If it cannot be read, does not load, or fails the parity check.
        """
        self.cuda.device()
        try:
            content = plan.expanduser().read_bytes()
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise BackendError(
                f"engine {quoted(plan)} cannot be read: {reason(error)}; give the path of a plan, or none"
            ) from None
        compare = self._comparison(model)
        backend = self._run(model, content, max_batch, plan.name, str(plan))
        compare(backend, "int8")  # the widest tolerance, because the precision of the plan is unknown
        return backend

    def _from_cache(self, model: Model, options: BuildOptions, key: dict[str, str]) -> TensorRTBackend | None:
        found = self.cache.load(key)
        if found is None:
            return None
        plan, facts = found
        try:
            precision = str(facts.get("precision", options.precision))
            return self._run(model, plan, options.max_batch, precision, self.cache.name(key))
        except PlanError as error:
            self.log(f"{error}; it is built anew")
            return None

    def _built(self, model: Model, options: BuildOptions, key: dict[str, str]) -> TensorRTBackend:
        compare, started = self._comparison(model), time.monotonic()
        if options.precision == "best":
            plan, facts, backend = self._best(model, options, key, compare)
        else:
            plan, facts, backend = self._checked(model, options, key, compare)
        facts["build_seconds"] = round(time.monotonic() - started, 1)
        path = self.cache.store(key, plan, facts)
        self.log(f"engine {path} built in {facts['build_seconds']:.0f} s")
        return backend

    def _checked(self, model: Model, options: BuildOptions, key: dict[str, str], compare: Comparison) -> Checked:
        """Build an engine and compare it with its model."""
        plan = self.build(model, options, key).plan
        backend = self._run(model, plan, options.max_batch, options.precision, self.cache.name(key))
        figures = compare(backend, options.precision)
        return plan, {"precision": options.precision, "parity": figures.facts()}, backend

    def _best(self, model: Model, options: BuildOptions, key: dict[str, str], compare: Comparison) -> Checked:
        """Build all candidate precisions, and choose the fastest that passes the parity check."""
        times, refused, fastest = {}, {}, None
        for precision in candidate_precisions(model.content):
            try:
                checked = self._checked(model, replace(options, precision=precision), key, compare)
            except parity.ParityError as error:
                refused[precision] = str(error)
                self.log(str(error))
                continue
            times[precision] = _time(checked[2], model)
            self.log(f"{precision}: {times[precision]:.3f} ms for one image")
            if min(times, key=times.get) == precision:
                fastest = checked
        if fastest is None:
            raise BackendError(f"no precision computes this model; {'; '.join(refused.values())}")
        plan, facts, backend = fastest
        return plan, {**facts, "milliseconds": times, "refused": refused}, backend

    def build(self, model: Model, options: BuildOptions, key: dict[str, str] | None = None) -> Build:
        """
        Build an engine. With a key, use the timing cache of earlier builds on the same GPU.

        Raises
        ------
        BackendError
            If TensorRT does not accept the model or cannot build it.
        CancelledError
            If `cancelled` was set.
        """
        timings = self.cache.timing_cache(key) if key else None
        made = build(
            self.library,
            model.content,
            options,
            free_memory=self.cuda.memory_info()[0] if key else 1 << 30,
            timing_cache=timings.read_bytes() if timings and timings.is_file() else b"",
            progress=self.progress,
            cancelled=self.cancelled,
        )
        if timings and made.timing_cache:
            write_privately(timings, made.timing_cache)
        return made

    def _run(self, model: Model, plan: bytes, max_batch: int, precision: str, engine: str) -> TensorRTBackend:
        name = f"{self.library.name}/{precision}"
        return TensorRTBackend(self.library, plan, max_batch, self.cuda, model.outputs, name, self.log, engine)

    def _begin(self, doing: str) -> None:
        if self.cancelled.is_set():
            raise CancelledError
        self.progress(doing, 0.0)

    def _comparison(self, model: Model) -> Comparison:
        """Compute the model's depth of the comparison images, before the build, so that missing images fail early."""
        self._begin("computing the model on the CPU")
        try:
            frames = parity.calibration_frames(model.info, self.frames)
        except (ValueError, OSError) as error:
            raise BackendError(
                f"there are no images to compare the engine on: {reason(error)}; give others with the parameter "
                "engine_calibration or the option --frames, or none for rendered rooms"
            ) from None
        wanted = parity.reference(model, frames)

        def compare(backend: TensorRTBackend, precision: str) -> parity.Parity:
            self._begin("comparing with the model")
            figures = parity.check(backend, frames, wanted, precision)
            self.log(f"engine {backend.name}: its {figures}")
            return figures

        return compare


def open_engine(model: Model, library: str, options: EngineOptions) -> TensorRTBackend:
    """
    Return a model's running engine.

    Parameters
    ----------
    model : Model
        Checked model, from `load_model`.
    library : {"tensorrt", "tensorrt_rtx"}
        TensorRT variant.
    options : EngineOptions
        Options that the user chose.

    Raises
    ------
    BackendError, CancelledError
        As for `Workshop.open` and `Workshop.open_plan`.
    """
    cache = EngineCache(options.cache or None, log=options.log)
    workshop = Workshop(
        find_library(library),
        open_cuda(),
        cache,
        options.calibration,
        options.progress,
        options.cancelled,
        options.log,
    )
    if options.plan:
        return workshop.open_plan(model, Path(options.plan), max_batch=1)
    return workshop.open(model, BuildOptions(options.precision, options.callers))


def engine_key(model: Model, options: BuildOptions, library: Library, device: Device) -> dict[str, str]:
    """Return the fields that identify an engine."""
    return {
        "model": model.info.name,
        "model_sha256": model.sha256,
        "precision": options.precision,
        "max_batch": str(options.max_batch),
        "workspace": str(options.workspace),
        "recipe": RECIPE,
        "tensorrt": library.name,
        "tensorrt_version": library.version,
        "gpu": device.name,
        "compute_capability": device.compute_capability,
        "cuda": device.cuda,
        "l4t": l4t_release(),
    }


def l4t_release(path: Path = Path("/etc/nv_tegra_release")) -> str:
    """Return the release of Jetson Linux, e.g. ``36.4.3``; empty on other machines."""
    try:
        text = path.read_text()
    except OSError:
        return ""
    # Its first line: # R36 (release), REVISION: 4.3, GCID: ..., BOARD: ...
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return ".".join(match.groups()) if match else " ".join(text.split())[:100]


def candidate_precisions(content: bytes) -> tuple[str, ...]:
    """Return the precisions an ONNX file can be built with: int8 if it is quantized, otherwise the float ones."""
    return ("int8",) if is_quantized(content) else ("fp16", "fp32")


def _time(backend: TensorRTBackend, model: Model) -> float:
    """Return the median inference time of one image in milliseconds."""
    image = np.zeros((1, model.info.input_height, model.info.input_width, 3), np.uint8)
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        backend.infer(image)
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)
