"""How much a network computes."""

from __future__ import annotations

import math

import onnx

from depth_estimation_ros.wrapping.shapes import inferred_shapes


def count_macs(model: onnx.ModelProto) -> int:
    """
    Count the multiplications of convolutions and matrix products for one image, a lower bound where shapes are free.

    Parameters
    ----------
    model : onnx.ModelProto
        With inputs of fixed size.
    """
    shapes = inferred_shapes(model)
    return sum(_macs(node, shapes) for node in model.graph.node)


def _macs(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
        return 0
    first, second, result = (shapes.get(name, [0]) for name in (node.input[0], node.input[1], node.output[0]))
    if node.op_type == "Conv":  # weights [out, in / groups, ...]
        return math.prod(result) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":  # weights [in, out / groups, ...]
        return math.prod(first) * math.prod(second[1:])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(result) * (first[-2] if transposed and len(first) > 1 else first[-1])
