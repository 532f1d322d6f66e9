"""Create a running engine for a model: load it from the cache, or build it, compare it with the model and store it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from depth_estimation_ros.backends import BackendError, EngineOptions
from depth_estimation_ros.backends.tensorrt import parity
from depth_estimation_ros.backends.tensorrt.builder import Build, build
from depth_estimation_ros.backends.tensorrt.cache import EngineCache
from depth_estimation_ros.backends.tensorrt.cuda import Cuda, Device, open_cuda
from depth_estimation_ros.backends.tensorrt.key import engine_key, file_name
from depth_estimation_ros.backends.tensorrt.library import Library, find_library
from depth_estimation_ros.backends.tensorrt.prepare import is_quantized
from depth_estimation_ros.backends.tensorrt.private_files import write_privately
from depth_estimation_ros.backends.tensorrt.runner import PlanError, TensorRTBackend
from depth_estimation_ros.model import Model
from depth_estimation_ros.support.sentences import quoted, reason

Comparison = Callable[[TensorRTBackend, str], parity.Parity]
Checked = tuple[bytes, dict[str, object], TensorRTBackend]
"""Plan, its facts, and the backend that runs it."""

_REPEATS = 50  # runs to time a precision


class EngineFactory:
    """
    Factory of running engines on the first GPU.

    Parameters
    ----------
    library : Library
        TensorRT to use.
    cuda : Cuda
        CUDA runtime to use.
    options : EngineOptions
        Options that the user chose.

    Attributes
    ----------
    cache : EngineCache
        Cache of engines.
    """

    def __init__(self, library: Library, cuda: Cuda, options: EngineOptions):
        self.library, self.cuda, self.options = library, cuda, options
        self.cache = EngineCache(options.cache, options.cache_limit, options.log)

    def open(self, model: Model) -> TensorRTBackend:
        """
        Return a model's running engine: the file that the user chose, or one from the cache, built if it is missing.

        Raises
        ------
        BackendError
            If there is no GPU, the model cannot be built, there are no images to compare on, the engine fails the
            parity check, or it cannot be stored; or if the file cannot be read or does not load.
        CancelledError
            If `options.cancelled` was set.
        """
        if self.options.file:
            return self._from_file(model, Path(self.options.file))
        key = self.key(model)
        seen = self.cache.stamp(key)
        if backend := self._from_cache(model, key):
            return backend
        # The weights may be in half precision in the model and in single precision in the engine.
        with self.cache.lock(self.options.cancelled, room=2 * len(model.known_content)):
            # Another process may have built it while this one waited for the lock.
            if self.cache.stamp(key) != seen and (backend := self._from_cache(model, key)):
                return backend
            return self._built(model, key)

    def key(self, model: Model) -> dict[str, str]:
        """Return the key of a model's engine in the cache; raise BackendError if there is no GPU for this TensorRT."""
        return engine_key(model, self.options, self.library, self._device())

    def _device(self) -> Device:
        """Return the GPU; raise BackendError if there is none, or this TensorRT does not run on it."""
        device = self.cuda.device()
        self.library.check_gpu(device.name, device.compute_capability)
        return device

    def _from_file(self, model: Model, plan: Path) -> TensorRTBackend:
        """Return the running engine of a plan that the user chose, after comparing it with the model."""
        self._device()
        try:
            content = plan.expanduser().read_bytes()
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise BackendError(
                f"engine {quoted(plan)} cannot be read: {reason(error)}; give the path of a plan, or none"
            ) from None
        compare = self._comparison(model)
        backend = self._run(model, content, plan.name, engine=str(plan), max_batch=1)
        compare(backend, "int8")  # the widest tolerance, because the precision of the plan is unknown
        return backend

    def _from_cache(self, model: Model, key: dict[str, str]) -> TensorRTBackend | None:
        found = self.cache.load(key)
        if found is None:
            return None
        plan, facts = found
        try:
            precision = str(facts.get("precision", self.options.precision))
            return self._run(model, plan, precision, engine=file_name(key))
        except PlanError as error:
            self.options.log(f"{error}; it is built again")
            return None

    def _built(self, model: Model, key: dict[str, str]) -> TensorRTBackend:
        compare, started = self._comparison(model), time.monotonic()
        if self.options.precision == "best":
            plan, facts, backend = self._best(model, key, compare)
        else:
            plan, facts, backend = self._checked(model, self.options.precision, key, compare)
        facts["build_seconds"] = round(time.monotonic() - started, 1)
        path = self.cache.store(key, plan, facts)
        self.options.log(f"engine {path} built in {facts['build_seconds']:.0f} s")
        return backend

    def _checked(self, model: Model, precision: str, key: dict[str, str], compare: Comparison) -> Checked:
        """Build an engine and compare it with its model."""
        plan = self.build(model, precision, key).plan
        backend = self._run(model, plan, precision, engine=file_name(key))
        figures = compare(backend, precision)
        return plan, {"precision": precision, "parity": figures.facts()}, backend

    def _best(self, model: Model, key: dict[str, str], compare: Comparison) -> Checked:
        """Build all candidate precisions, and choose the fastest that passes the parity check."""
        times, refused, fastest = {}, {}, None
        for precision in candidate_precisions(model.known_content):
            try:
                checked = self._checked(model, precision, key, compare)
            except parity.ParityError as error:
                refused[precision] = str(error)
                self.options.log(str(error))
                continue
            times[precision] = _time(checked[2], model)
            self.options.log(f"{precision}: {times[precision]:.3f} ms for one image")
            if min(times, key=times.__getitem__) == precision:
                fastest = checked
        if fastest is None:
            raise BackendError(f"no precision computes this model; {'; '.join(refused.values())}")
        plan, facts, backend = fastest
        return plan, {**facts, "milliseconds": times, "refused": refused}, backend

    def build(self, model: Model, precision: str, key: dict[str, str] | None = None) -> Build:
        """
        Build an engine.

        Parameters
        ----------
        model : Model
            The model.
        precision : {"fp32", "fp16", "int8"}
            Precision of the engine.
        key : dict, optional
            Key of the engine. With it, the timing cache of earlier builds on the same GPU is used; without it, no GPU
            is needed.

        Raises
        ------
        BackendError
            If TensorRT does not accept the model or cannot build it.
        CancelledError
            If `options.cancelled` was set.
        """
        timings = self.cache.timing_cache(key) if key else None
        made = build(
            self.library,
            model.known_content,
            replace(self.options, precision=precision),
            free_memory=self.cuda.memory_info()[0] if key else 1 << 30,
            timing_cache=timings.read_bytes() if timings and timings.is_file() else b"",
        )
        if timings and made.timing_cache:
            write_privately(timings, made.timing_cache)
        return made

    def _run(
        self, model: Model, plan: bytes, precision: str, *, engine: str, max_batch: int | None = None
    ) -> TensorRTBackend:
        return TensorRTBackend(
            self.library,
            plan,
            max_batch or self.options.cameras,
            self.cuda,
            outputs=model.outputs,
            name=f"{self.library.name}/{precision}",
            log=self.options.log,
            engine=engine,
        )

    def _comparison(self, model: Model) -> Comparison:
        """Compute the model's depth of the comparison images, before the build, so that missing images fail early."""
        self.options.begin("computing the model on the CPU")
        try:
            frames = parity.calibration_frames(model.info, self.options.calibration)
        except (ValueError, OSError) as error:
            raise BackendError(
                f"there are no images to compare the engine on: {reason(error)}; give others with the parameter "
                "engine_calibration or the option --calibration, or none for rendered rooms"
            ) from None
        wanted = parity.reference(model, frames)

        def compare(backend: TensorRTBackend, precision: str) -> parity.Parity:
            self.options.begin("comparing with the model")
            figures = parity.check(backend, frames, wanted, precision)
            self.options.log(f"engine {backend.name}: its {figures}")
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
        As for `EngineFactory.open`.
    """
    return EngineFactory(find_library(library), open_cuda(), options).open(model)


def candidate_precisions(content: bytes) -> tuple[str, ...]:
    """Return the precisions an ONNX file can be built with: int8 if it is quantised, otherwise the float ones."""
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
