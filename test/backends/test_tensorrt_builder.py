"""Real plans, built by TensorRT for RTX, which needs no GPU for that."""

import threading
from concurrent.futures import CancelledError

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from depth_estimation_ros.backends import BackendError, EngineOptions
from depth_estimation_ros.backends.tensorrt import builder
from depth_estimation_ros.backends.tensorrt.builder import build
from depth_estimation_ros.backends.tensorrt.library import Library, find_library
from depth_estimation_ros.backends.tensorrt.prepare import prepare
from depth_estimation_ros.model import PACKAGED, load_model
from depth_estimation_ros.tools.quantize_model import quantize

pytest.importorskip("tensorrt_rtx", reason="needs TensorRT for RTX: pip install -e '.[test]'")

pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops in TensorRT-RTX")

FREE = 1 << 30
FLOAT, HALF, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8


@pytest.fixture(scope="module")
def library() -> Library:
    return find_library("tensorrt_rtx")


@pytest.fixture(scope="module")
def packaged() -> bytes:
    return PACKAGED["nyu_resnet18_small"].read_bytes()


@pytest.fixture(scope="module")
def quantized(tmp_path_factory) -> dict[str, bytes]:
    """Return the packaged model as ``quantize_model`` makes it, for TensorRT and for a CPU."""
    folder = tmp_path_factory.mktemp("quantized")
    frames = np.random.default_rng(0).integers(0, 256, (2, 120, 160, 3), np.uint8)
    for name, symmetric in {"tensorrt": True, "cpu": False}.items():
        quantize(load_model("nyu_resnet18_small"), frames, folder / name, symmetric=symmetric)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def graph_of(nodes, shape=("N", 4, 4, 3), weights=(), opset=17) -> bytes:
    """Return a model from uint8 `image` to float32 `depth`."""
    image = helper.make_tensor_value_info("image", UINT8, shape)
    depth = helper.make_tensor_value_info("depth", FLOAT, None)
    graph = helper.make_graph(nodes, "small", [image], [depth], list(weights))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("elsewhere", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def test_fp32_fp16_and_int8_are_built_from_the_packaged_model(library, packaged, quantized):
    size = {}
    for precision, content in {"fp32": packaged, "fp16": packaged, "int8": quantized["tensorrt"]}.items():
        made = build(library, content, EngineOptions(precision, cameras=4), free_memory=FREE)
        size[precision] = len(made.plan)
        # The header of a plan: a magic word, and at 16 the bytes that follow it.
        assert made.plan[:4] == b"vtrt"
        assert int.from_bytes(made.plan[16:24], "little") in range(len(made.plan) - 64, len(made.plan) + 1)
        assert made.timing_cache
    weights = len(prepare(packaged))
    assert weights * 0.9 < size["fp32"] < weights * 1.2
    assert weights * 0.45 < size["fp16"] < weights * 0.6
    assert weights * 0.25 < size["int8"] < weights * 0.6


def test_fp32_is_without_tf32(library):
    config = library.module.Builder(library.logger()).create_builder_config()
    tf32 = library.module.BuilderFlag.TF32
    assert config.get_flag(tf32), "which is on by default"
    builder._set_precision(library, config, "fp16")
    assert config.get_flag(tf32)
    builder._set_precision(library, config, "fp32")
    assert not config.get_flag(tf32)


def test_an_earlier_timing_cache_is_taken_and_a_foreign_one_does_no_harm(library, packaged):
    made = build(library, packaged, EngineOptions("fp32"), free_memory=FREE)
    for timing_cache in (made.timing_cache, b"of another version"):
        assert build(library, packaged, EngineOptions("fp32"), free_memory=FREE, timing_cache=timing_cache).plan


@pytest.fixture(scope="module")
def whole_build(library, packaged) -> list[tuple[str, float]]:
    """Return the steps that a build reports."""
    seen = []
    build(library, packaged, EngineOptions("fp16", progress=lambda *step: seen.append(step)), free_memory=FREE)
    return seen


def test_progress_names_phases_and_never_leaves_zero_to_one(whole_build):
    phases = [phase for phase, _ in whole_build]
    assert phases[:3] == ["preparing the model", "reading the model", "building the engine"]
    assert len(set(phases)) > 5
    assert all(0.0 <= fraction <= 1.0 for _, fraction in whole_build)
    assert any(fraction == 1.0 for _, fraction in whole_build)


@pytest.mark.parametrize("after", [1, 5, 40, 150])
def test_a_build_ends_soon_after_it_is_cancelled(library, packaged, whole_build, after):
    cancelled, seen = threading.Event(), []

    def progress(phase, fraction):
        seen.append(phase)
        if len(seen) == after:
            cancelled.set()

    with pytest.raises(CancelledError):
        build(library, packaged, EngineOptions("fp16", progress=progress, cancelled=cancelled), free_memory=FREE)
    assert len(seen) < len(whole_build)


def half(name, value):
    return numpy_helper.from_array(np.float16(value), name)


CAST = helper.make_node("Cast", ["image"], ["float"], to=FLOAT)
REFUSED = {
    "Resize with antialias": (
        graph_of(
            [
                CAST,
                helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
                helper.make_node("Resize", ["planes", "", "scales"], ["depth"], mode="linear", antialias=1),
            ],
            weights=[numpy_helper.from_array(np.float32([1, 1, 0.5, 0.5]), "scales")],
            opset=18,
        ),
        "antialias",
    ),
    "float32 added to float16": (
        graph_of([CAST, helper.make_node("Add", ["float", "one"], ["depth"])], weights=[half("one", [1])]),
        "type",
    ),
    "an unknown operator": (
        graph_of([CAST, helper.make_node("Conjure", ["float"], ["depth"], domain="elsewhere")]),
        "Conjure",
    ),
    "an image of free size": (
        graph_of([CAST, helper.make_node("Relu", ["float"], ["depth"])], ("N", "H", "W", 3)),
        "batch",
    ),
    "a batch of one alone": (
        graph_of([CAST, helper.make_node("Relu", ["float"], ["depth"])], (1, 4, 4, 3)),
        "free batch",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_tensorrt_refuses_is_one_sentence_with_its_reason(library, fault):
    content, reason = REFUSED[fault]
    with pytest.raises(BackendError, match=reason) as caught:
        build(library, content, EngineOptions("fp32", cameras=2), free_memory=FREE)
    assert "\n" not in str(caught.value)


def test_a_free_batch_without_a_profile_is_refused_by_tensorrt(library, packaged, monkeypatch):
    monkeypatch.setattr(builder, "_add_profile", lambda *_: None)
    with pytest.raises(BackendError, match=r"could not build the engine: .*profile"):
        build(library, packaged, EngineOptions("fp32"), free_memory=FREE)


def test_a_precision_that_is_not_the_models_is_refused(library, packaged, quantized):
    with pytest.raises(BackendError, match="int8 needs a quantised model"):
        build(library, packaged, EngineOptions("int8"), free_memory=FREE)
    with pytest.raises(BackendError, match="its precision is int8, not fp16"):
        build(library, quantized["tensorrt"], EngineOptions("fp16"), free_memory=FREE)


def test_a_model_quantized_for_a_cpu_is_refused_before_tensorrt_does_in_its_own_words(library, quantized):
    with pytest.raises(BackendError, match="quantize_model --symmetric"):
        build(library, quantized["cpu"], EngineOptions("int8"), free_memory=FREE)


def test_int8_computes_what_the_quantized_model_does_with_the_rest_in_float16(quantized):
    images = np.random.default_rng(1).integers(0, 256, (2, 120, 160, 3), np.uint8)
    halved = prepare(quantized["tensorrt"], half=True)
    wanted, got = (
        onnxruntime.InferenceSession(content).run(["depth"], {"image": images})[0]
        for content in (quantized["tensorrt"], halved)
    )
    np.testing.assert_allclose(got, wanted, rtol=5e-3)
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(halved))
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    of = {
        kind: [kinds[n.output[0]] for n in model.graph.node if n.op_type == kind] for kind in ("Conv", "ConvTranspose")
    }
    assert set(of["ConvTranspose"]) == {HALF}
    assert of["Conv"].count(FLOAT) == 19 and of["Conv"].count(HALF) == 5


@pytest.mark.parametrize(
    ("choice", "words"),
    [({"precision": "fp8"}, "fp32, fp16, int8, best"), ({"cameras": 0}, "at least 1"), ({"workspace": -1}, "MiB")],
)
def test_options_that_cannot_be_are_refused(choice, words):
    with pytest.raises(BackendError, match=words):
        EngineOptions(**choice)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Requested amount of GPU memory (8 bytes) could not be allocated: OutOfMemory", "ran out of memory"),
        ("Error Code 10: Could not find any implementation for node {ForeignNode}", "most often means too little GPU"),
        ("Assertion failed", "could not build the engine: Assertion failed"),
    ],
)
def test_out_of_memory_is_named_as_such(library, message, words):
    assert words in builder._why(library, [message], 512 << 20)
