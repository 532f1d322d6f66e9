"""Compute once what does not depend on the image: shapes, position embeddings, grids."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from depth_estimation_ros.wrapping.foreign import IR_VERSION
from depth_estimation_ros.wrapping.shapes import FEW, inferred_shapes

# Weights that are stored smaller than they are used stay so.
_UNPACKING = {"DequantizeLinear", "Cast"}
_ROUNDS = 20


def fold(model: onnx.ModelProto) -> None:
    """Replace what does not depend on the image by what it is, and drop what leads to no output."""
    graph = model.graph
    _drop_unread(graph)
    for _ in range(_ROUNDS):
        _constants_to_weights(graph)
        chosen = _choose_branches(graph)
        shapes = inferred_shapes(model)
        weights = {tensor.name: tensor for tensor in graph.initializer}
        known, foldable = set(weights), []
        for node in graph.node:
            if node.op_type == "Shape" and node.input[0] in shapes:
                start, end = (_attribute(node, name) for name in ("start", "end"))
                array = np.array(shapes[node.input[0]][slice(start, end)], np.int64)
                graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
                known.add(node.output[0])
            elif _is_constant(node, known, weights):
                foldable.append(node)
                known.update(node.output)
        done = {id(node) for node in foldable}
        found = {tensor.name for tensor in graph.initializer}
        left = [n for n in graph.node if id(n) not in done and n.output[0] not in found]
        if len(left) == len(graph.node) and not chosen:
            break
        if foldable and not _compute(model, foldable, left):
            left = [n for n in graph.node if n.output[0] not in found]
            _replace_nodes(graph, left)
            break
        _replace_nodes(graph, left)
    _drop_unused(graph)


def _compute(model: onnx.ModelProto, nodes: list[onnx.NodeProto], left: list[onnx.NodeProto]) -> bool:
    """Store what nodes that depend on no input give to those that are left; whether ONNX Runtime could compute it."""
    graph = model.graph
    used = {name for node in left for name in _reads(node)} | {value.name for value in graph.output}
    wanted = [name for node in nodes for name in node.output if name in used]
    read = {name for node in nodes for name in node.input}
    part = helper.make_graph(
        nodes,
        "constants",
        [],
        [onnx.ValueInfoProto(name=name) for name in wanted],
        [tensor for tensor in graph.initializer if tensor.name in read],
    )
    try:
        arrays = session_of(helper.make_model(part, opset_imports=model.opset_import, ir_version=IR_VERSION)).run(
            wanted, {}
        )
    except Exception:  # what it cannot compute alone it may within the whole
        return False
    graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in zip(wanted, arrays, strict=True))
    return True


def _is_constant(node: onnx.NodeProto, known: set[str], weights: Mapping[str, onnx.TensorProto]) -> bool:
    inputs = [name for name in node.input if name]
    if not inputs or not known.issuperset(inputs) or node.domain not in ("", "ai.onnx"):
        return False
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        return False
    unpacks = node.op_type in _UNPACKING and inputs[0] in weights
    return not (unpacks and math.prod(weights[inputs[0]].dims) > FEW)


def _constants_to_weights(graph: onnx.GraphProto) -> None:
    nodes = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
        if node.op_type == "Constant" and value is not None:
            tensor = copy_of(value)
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        else:
            nodes.append(node)
    if len(nodes) < len(graph.node):
        _replace_nodes(graph, nodes)


def _reads(node: onnx.NodeProto) -> set[str]:
    """Return what a node reads, in its subgraphs as well."""
    found = set(node.input)
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            found |= {name for inner in graph.node for name in _reads(inner)} | {o.name for o in graph.output}
    return found


def _choose_branches(graph: onnx.GraphProto) -> bool:
    """
    Put the branch in the place of each If whose condition is a constant; whether there was one.

    PyTorch's exporter writes them for ``squeeze`` of a tensor whose shape it does not know.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type != "If" or node.input[0] not in weights:
            nodes.append(node)
            continue
        name = "then_branch" if numpy_helper.to_array(weights[node.input[0]]).any() else "else_branch"
        branch = next(attribute.g for attribute in node.attribute if attribute.name == name)
        graph.initializer.extend(branch.initializer)
        nodes += branch.node
        for inner, outer in zip(branch.output, node.output, strict=True):
            nodes.append(helper.make_node("Identity", [inner.name], [outer], name=f"{outer}/identity"))
    changed = any(node.op_type == "If" and node.input[0] in weights for node in graph.node)
    if changed:
        _replace_nodes(graph, nodes)
    return changed


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Drop nodes that lead to no output."""
    read, kept = {value.name for value in graph.output}, []
    for node in reversed(graph.node):  # sorted: what a node reads comes before it
        if read & set(node.output):
            kept.append(node)
            read |= _reads(node)
    _replace_nodes(graph, kept[::-1])


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in _reads(node)} | {value.name for value in graph.output}
    kept = [copy_of(tensor) for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    nodes = [copy_of(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)


def _attribute(node: onnx.NodeProto, name: str) -> int | None:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), None)


def copy_of(message):
    """Return a copy of a protobuf message."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def session_of(model: onnx.ModelProto):
    """Return an ONNX Runtime session of a model, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
