"""Rewrite an ONNX model into a form that every TensorRT version accepts; the graph computes the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.support.installing import how_to_install

if TYPE_CHECKING:
    import onnx

_QUANTIZED = {"QuantizeLinear", "DequantizeLinear"}
_HEAVY = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def prepare(content: bytes, half: bool = False) -> bytes:
    """
    Rewrite an ONNX model for TensorRT.

    TensorRT accepts a uint8 input only if it goes directly into a cast, so a change of layout before the cast is moved
    behind it. Weights that are stored in half precision and cast to float32 become float32 weights, as TensorRT 8
    requires for transposed convolutions.

    Parameters
    ----------
    content : bytes
        An ONNX file.
    half : bool
        Compute in float16. Inputs, outputs and all nodes after the last convolution keep their types: there, softmax,
        exponential and sum convert features to metres; they are cheap and would lose precision. In a quantised model,
        only the part without Q/DQ nodes (the up-projection) becomes float16.

    Returns
    -------
    bytes
        An ONNX file.

    Raises
    ------
    BackendError
        If the file cannot be read, or the package onnx is missing.
    """
    onnx = _import_onnx()
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's error classes have only Exception in common
        raise BackendError(f"the model is not a complete ONNX file ({error}); copy or export it again") from None
    _fold_weight_casts(model.graph)
    _cast_before_transpose(model.graph)
    if half:
        model = _halve(model)
    return model.SerializeToString()


def is_quantized(content: bytes) -> bool:
    """Return whether an ONNX file has quantisation (Q/DQ) nodes."""
    model = _import_onnx().load_model_from_string(content)
    return any(node.op_type in _QUANTIZED for node in model.graph.node)


def is_symmetric(content: bytes) -> bool:
    """Return whether all zero points of a quantised ONNX file are signed and 0, as TensorRT requires."""
    onnx = _import_onnx()
    graph = onnx.load_model_from_string(content).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    points = {node.input[2] for node in graph.node if node.op_type in _QUANTIZED and len(node.input) > 2}
    arrays = [onnx.numpy_helper.to_array(weights[name]) for name in points & weights.keys()]
    return all(array.dtype.kind == "i" and not array.any() for array in arrays)


def _import_onnx():
    try:
        import onnx
    except ImportError:
        raise BackendError(
            "building a TensorRT engine needs the Python package onnx; install it with "
            f"`{how_to_install('onnx')}`, or choose the backend cuda or cpu"
        ) from None
    return onnx


def _fold_weight_casts(graph: onnx.GraphProto) -> None:
    """Replace casts of stored weights by weights of the target type."""
    onnx = _import_onnx()
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "Cast" and n.input[0] in weights]:
        wanted = onnx.helper.tensor_dtype_to_np_dtype(node.attribute[0].i)
        values = onnx.numpy_helper.to_array(weights[node.input[0]]).astype(wanted)
        graph.initializer.append(onnx.numpy_helper.from_array(values, node.output[0]))
        graph.node.remove(node)
    _drop_unused_weights(graph)


def _cast_before_transpose(graph: onnx.GraphProto) -> None:
    """Move the cast of an input before its transpose."""
    inputs = {value.name for value in graph.input}
    for transpose in [n for n in graph.node if n.op_type == "Transpose" and n.input[0] in inputs]:
        readers = [n for n in graph.node if transpose.output[0] in n.input]
        if [n.op_type for n in readers] != ["Cast"]:
            continue
        cast, between, image = readers[0], transpose.output[0], transpose.input[0]
        result = cast.output[0]
        # The two nodes also swap their places in the order of the nodes.
        position, later = list(graph.node).index(transpose), list(graph.node).index(cast)
        cast.input[0], cast.output[0] = image, between
        transpose.input[0], transpose.output[0] = between, result
        first, second = _copy(cast), _copy(transpose)
        graph.node[position].CopyFrom(first)
        graph.node[later].CopyFrom(second)
        for value in [v for v in graph.value_info if v.name == between]:
            graph.value_info.remove(value)


def _copy(message):
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _halve(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Convert the graph up to the last convolutions to float16, with casts between float16 and float32.

    The converters of onnxconverter-common and onnxruntime.transformers are not suitable: the first keeps the cast of a
    uint8 input at float32, and both round between nodes that must stay in float32.
    """
    onnx = _import_onnx()
    single, half = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == single}
    values = (*graph.value_info, *graph.output)
    floats = {value.name for value in values if value.type.tensor_type.elem_type == single} | weights.keys()
    single_nodes = _after_last_convolution(graph) | _quantized_part(graph)
    outputs = {output.name for output in graph.output}
    halved: set[str] = set()
    nodes, casts = [], {}

    def cast(name: str, to: int) -> str:
        if (name, to) not in casts:
            casts[name, to] = f"{name}/{'half' if to == half else 'single'}"
            if name in weights:
                values = onnx.numpy_helper.to_array(weights[name]).astype("float16")
                graph.initializer.append(onnx.numpy_helper.from_array(values, casts[name, to]))
            else:
                nodes.append(onnx.helper.make_node("Cast", [name], [casts[name, to]], casts[name, to], to=to))
        return casts[name, to]

    for node in graph.node:
        in_half = node.output[0] not in single_nodes
        for i, name in enumerate(node.input):
            if name in halved and not in_half:
                node.input[i] = cast(name, single)
            # The scales of a Resize are always float32.
            elif in_half and name in floats - halved and (i == 0 or node.op_type != "Resize"):
                node.input[i] = cast(name, half)
        nodes.append(node)
        if in_half:
            _halve_attributes(node)
            halved |= floats & set(node.output) - outputs
        for i, name in enumerate(node.output):
            if in_half and name in outputs:
                node.output[i] = f"{name}/half"
                nodes.append(onnx.helper.make_node("Cast", [node.output[i]], [name], name, to=single))
    del graph.value_info[:]
    nodes = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused_weights(graph)
    return model


def _halve_attributes(node: onnx.NodeProto) -> None:
    """Change the output type of casts and constants from float32 to float16."""
    onnx = _import_onnx()
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
            attribute.i = onnx.TensorProto.FLOAT16
        elif attribute.HasField("t") and attribute.t.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(attribute.t).astype("float16")
            attribute.t.CopyFrom(onnx.numpy_helper.from_array(values, attribute.t.name))


def _after_last_convolution(graph: onnx.GraphProto) -> set[str]:
    """Return the first output of each node between the last convolutions and the model's outputs."""
    producers = {output: node for node in graph.node for output in node.output}
    waiting, tail = [output.name for output in graph.output], set()
    while waiting:
        node = producers.get(waiting.pop())
        if node is not None and node.op_type not in _HEAVY and node.output[0] not in tail:
            tail.add(node.output[0])
            waiting += node.input
    return tail


def _quantized_part(graph: onnx.GraphProto) -> set[str]:
    """Return the first output of each Q/DQ node, node that leads to a Q node, and node with quantised weights."""
    producers = {output: node for node in graph.node for output in node.output}
    part = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    part |= {node.output[0] for node in graph.node if part & set(node.input[1:2]) and node.op_type in _HEAVY}
    waiting = [node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"]
    seen = set()
    while waiting:
        node = producers.get(waiting.pop())
        if node is not None and node.output[0] not in seen:
            seen.add(node.output[0])
            waiting += node.input
    return part | seen


def _drop_unused_weights(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
