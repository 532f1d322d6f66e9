import dataclasses
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from depth_estimation_ros.model import METADATA_KEY, ModelError, ModelInfo, load_model

INFO = ModelInfo("tiny", 8, 6, 7.5, 0.5, 10.0, "none", "Apache-2.0", "0" * 64)


@pytest.fixture
def tiny_model(tmp_path):
    """Return a function that writes a model of one convolution, which keeps the contract unless told otherwise."""

    def write(
        input_name="image", input_type=TensorProto.UINT8, shape=("N", 6, 8, 3), output="depth", info=INFO, more=()
    ):
        nodes = [
            helper.make_node("Cast", [input_name], ["float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["float"], ["mean"], axes=[3], keepdims=1),
            helper.make_node("Transpose", ["mean"], [output], perm=[0, 3, 1, 2]),
            *(
                helper.make_node(
                    "ReduceMean", [output], [o.name], axes=[1], keepdims=len(o.type.tensor_type.shape.dim) - 3
                )
                for o in more
            ),
        ]
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info(input_name, input_type, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ("N", 1, 6, 8)), *more],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        if info is not None:
            text = info if isinstance(info, str) else info.to_json()
            model.metadata_props.add(key=METADATA_KEY, value=text)
        path = tmp_path / "tiny.onnx"
        onnx.save(model, path)
        return path

    return write


def test_a_model_that_keeps_the_contract_is_read_back_as_written(tiny_model):
    model = load_model(tiny_model())
    assert model.info == INFO
    assert len(model.sha256) == 64
    assert model.outputs == ("depth",)


def test_the_default_model_keeps_the_contract():
    model = load_model("default")
    assert model.path.stat().st_size <= 16e6
    assert model.info.input_width > model.info.input_height > 0


def test_a_missing_model_is_named():
    with pytest.raises(ModelError, match=r"'/nowhere/x\.onnx' not found.*default"):
        load_model("/nowhere/x.onnx")


def test_a_model_without_metadata_is_refused(tiny_model):
    with pytest.raises(ModelError, match=r"tiny\.onnx cannot be used: it has no depth_estimation_ros metadata"):
        load_model(tiny_model(info=None))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[1]", "cannot be read"),
        ('{"schema_version": 99}', "schema version 99"),
        ('{"schema_version": 1, "name": "x"}', "lacks focal_length"),
        (dataclasses.replace(INFO, focal_length=0.0).to_json(), "positive numbers"),
        (dataclasses.replace(INFO, focal_length=float("nan")).to_json(), "positive numbers"),
    ],
)
def test_unusable_metadata_is_refused(tiny_model, text, message):
    with pytest.raises(ModelError, match=message):
        load_model(tiny_model(info=text))


@pytest.mark.parametrize(
    "other",
    [
        {"input_name": "input"},
        {"input_type": TensorProto.FLOAT},
        {"shape": ("N", 12, 16, 3)},
    ],
)
def test_a_model_with_other_inputs_is_refused(tiny_model, other):
    with pytest.raises(ModelError, match="its inputs are"):
        load_model(tiny_model(**other))


def test_a_model_without_depth_is_refused(tiny_model):
    with pytest.raises(ModelError, match="its outputs are"):
        load_model(tiny_model(output="disparity"))


def test_a_second_output_must_be_a_log_variance_of_the_same_shape(tiny_model):
    variance = helper.make_tensor_value_info("log_variance", TensorProto.FLOAT, ("N", 1, 6, 8))
    assert load_model(tiny_model(more=[variance])).outputs == ("depth", "log_variance")
    flat = helper.make_tensor_value_info("log_variance", TensorProto.FLOAT, ("N", 6, 8))
    with pytest.raises(ModelError, match="'log_variance' of the same shape"):
        load_model(tiny_model(more=[flat]))


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_model_is_refused(tmp_path, keep):
    content = load_model("default").path.read_bytes()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(ModelError, match=r"broken\.onnx cannot be used: it") as caught:
        load_model(broken)
    assert "\n" not in str(caught.value)


def test_weights_in_a_second_file_are_refused(tmp_path, monkeypatch):
    whole = onnx.load(load_model("default").path)
    onnx.save(whole, tmp_path / "split.onnx", save_as_external_data=True, location="weights.bin")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="not a complete ONNX file"):
        load_model("split.onnx")


def test_a_folder_is_not_a_model(tmp_path):
    with pytest.raises(ModelError, match="not found"):
        load_model(tmp_path)


def test_garbage_is_not_a_model(tmp_path):
    path = tmp_path / "noise.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(4096))
    with pytest.raises(ModelError, match="not a complete ONNX file"):
        load_model(path)


def test_without_onnxruntime_one_sentence_says_what_to_install():
    script = """
import sys
sys.modules["onnxruntime"] = None
from depth_estimation_ros.model import ModelError, load_model
try:
    load_model("default")
except ModelError as error:
    print(error)
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    (line,) = printed.splitlines()
    assert "models are read with the package onnxruntime" in line and line.endswith("pip install onnxruntime")
