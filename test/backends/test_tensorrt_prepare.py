"""What is made of an ONNX model before TensorRT sees it computes the same."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.backends.tensorrt.prepare import is_quantized, prepare
from depth_estimation_ros.model import PACKAGED

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 120, 160, 3), np.uint8)


@pytest.fixture(scope="module")
def packaged() -> bytes:
    return PACKAGED["nyu_resnet18_small"].read_bytes()


def depth(content: bytes, images: np.ndarray = IMAGES) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options).run(["depth"], {"image": images})[0]


def written(nodes, weights, inputs, outputs, opset: int = 17) -> bytes:
    values = [
        [helper.make_tensor_value_info(name, *kind) for name, kind in tensors.items()] for tensors in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "small", *values, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def test_the_packaged_model_stays_exactly_what_it_was(packaged):
    np.testing.assert_array_equal(depth(prepare(packaged)), depth(packaged))


def test_uint8_meets_nothing_but_a_cast_and_weights_are_plain(packaged):
    graph = onnx.load_model_from_string(prepare(packaged)).graph
    assert {node.op_type for node in graph.node if "image" in node.input} == {"Cast"}
    assert [node.op_type for node in graph.node].count("Cast") == 1
    weights = {tensor.name for tensor in graph.initializer}
    assert all(node.input[1] in weights for node in graph.node if node.op_type in ("Conv", "ConvTranspose"))
    assert {tensor.name for tensor in graph.initializer} <= {name for node in graph.node for name in node.input}


def test_half_precision_computes_nearly_the_same_and_keeps_inputs_and_outputs(packaged):
    halved = prepare(packaged, half=True)
    model = onnx.load_model_from_string(halved)
    onnx.checker.check_model(model, full_check=True)
    wanted, got = depth(packaged), depth(halved)
    assert got.dtype == np.float32
    relative = np.abs(got - wanted) / wanted
    assert 0 < relative.mean() < 1e-3 and relative.max() < 1e-2


def test_half_precision_ends_with_the_last_convolution(packaged):
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(prepare(packaged, half=True)))
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    kinds |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    kinds["depth"] = TensorProto.FLOAT
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "MaxPool", "Add", "Relu", "Sub", "Div"):
            assert kinds[node.output[0]] == TensorProto.FLOAT16, node.name
        if node.op_type in ("Softmax", "Mul", "ReduceSum", "Exp"):
            assert {kinds[name] for name in node.input[:1]} | {kinds[node.output[0]]} == {TensorProto.FLOAT}, node.name
    assert sum(kind == TensorProto.FLOAT16 for kind in kinds.values()) > 50


def test_half_precision_knows_resize_constants_and_a_convolution_that_is_an_output():
    image, float_image = {"image": (TensorProto.UINT8, ("N", 4, 4, 3))}, (TensorProto.FLOAT, ("N", 1, 8, 8))
    random = np.random.default_rng(1)
    weights = {
        "weight": random.normal(size=(1, 3, 1, 1)).astype(np.float32),
        "scales": np.float32([1, 1, 2, 2]),
        "last": random.normal(size=(1, 1, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["scale"], value=numpy_helper.from_array(np.float32(1 / 255))),
        helper.make_node("Mul", ["float", "scale"], ["normal"]),
        helper.make_node("Conv", ["normal", "weight"], ["features"]),
        helper.make_node("Resize", ["features", "", "scales"], ["large"], mode="linear"),
        # An output that a convolution makes and another node reads, and a tail that shares a node with the body.
        helper.make_node("Conv", ["large", "last"], ["depth"], pads=[1, 1, 1, 1]),
        helper.make_node("Abs", ["depth"], ["log_variance"]),
    ]
    content = written(nodes, weights, image, {"depth": float_image, "log_variance": float_image})
    halved = prepare(content, half=True)
    onnx.checker.check_model(onnx.load_model_from_string(halved), full_check=True)
    images = IMAGES[:, :4, :4]
    np.testing.assert_allclose(depth(halved, images), depth(content, images), atol=5e-3)


def test_only_q_and_dq_nodes_make_a_model_quantized(packaged):
    assert not is_quantized(packaged)
    nodes = [
        helper.make_node("DequantizeLinear", ["image", "scale"], ["float"]),
        helper.make_node("ReduceMean", ["float"], ["depth"], axes=[3], keepdims=1),
    ]
    image, output = {"image": (TensorProto.UINT8, (1, 4, 4, 3))}, {"depth": (TensorProto.FLOAT, (1, 4, 4, 1))}
    assert is_quantized(written(nodes, {"scale": np.float32(1)}, image, output))


def test_half_an_onnx_file_is_refused_in_one_sentence(packaged):
    with pytest.raises(BackendError, match="not a complete ONNX file"):
        prepare(packaged[: len(packaged) // 2])
