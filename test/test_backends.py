"""Every engine that runs on a CPU gives the same depth, for any batch, on as many threads as it is told."""

import dataclasses
import os
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from depth_estimation_ros import DepthEstimator, backends
from depth_estimation_ros.backends import BackendError, create_backend, openvino
from depth_estimation_ros.model import METADATA_KEY, ModelInfo, load_model

CPU_BACKENDS = ("cpu", "openvino")
REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(params=CPU_BACKENDS)
def backend(request):
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="needs the package openvino")
    return request.param


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 120, 160, 3), np.uint8)


@pytest.fixture
def sure_model(tmp_path):
    """Write a model whose depth is the image's mean over the channels and whose log variance is minus that."""
    onnx = pytest.importorskip("onnx", reason="needs the package onnx to write a model")
    make, info = onnx.helper, ModelInfo("sure", 8, 6, 7.5, 0.5, 10.0, "none", "Apache-2.0", "0" * 64)
    nodes = [
        make.make_node("Cast", ["image"], ["float"], to=onnx.TensorProto.FLOAT),
        make.make_node("ReduceMean", ["float"], ["mean"], axes=[3], keepdims=1),
        make.make_node("Transpose", ["mean"], ["depth"], perm=[0, 3, 1, 2]),
        make.make_node("Neg", ["depth"], ["log_variance"]),
    ]
    outputs = [
        make.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ("N", 1, 6, 8)) for n in ("log_variance", "depth")
    ]
    inputs = [make.make_tensor_value_info("image", onnx.TensorProto.UINT8, ("N", 6, 8, 3))]
    graph = make.make_graph(nodes, "sure", inputs, outputs)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    model.metadata_props.add(key=METADATA_KEY, value=info.to_json())
    onnx.save(model, tmp_path / "sure.onnx")
    return load_model(tmp_path / "sure.onnx")


def test_openvino_gives_the_depth_of_onnx_runtime(images):
    pytest.importorskip("openvino", reason="needs the package openvino")
    model = load_model("default")
    expected, found = (create_backend(model, name, 1).infer(images) for name in CPU_BACKENDS)
    assert found.keys() == expected.keys() == {"depth"}
    assert found["depth"].dtype == np.float32
    np.testing.assert_allclose(found["depth"], expected["depth"], rtol=1e-4)


def test_a_batch_of_several_cameras_gives_what_each_image_gives_alone(backend, images):
    engine = create_backend(load_model("default"), backend, 1)
    together = engine.infer(images)["depth"]
    assert together.shape[0] == 3
    for i in (2, 0, 1):
        np.testing.assert_allclose(engine.infer(images[i : i + 1])["depth"][0], together[i], rtol=1e-4)
    np.testing.assert_array_equal(engine.infer(images)["depth"], together)


def test_every_output_comes_by_its_name(backend, sure_model):
    outputs = create_backend(sure_model, backend, 1).infer(np.full((2, 6, 8, 3), 4, np.uint8))
    assert outputs.keys() == {"depth", "log_variance"}
    np.testing.assert_allclose(outputs["depth"], np.full((2, 1, 6, 8), 4.0))
    np.testing.assert_allclose(outputs["log_variance"], np.full((2, 1, 6, 8), -4.0))


def test_outputs_are_the_callers_own(backend, images):
    engine = create_backend(load_model("default"), backend, 1)
    first = engine.infer(images[:1])["depth"]
    kept = first.copy()
    engine.infer(images[1:2])
    np.testing.assert_array_equal(first, kept)


def test_images_of_another_size_are_refused_in_one_line(backend):
    engine = create_backend(load_model("default"), backend, 1)
    with pytest.raises(BackendError, match=engine.name) as caught:
        engine.infer(np.zeros((1, 120, 161, 3), np.uint8))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_an_engine_told_to_use_one_thread_computes_in_one(backend):
    """By the system's account of the time that each thread of a process of its own has run."""
    script = """
import os, sys
import numpy as np
from depth_estimation_ros import DepthEstimator
def run_ns():
    return {i: int(open(f"/proc/self/task/{i}/schedstat").read().split()[0]) for i in os.listdir("/proc/self/task")}
estimator = DepthEstimator.load("default", sys.argv[1], 1)
image = np.zeros((1, 120, 160, 3), np.uint8)
estimator.backend.infer(image)
before = run_ns()
for _ in range(20):
    estimator.backend.infer(image)
spent = [ns - before.get(i, 0) for i, ns in run_ns().items()]
print(sum(ns > 0.2 * max(spent) for ns in spent))
"""
    assert int(subprocess.check_output([sys.executable, "-c", script, backend], cwd=REPOSITORY)) == 1


def test_an_engine_leaves_no_file_behind_and_reports_to_nobody(backend, tmp_path):
    """Both packages would keep an identifier of this machine in the user's folder for what they send home."""
    script = "import sys; from depth_estimation_ros import DepthEstimator as D; D.load('default', sys.argv[1], 1)"
    environment = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(tmp_path))
    environment.update(PATH=os.environ["PATH"], PYTHONPATH=str(REPOSITORY))
    subprocess.run([sys.executable, "-c", script, backend], cwd=tmp_path, env=environment, check=True)
    assert not list(tmp_path.iterdir())


def test_a_missing_openvino_is_one_sentence_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(openvino, "_core", openvino._core.__wrapped__)
    with pytest.raises(BackendError, match="pip install openvino, or choose another backend") as caught:
        DepthEstimator.load("default", "openvino")
    assert "\n" not in str(caught.value)


def test_auto_takes_openvino_where_it_is_installed_and_onnx_runtime_elsewhere(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    if find_spec("openvino"):
        assert DepthEstimator.load("default", threads=1).backend.name == "openvino/cpu"
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert DepthEstimator.load("default", threads=1).backend.name == "onnxruntime/cpu"


def test_a_process_outlives_its_backends_in_whatever_order_they_go(backend):
    """Its signal handlers too: an engine may have given them a stack of its own."""
    script = """if True:
        import signal, sys
        from depth_estimation_ros import DepthEstimator
        first, second = (DepthEstimator.load("default", sys.argv[1], 1) for _ in range(2))
        del first
        del second
        handled = []
        signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
        signal.raise_signal(signal.SIGUSR1)
        assert handled
    """
    subprocess.run([sys.executable, "-c", script, backend], cwd=REPOSITORY, check=True)


def test_what_openvino_cannot_read_is_one_line(tmp_path):
    pytest.importorskip("openvino", reason="needs the package openvino")
    (tmp_path / "half.onnx").write_bytes(load_model("default").path.read_bytes()[:100_000])
    broken = dataclasses.replace(load_model("default"), path=tmp_path / "half.onnx")
    with pytest.raises(BackendError, match=r"cannot run .*half\.onnx") as caught:
        create_backend(broken, "openvino")
    assert "\n" not in str(caught.value)
