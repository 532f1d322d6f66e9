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
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(params=CPU_BACKENDS)
def backend(request):
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="needs the package openvino")
    return request.param


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 120, 160, 3), np.uint8)


@pytest.fixture
def write_model(tmp_path):
    """
    Return a function that writes a model of given nodes, from the image's mean over the channels, ``mean``, on.

    They compute ``depth``, of the declared shape, and any other outputs, and may use the constants ``scale``, 2.0,
    ``table``, [0.0, 0.0], ``nine``, 9, and ``all`` and ``few`` of eight columns.
    """
    onnx = pytest.importorskip("onnx", reason="needs the package onnx to write a model")
    make, types = onnx.helper, onnx.TensorProto

    def write(*nodes, outputs=("depth",), shape=("N", 1, 6, 8), name="tiny"):
        nodes = [
            make.make_node("Cast", ["image"], ["float"], to=types.FLOAT),
            make.make_node("ReduceMean", ["float"], ["last"], axes=[3], keepdims=1),
            make.make_node("Transpose", ["last"], ["mean"], perm=[0, 3, 1, 2]),
            *(make.make_node(kind, inputs.split(), [output], **more) for kind, inputs, output, more in nodes),
        ]
        inputs = [make.make_tensor_value_info("image", types.UINT8, ("N", 6, 8, 3))]
        outputs = [make.make_tensor_value_info(output, types.FLOAT, shape) for output in outputs]
        constants = [
            make.make_tensor("scale", types.FLOAT, (), [2.0]),
            make.make_tensor("table", types.FLOAT, (2,), [0.0, 0.0]),
            make.make_tensor("nine", types.INT64, (), [9]),
            make.make_tensor("all", types.BOOL, (8,), [True] * 8),
            make.make_tensor("few", types.BOOL, (8,), [True] * 2 + [False] * 6),
        ]
        graph = make.make_graph(nodes, name, inputs, outputs, constants)
        model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
        info = ModelInfo(name, 8, 6, 7.5, 0.5, 10.0, "none", "Apache-2.0", "0" * 64)
        model.metadata_props.add(key=METADATA_KEY, value=info.to_json())
        onnx.save(model, tmp_path / f"{name}.onnx")
        return tmp_path / f"{name}.onnx"

    return write


@pytest.fixture
def sure_model(write_model):
    """Write a model whose depth is the image's mean over the channels and whose log variance is minus that."""
    nodes = ("Identity", "mean", "depth", {}), ("Neg", "mean", "log_variance", {})
    return load_model(write_model(*nodes, outputs=("log_variance", "depth"), name="sure"))


def test_openvino_gives_the_depth_of_onnx_runtime(images):
    pytest.importorskip("openvino", reason="needs the package openvino")
    model = load_model("nyu_resnet18_small")
    expected, found = (create_backend(model, name, 1).infer(images) for name in CPU_BACKENDS)
    assert found.keys() == expected.keys() == {"depth"}
    assert found["depth"].dtype == np.float32
    np.testing.assert_allclose(found["depth"], expected["depth"], rtol=1e-4)


def test_a_batch_of_several_cameras_gives_what_each_image_gives_alone(backend, images):
    engine = create_backend(load_model("nyu_resnet18_small"), backend, 1)
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


def test_the_engine_is_made_of_what_was_checked_whatever_the_file_is_by_then(backend, write_model):
    model = load_model(write_model(("Identity", "mean", "depth", {})))
    write_model(("Mul", "mean scale", "depth", {}))
    assert load_model(model.path).sha256 != model.sha256
    for change in (lambda: None, lambda: model.path.write_bytes(b""), model.path.unlink):
        change()
        depth = create_backend(model, backend, 1).infer(np.full((1, 6, 8, 3), 4, np.uint8))["depth"]
        np.testing.assert_allclose(depth, 4.0)


def test_an_engine_that_refuses_what_the_check_took_is_one_sentence(backend):
    model = load_model("nyu_resnet18_small")
    broken = dataclasses.replace(model, content=model.content[:100_000])
    with pytest.raises(
        BackendError, match=r"cannot run model '.*small\.onnx': .*; export it again, or choose"
    ) as caught:
        create_backend(broken, backend)
    assert str(caught.value).isprintable()


def test_an_engine_that_fails_at_its_first_inference_is_one_sentence_of_loading(write_model, capfd):
    path = write_model(
        ("ReduceMax", "mean", "brightest", {"keepdims": 0}),
        ("Cast", "brightest", "whole", {"to": 7}),
        ("Add", "whole nine", "index", {}),
        ("Gather", "table index", "number", {}),
        ("Add", "mean number", "depth", {}),
    )
    with pytest.raises(
        BackendError, match=r"tiny\.onnx' cannot be used: its first inference fails .*; export"
    ) as caught:
        DepthEstimator.load(path, "cpu", 1)
    assert str(caught.value).isprintable()
    assert not any(capfd.readouterr()), "ONNX Runtime must not say the same again in its own log"


def test_depth_of_another_shape_than_the_contract_says_is_refused(backend, write_model):
    path = write_model(("Concat", "mean mean", "depth", {"axis": 1}), shape=("N", "C", "h", "w"))
    with pytest.raises(BackendError, match=r"its depth of one image is float32 \[1, 2, 6, 8\], the contract asks for"):
        DepthEstimator.load(path, backend, 1)
    nodes = (
        ("Compress", f"mean {some}", output, {"axis": 3})
        for some, output in (("all", "depth"), ("few", "log_variance"))
    )
    path = write_model(*nodes, outputs=("depth", "log_variance"), shape=("N", 1, 6, "w"))
    with pytest.raises(BackendError, match=r"log_variance has the shape \[1, 1, 6, 2\], its depth \[1, 1, 6, 8\]"):
        DepthEstimator.load(path, backend, 1)


@pytest.mark.parametrize("threads", (-1, 257, 10**30, 1.5, "4", None, [1]))
def test_threads_that_no_machine_has_are_refused(threads):
    with pytest.raises(BackendError, match="threads must be a whole number from 0 to 256, got"):
        DepthEstimator.load("nyu_resnet18_small", "cpu", threads)


@pytest.mark.parametrize("name", (None, 7, "", "CPU", "\ud800", ["cpu"]))
def test_a_backend_that_is_none_is_refused(name):
    with pytest.raises(BackendError, match="is unknown; choose one of: auto, cpu, cuda") as caught:
        DepthEstimator.load("nyu_resnet18_small", name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("error", (MemoryError(), RuntimeError("a\nb"), TypeError(), OSError(5, "Input/output error")))
def test_whatever_a_library_raises_while_an_engine_is_made_is_one_sentence(monkeypatch, error):
    def failing(*_):
        raise error

    monkeypatch.setattr(onnxruntime, "get_available_providers", failing)
    with pytest.raises(BackendError, match=r"backend cpu cannot run model '.*': .*; choose another") as caught:
        DepthEstimator.load("nyu_resnet18_small", "cpu")
    assert str(caught.value).isprintable()


def test_outputs_are_the_callers_own(backend, images):
    engine = create_backend(load_model("nyu_resnet18_small"), backend, 1)
    first = engine.infer(images[:1])["depth"]
    kept = first.copy()
    engine.infer(images[1:2])
    np.testing.assert_array_equal(first, kept)


def test_images_of_another_size_are_refused_in_one_line(backend):
    engine = create_backend(load_model("nyu_resnet18_small"), backend, 1)
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
estimator = DepthEstimator.load("nyu_resnet18_small", sys.argv[1], 1)
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
        DepthEstimator.load("nyu_resnet18_small", "openvino")
    assert "\n" not in str(caught.value)


def test_auto_takes_openvino_where_it_is_installed_and_onnx_runtime_elsewhere(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    if find_spec("openvino"):
        assert DepthEstimator.load("nyu_resnet18_small", threads=1).backend.name == "openvino/cpu"
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert DepthEstimator.load("nyu_resnet18_small", threads=1).backend.name == "onnxruntime/cpu"


def test_a_process_outlives_its_backends_in_whatever_order_they_go(backend):
    """Its signal handlers too: an engine may have given them a stack of its own."""
    script = """if True:
        import signal, sys
        from depth_estimation_ros import DepthEstimator
        first, second = (DepthEstimator.load("nyu_resnet18_small", sys.argv[1], 1) for _ in range(2))
        del first
        del second
        handled = []
        signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
        signal.raise_signal(signal.SIGUSR1)
        assert handled
    """
    subprocess.run([sys.executable, "-c", script, backend], cwd=REPOSITORY, check=True)
