"""One engine for several cameras: what waits goes through together, nobody pays for another, and it is there once."""

import gc
import shutil
import threading
import time
import weakref
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures.thread import _global_shutdown_lock as futures_lock

import numpy as np
import onnx
import pytest

from depth_estimation_ros.backends import BackendError, create_backend
from depth_estimation_ros.backends.shared import THREAD_NAME, SharedEngine
from depth_estimation_ros.model import PACKAGED, ModelInfo, load_model
from depth_estimation_ros.runtime import shared_engine
from depth_estimation_ros.runtime.session import Loading
from depth_estimation_ros.runtime.shared_engine import SharedEngines
from depth_estimation_ros.settings import EngineSettings, Settings

INFO = ModelInfo("tiny", 3, 2, 7.5, 0.5, 10.0, "none", "Apache-2.0", "0" * 64)
BAD, FATAL = 250, 251


def image(value: int) -> np.ndarray:
    return np.full((1, INFO.input_height, INFO.input_width, 3), value, np.uint8)


def engine_threads() -> set:
    return {thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)}


def soon(condition) -> bool:
    """Wait until a condition holds; the limit is a safety net."""
    end = time.monotonic() + 10.0
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


class Recorder:
    """Gives each image its mean as depth, keeps a record of its calls, and is held up while `gate` is closed."""

    name, concurrent, lost = "recorder", False, ""

    def __init__(self, max_batch=4, inner=None):
        self.max_batch, self._inner = max_batch, inner
        self.batches, self.threads, self.gate = [], set(), threading.Event()
        self.gate.set()

    def infer(self, images):
        self.threads.add(threading.get_ident())
        self.batches.append(images[:, 0, 0, 0].tolist())
        assert self.gate.wait(10)
        if self._inner:
            return self._inner.infer(images)
        if FATAL in images:
            self.lost = "the GPU is lost"
            raise BackendError(self.lost)
        if BAD in images:
            raise BackendError("this image cannot be computed")
        return {"depth": images.mean((1, 2, 3), np.float32)[:, None, None, None]}


def until(condition):
    """Wait for another thread; the limit is a safety net."""
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def shared(backend, cameras=4, info=INFO) -> SharedEngine:
    """Return a shared engine, its warm-up not on the record."""
    engine = SharedEngine(lambda: backend, info, cameras)
    backend.batches.clear()
    return engine


def answers(engine, backend, images) -> list:
    """Call while the engine is busy with another image, all at once, in this order; errors as their text."""
    assert not backend.batches
    backend.gate.clear()

    def call(img):
        try:
            return engine.infer(img)["depth"]
        except BackendError as error:
            return str(error)

    with ThreadPoolExecutor(len(images) + 1) as threads:
        threads.submit(engine.infer, image(1) if images[0].shape == image(1).shape else images[0])
        until(lambda: backend.batches)
        found = []
        for count, img in enumerate(images, 1):
            found.append(threads.submit(call, img))
            until(lambda count=count: len(engine._worker._waiting) == count)
        backend.gate.set()
        return [future.result(10) for future in found]


def test_calls_that_wait_go_through_together_and_each_gets_its_own():
    backend = Recorder()
    engine = shared(backend)
    assert [float(depth.item()) for depth in answers(engine, backend, [image(7), image(8), image(9)])] == [7, 8, 9]
    assert backend.batches == [[1], [7, 8, 9]]
    assert engine.facts() == {"backend": "recorder", "engine_cameras": "0", "engine_images_per_call": "2.00"}


def test_a_call_that_finds_the_engine_free_does_not_wait_for_others():
    backend = Recorder()
    engine = shared(backend)
    for value in (3, 4):
        assert engine.infer(image(value))["depth"].item() == value
    assert backend.batches == [[3], [4]]


@pytest.mark.parametrize(
    ("max_batch", "batches"), [(1, [[1], [5], [6], [7], [8], [9]]), (2, [[1], [5, 6], [7, 8], [9]])]
)
def test_no_batch_is_larger_than_the_engine_takes_and_who_came_first_goes_first(max_batch, batches):
    backend = Recorder(max_batch)
    depths = answers(shared(backend, cameras=5), backend, [image(value) for value in range(5, 10)])
    assert [depth.item() for depth in depths] == [5, 6, 7, 8, 9]
    assert backend.batches == batches


def test_an_image_that_fails_fails_alone():
    backend = Recorder()
    good, failed, other = answers(shared(backend), backend, [image(7), image(BAD), image(9)])
    assert (good.item(), failed, other.item()) == (7, "this image cannot be computed", 9)
    assert backend.batches == [[1], [7, BAD, 9], [7], [BAD], [9]]


@pytest.mark.parametrize("together", [False, True])
def test_an_error_does_not_keep_the_engine_alive(together):
    backend, before = Recorder(), engine_threads()
    engine = shared(backend)
    if together:
        answers(engine, backend, [image(BAD), image(BAD)])
    else:
        with pytest.raises(BackendError):
            engine.infer(image(BAD))
    alive = weakref.ref(engine)
    gc.disable()
    try:
        del engine
        assert alive() is None
        assert soon(lambda: engine_threads() <= before)
    finally:
        gc.enable()


def test_an_engine_is_released_also_while_the_garbage_collector_interrupts_an_executor():
    before, engine = engine_threads(), shared(Recorder())
    with futures_lock:  # held while an executor starts a thread, which may run the garbage collector
        del engine
    assert soon(lambda: engine_threads() <= before)


def test_a_lost_gpu_is_lost_to_every_camera():
    backend = Recorder()
    engine = shared(backend)
    assert answers(engine, backend, [image(7), image(FATAL), image(9)]) == ["the GPU is lost"] * 3
    assert backend.batches == [[1], [7, FATAL, 9]], "nobody tries it again"
    assert engine.lost == "the GPU is lost"


def test_an_engine_is_called_by_the_thread_that_made_it_alone():
    made_in = []
    backend = Recorder()
    engine = SharedEngine(lambda: made_in.append(threading.get_ident()) or backend, INFO, 3)
    assert [len(batch) for batch in backend.batches] == [3, 2], "every size of batch is warmed up"
    backend.batches.clear()
    answers(engine, backend, [image(1), image(2)])
    assert backend.threads == set(made_in) and made_in != [threading.get_ident()]


def test_calls_of_a_concurrent_engine_run_side_by_side():
    meeting = threading.Barrier(2, timeout=10)

    class Concurrent(Recorder):
        concurrent = True

        def infer(self, images):
            meeting.wait()
            return super().infer(images)

    engine = shared(Concurrent(max_batch=1))
    with ThreadPoolExecutor(2) as threads:
        depths = list(threads.map(lambda value: engine.infer(image(value))["depth"].item(), (3, 4)))
    assert depths == [3, 4]


@pytest.mark.parametrize("name", ["cpu", "openvino"])
def test_the_default_model_computes_the_same_in_batches_and_side_by_side_as_alone(name):
    model = load_model("default")
    size = (model.info.input_height, model.info.input_width, 3)
    images = list(np.random.default_rng(0).integers(0, 256, (4, 1, *size), np.uint8))
    alone = create_backend(model, name, 1)
    wanted = [alone.infer(img)["depth"] for img in images]
    backend = Recorder(max_batch=4, inner=alone)
    found = answers(shared(backend, info=model.info), backend, images)
    assert [len(batch) for batch in backend.batches] == [1, 4]
    engines = SharedEngines(4)
    estimator = engines.load(Settings(engine=EngineSettings(backend=name, threads=4)), threading.Event(), Loading())
    with ThreadPoolExecutor(4) as threads:
        beside = list(threads.map(lambda img: estimator.backend.infer(img)["depth"], images * 5))
    for depths in (found, beside):
        for depth, want in zip(depths, wanted * 5, strict=False):
            np.testing.assert_allclose(depth, want, rtol=1e-4)


# One engine for the same model and settings


@pytest.fixture
def loads(monkeypatch) -> list:
    """Return the list of what is loaded."""
    loaded, load_backend = [], shared_engine.load_backend

    def load(model, settings, *args):
        loaded.append(settings)
        return load_backend(model, settings, *args)

    monkeypatch.setattr(shared_engine, "load_backend", load)
    return loaded


def load(engines, cancelled=None, said=lambda _: None, **settings):
    settings = Settings().having({"backend": "cpu", "threads": 1, **settings})
    return engines.load(settings, cancelled or threading.Event(), Loading(said))


def test_the_same_model_and_settings_are_one_engine_and_it_ends_with_the_last_camera(loads):
    before, said = engine_threads(), []
    engines = SharedEngines(3)
    with ThreadPoolExecutor(3) as threads:
        cameras = list(threads.map(lambda _: load(engines, said=said.append, max_depth=5.0), range(3)))
    assert len(loads) == 1 and len({id(camera.backend) for camera in cameras}) == 1
    assert said == ["using the engine that already runs for another camera"] * 2
    assert cameras[0].backend.facts()["engine_cameras"] == "3"
    engine = weakref.ref(cameras[0].backend._worker.backend)
    del cameras[1:]
    assert engine() is not None and len(engine_threads() - before) == 1
    assert cameras[0].backend.facts()["engine_cameras"] == "1"
    del cameras
    assert soon(lambda: engine() is None and engine_threads() <= before)
    load(engines)
    assert len(loads) == 2


def test_other_settings_another_file_or_a_lost_gpu_are_another_engine(tmp_path):
    path = tmp_path / "model.onnx"
    shutil.copy(PACKAGED["default"], path)
    engines = SharedEngines(4)
    first, same = load(engines), load(engines, model=str(path))
    assert same.backend is first.backend, "what counts is what is in the file"
    assert load(engines, threads=2).backend is not first.backend
    newer = onnx.load(path)
    newer.doc_string = "of tomorrow"
    onnx.save(newer, path)
    assert load(engines, model=str(path)).backend is not first.backend
    first.backend._worker.backend.lost = "the GPU is lost"
    assert load(engines).backend is not first.backend


def test_who_waits_for_another_cameras_engine_says_so_and_can_be_cancelled(monkeypatch):
    engines, go_on, cancelled, waiting = SharedEngines(2), threading.Event(), threading.Event(), Loading()
    load_backend = shared_engine.load_backend
    monkeypatch.setattr(shared_engine, "load_backend", lambda *args: go_on.wait(10) and load_backend(*args))
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(load, engines)
        until(engines._lock.locked)
        second = threads.submit(
            engines.load, Settings(engine=EngineSettings(backend="cpu", threads=1)), cancelled, waiting
        )
        until(lambda: "another camera" in str(waiting))
        cancelled.set()
        with pytest.raises(CancelledError):
            second.result(10)
        go_on.set()
        assert first.result(10).backend.name == "onnxruntime/cpu"


def test_a_backend_that_cannot_be_made_is_one_sentence_and_leaves_no_thread():
    before, engines = engine_threads(), SharedEngines(2)
    for _ in range(2):
        with pytest.raises(BackendError, match="no cuda provider"):
            load(engines, backend="cuda")
    assert soon(lambda: engine_threads() <= before)
