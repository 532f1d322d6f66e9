"""Shapes of what a graph computes."""

from __future__ import annotations

import math

import onnx
from onnx import helper

FEW = 1024
"""So many elements of a constant may hold a shape; more are weights."""


def inferred_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the shapes that are known without a computation, by tensor."""
    graph = model.graph
    found = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    small: list[onnx.TensorProto] = []
    large: list[onnx.TensorProto] = []
    for tensor in graph.initializer:
        (small if math.prod(tensor.dims) <= FEW else large).append(tensor)
    # Without the bulk of the weights, which it would copy.
    stubs = [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in large]
    light = helper.make_graph(graph.node, "light", [*graph.input, *stubs], graph.output, small)
    light = helper.make_model(light, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        graph = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    except Exception:  # of a graph that it does not understand; nothing depends on it
        graph = light.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(side.HasField("dim_value") for side in tensor.shape.dim):
            found[value.name] = [side.dim_value for side in tensor.shape.dim]
    return found
