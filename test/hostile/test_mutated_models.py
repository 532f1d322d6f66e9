"""Models with other metadata or damaged bytes keep the contract, or are refused in one line."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge import survive
from onnx import TensorProto, helper
from strategies import INFO, metadata, mutated_bytes

from depth_estimation_ros.model import METADATA_KEY, ModelError, ModelInfo, load_model

LOADING_MS = 2000.0


def tiny_model(text: str) -> bytes:
    """Return a model of a few nodes, with a metadata entry."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[3], keepdims=1),
        helper.make_node("Transpose", ["mean"], ["depth"], perm=[0, 3, 1, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ("N", 6, 8, 3))],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, ("N", 1, 6, 8))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model.metadata_props.add(key=METADATA_KEY, value=text)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("model") / "tiny.onnx"


def check(info) -> None:
    assert all(isinstance(getattr(info, name), str) for name in ("name", "training_data", "licence", "source_sha256"))
    assert isinstance(info.input_width, int) and isinstance(info.input_height, int)
    assert all(math.isfinite(n) and n > 0 for n in (info.focal_length, info.min_depth, info.max_depth))
    assert ModelInfo.from_json(info.to_json()) == info


@given(metadata())
def test_other_metadata_are_read_or_refused(text):
    if info := survive(ModelInfo.from_json, text, errors=ModelError, weight=len(text)):
        check(info)


@given(metadata().filter(lambda text: len(text) < 2000))
def test_a_model_with_other_metadata_is_loaded_or_refused(file, text):
    file.write_bytes(tiny_model(text.encode("utf-8", "replace").decode()))
    if model := survive(load_model, file, errors=ModelError, largest_ms=LOADING_MS):
        check(model.info)
        assert (model.info.input_width, model.info.input_height) == (8, 6)


@given(st.data())
def test_a_model_with_damaged_bytes_is_loaded_or_refused(file, data):
    file.write_bytes(data.draw(mutated_bytes(tiny_model(INFO.to_json()))))
    if model := survive(load_model, file, errors=ModelError, largest_ms=LOADING_MS):
        check(model.info)
