"""
From a model to a running engine: built once, compared with its model, kept, and built again when anything changed.

Plans are built and stored for real; what runs them stands in for a GPU (`tensorrt_on_host`).
"""

import subprocess
import sys
import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest
from tensorrt_on_host import CHILDREN, OUT_OF_MEMORY, HostCuda, library_on_host

from depth_estimation_ros.backends import BackendError, EngineOptions
from depth_estimation_ros.backends.tensorrt import engine, parity
from depth_estimation_ros.backends.tensorrt.cuda import Device, open_cuda
from depth_estimation_ros.backends.tensorrt.engine import EngineFactory
from depth_estimation_ros.backends.tensorrt.library import find_library
from depth_estimation_ros.backends.tensorrt.parity import ParityError
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.model import Model, load_model
from depth_estimation_ros.tools.quantize_model import quantize

trt = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")

pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops in TensorRT-RTX")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("nyu_resnet18_small")


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> str:
    """Return a folder with one image to compare on; rendering a room takes longer."""
    import cv2

    folder = tmp_path_factory.mktemp("frames")
    ramp = np.add.outer(np.arange(120), np.arange(160))[..., None] * [0.5, 0.7, 0.9]
    cv2.imwrite(str(folder / "0.png"), ramp.astype(np.uint8))
    return str(folder)


@pytest.fixture
def factory(model, frames, tmp_path):
    """Return a function that makes a factory of fp16 engines for two cameras, and the list of what it says."""

    def make(distort=lambda depth: depth, device=None, content=None, **options):
        cuda, said = HostCuda(device), []
        library = library_on_host(trt, cuda, content or model.path.read_bytes(), max_batch=2, distort=distort)
        folder = str(tmp_path / "engines")
        options = {"cameras": 2, "cache": folder, "calibration": frames, "log": said.append, **options}
        return EngineFactory(library, cuda, EngineOptions(**options)), said

    return make


def built(said: list[str]) -> int:
    return sum(" built in " in sentence for sentence in said)


def test_an_engine_is_built_at_the_first_launch_and_found_at_the_second(model, factory):
    first, said = factory()
    backend = first.open(model)
    assert backend.name == "tensorrt_rtx/fp16"
    assert len(said) == 3 and built(said) == 1
    assert "no engine of nyu_resnet18_small" in said[0] and "differs from ONNX Runtime's by 0.000%" in said[1]
    wanted = DepthEstimator.load("nyu_resnet18_small", "cpu").backend
    images = np.random.default_rng(0).integers(0, 256, (3, 120, 160, 3), np.uint8)
    np.testing.assert_allclose(backend.infer(images)["depth"], wanted.infer(images)["depth"], rtol=1e-4)
    second, said = factory()
    assert second.open(model).name == "tensorrt_rtx/fp16"
    assert said == []


def test_a_new_gpu_gets_an_engine_of_its_own_and_the_log_says_why(model, factory):
    factory()[0].open(model)
    other, said = factory(device=Device("NVIDIA GeForce RTX 4090", "8.9", "12.8"))
    other.open(model)
    assert said[0] == "no engine fits: cuda was 12.6, is 12.8"
    assert built(said) == 1


@pytest.mark.parametrize(
    ("name", "capability"),
    [("Orin", "8.7"), ("NVIDIA H200", "9.0"), ("NVIDIA B200", "10.0"), ("NVIDIA GB300", "10.3"), ("Thor", "11.0")],
)
def test_a_gpu_on_which_tensorrt_for_rtx_does_not_run_is_refused_before_the_build(model, factory, name, capability):
    refused, said = factory(device=Device(name, capability, "13.0"))
    sentence = rf"does not run on {name}, compute capability {capability}: choose the backend tensorrt"
    with pytest.raises(BackendError, match=sentence):
        refused.open(model)
    assert said == [] and not refused.cache.folder.exists()
    with pytest.raises(BackendError, match=sentence):
        factory(device=Device(name, capability, "13.0"), file="robot.plan")[0].open(model)


@pytest.mark.parametrize("capability", ["7.5", "8.0", "8.6", "8.9", "12.0", "12.1", "13.0"])
def test_other_gpus_are_left_to_tensorrt_for_rtx(capability):
    find_library("tensorrt_rtx").check_gpu("RTX", capability)


def test_an_engine_that_does_not_load_is_built_again(model, factory):
    first, _ = factory()
    first.open(model)
    key = first.key(model)
    first.cache.store(key, b"a plan of another TensorRT with the same version", {"precision": "fp16"})
    second, said = factory()
    second.open(model)
    assert "does not load" in said[0] and said[0].endswith("it is built again") and built(said) == 1


@pytest.mark.parametrize(
    ("distort", "reason"),
    [
        pytest.param(lambda depth: depth * np.float32(1.05), "by 5.000% in the mean", id="off by 5 %"),
        pytest.param(
            lambda depth: np.where(depth > np.median(depth), np.float32(np.nan), depth), "not finite", id="NaN"
        ),
        pytest.param(lambda depth: np.zeros_like(depth), "by 100.000% in the mean", id="zeros"),
    ],
)
def test_an_engine_that_computes_something_else_is_refused_and_not_kept(model, factory, distort, reason):
    wrong, _ = factory(distort)
    with pytest.raises(ParityError, match=f"fp16 is refused: .*{reason}.*; choose the precision fp32"):
        wrong.open(model)
    assert wrong.cache.entries() == []


def test_best_is_the_fastest_that_computes_the_model(model, factory, monkeypatch):
    times = {"tensorrt_rtx/fp16": 1.0, "tensorrt_rtx/fp32": 2.0}
    monkeypatch.setattr(engine, "_time", lambda backend, _: times[backend.name])
    best, said = factory(precision="best", cameras=1)
    assert best.open(model).name == "tensorrt_rtx/fp16"
    [entry] = best.cache.entries()
    assert entry.facts["milliseconds"] == {"fp16": 1.0, "fp32": 2.0}
    said.clear()
    assert factory(precision="best", cameras=1)[0].open(model).name == "tensorrt_rtx/fp16"


def test_best_passes_over_what_is_refused_and_says_so(model, factory, monkeypatch):
    wrong, said = factory(precision="best", cameras=1)
    check = parity.check

    def refuse_half(backend, frames, wanted, precision):
        if precision == "fp16":
            raise ParityError("the fp16 engine is refused")
        return check(backend, frames, wanted, precision)

    monkeypatch.setattr(parity, "check", refuse_half)
    assert wrong.open(model).name == "tensorrt_rtx/fp32"
    assert "the fp16 engine is refused" in said
    assert wrong.cache.entries()[0].facts["refused"] == {"fp16": "the fp16 engine is refused"}
    monkeypatch.undo()
    nothing, _ = factory(lambda depth: depth * 2, precision="best")
    with pytest.raises(BackendError, match="no precision computes this model"):
        nothing.open(model)


def test_best_of_a_quantized_model_is_int8_and_compared_with_the_quantized_model(model, factory, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (2, 120, 160, 3), np.uint8)
    quantize(model, frames, tmp_path / "int8.onnx", symmetric=True)
    quantized = load_model(tmp_path / "int8.onnx")
    best, said = factory(content=quantized.path.read_bytes(), precision="best", cameras=1)
    assert best.open(quantized).name == "tensorrt_rtx/int8"
    [entry] = best.cache.entries()
    assert entry.facts["precision"] == "int8" and list(entry.facts["milliseconds"]) == ["int8"]
    assert any("int8: its depth differs from ONNX Runtime's by 0.000%" in sentence for sentence in said)
    content = quantized.path.read_bytes()
    float_instead, _ = factory(lambda depth: depth * np.float32(1.1), content=content, precision="int8", cameras=1)
    with pytest.raises(BackendError, match=r"int8 is refused: .*; choose the float model"):
        float_instead.open(quantized)


def test_a_plan_for_which_there_is_no_memory_is_not_built_again(model, factory):
    first, _ = factory()
    key = first.key(model)
    first.open(model)
    first.cache.store(key, OUT_OF_MEMORY, {"precision": "fp16"})
    second, said = factory()
    with pytest.raises(BackendError, match=r"the GPU's memory does not suffice to load the engine: .*OutOfMemory"):
        second.open(model)
    assert said == [] and second.cache.load(key)


def test_images_that_are_not_there_are_missed_before_the_build(model, factory):
    steps = []
    hurried, _ = factory(calibration="/nowhere", progress=lambda *step: steps.append(step[0]))
    with pytest.raises(BackendError, match=r"no images to compare the engine on: .*'/nowhere' does not exist"):
        hurried.open(model)
    assert steps == ["computing the model on the CPU"]


def test_a_cancelled_build_leaves_nothing(model, factory):
    cancelled = threading.Event()
    broken_off, _ = factory(progress=lambda phase, fraction: cancelled.set(), cancelled=cancelled)
    with pytest.raises(CancelledError):
        broken_off.open(model)
    assert [path.name for path in broken_off.cache.folder.iterdir()] == ["lock"]


def test_a_named_plan_is_run_from_anywhere_but_only_if_it_computes_the_model(model, factory, tmp_path):
    plan = tmp_path / "robot.plan"
    good, _ = factory(file=str(plan))
    plan.write_bytes(good.build(model, "fp16").plan)
    assert good.open(model).name == "tensorrt_rtx/robot.plan"
    with pytest.raises(BackendError, match=r"robot.plan is refused: its depth differs"):
        factory(lambda depth: depth * 2, file=str(plan))[0].open(model)
    plan.write_bytes(b"")
    with pytest.raises(BackendError, match="does not load"):
        good.open(model)
    with pytest.raises(BackendError, match="cannot be read: No such file"):
        factory(file=str(tmp_path / "none.plan"))[0].open(model)


def test_without_a_gpu_nothing_is_built_and_the_reason_is_given(model, tmp_path):
    try:
        open_cuda().device()
    except BackendError as error:
        assert "no CUDA device can be used: cudaGetDeviceCount failed: cudaError" in str(error)
    else:
        pytest.skip("this machine has a GPU")
    options = EngineOptions(cache=str(tmp_path / "engines"))
    with pytest.raises(BackendError, match="no CUDA device can be used"):
        EngineFactory(find_library("tensorrt_rtx"), open_cuda(), options).open(model)
    assert not (tmp_path / "engines").exists()


def open_in_process(folder: str, frames: str) -> None:
    """Open the packaged model's engine and print what was said: what the test of two processes runs in each."""
    model, cuda = load_model("nyu_resnet18_small"), HostCuda()
    library = library_on_host(trt, cuda, model.path.read_bytes(), max_batch=2)
    options = EngineOptions(cameras=2, cache=folder, calibration=frames, log=print)
    sys.stdin.readline()
    EngineFactory(library, cuda, options).open(model)


def test_two_processes_at_once_build_once(frames, tmp_path):
    code = f"import test_engine; print('ready', flush=True); test_engine.open_in_process({str(tmp_path)!r}, {frames!r})"
    tmp_path.chmod(0o700)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=CHILDREN,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(built(text.splitlines()) for text in said) == [0, 1]
    assert sum("another process builds" in text for text in said) == 1
    assert len(list(tmp_path.glob("*.plan"))) == 1
