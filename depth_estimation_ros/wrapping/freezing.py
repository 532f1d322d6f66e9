"""Give a network's inputs their sizes, and compute once what does not depend on the image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from depth_estimation_ros.support.sentences import quoted, reason
from depth_estimation_ros.wrapping.errors import WrapError
from depth_estimation_ros.wrapping.foreign import IR_VERSION
from depth_estimation_ros.wrapping.output_side import Output
from depth_estimation_ros.wrapping.shapes import FEW, inferred_shapes

# Weights that are stored smaller than they are used stay so.
_UNPACKING = {"DequantizeLinear", "Cast"}
_ROUNDS = 20


def freeze(
    model: onnx.ModelProto,
    image: str,
    shape: tuple[int, ...],
    values: Mapping[str, object],
    outputs: Iterable[str],
) -> onnx.ModelProto:
    """
    Return a network that takes one image of one size and nothing else, and gives what is asked of it and nothing else.

    Parameters
    ----------
    model : onnx.ModelProto
        The network; not changed.
    image : str
        Name of the input that stays.
    shape : tuple of int
        Of that input.
    values : mapping
        Arrays or numbers for all other inputs, by name.
    outputs : iterable of str
        Names of those that stay.

    Raises
    ------
    WrapError
        If an input has no value, or the value is none for its type and shape.
    """
    model = onnx.inliner.inline_local_functions(model) if model.functions else _copy(model)
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    for value in list(graph.input):
        tensor = value.type.tensor_type
        if value.name == image:
            del tensor.shape.dim[:]
            tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=side) for side in shape)
            continue
        graph.input.remove(value)
        if value.name in stored:
            continue
        if value.name not in values:
            raise WrapError(f"its input {quoted(value.name)} has no value: give one with --freeze NAME=VALUE")
        graph.initializer.append(_value(value, values[value.name]))
    # As declared they speak of free axes, some of them wrongly.
    del graph.value_info[:]
    kept = set(outputs)
    for value in list(graph.output):
        value.type.tensor_type.ClearField("shape")
        if value.name not in kept:
            graph.output.remove(value)
    _drop_unread(graph)
    model.ir_version = IR_VERSION
    _fold(model)
    return model


def outputs_of(model: onnx.ModelProto, names: Iterable[str]) -> dict[str, Output]:
    """
    Return outputs as a network computes them of a grey image.

    Parameters
    ----------
    model : onnx.ModelProto
        From `freeze`.
    names : iterable of str
        Of outputs.

    Raises
    ------
    WrapError
        If ONNX Runtime does not compute it.
    """
    names = list(names)
    value = model.graph.input[0]
    shape = [side.dim_value for side in value.type.tensor_type.shape.dim]
    grey = np.full(shape, 0.5, helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    try:
        arrays = _session(model).run(names, {value.name: grey})
    except Exception as error:  # onnxruntime raises classes of its own that share only Exception
        raise WrapError(
            f"ONNX Runtime cannot run the network at {' x '.join(str(side) for side in shape)}: {reason(error)}"
        ) from None
    return {
        name: Output(name, array.shape, helper.np_dtype_to_tensor_dtype(array.dtype))
        for name, array in zip(names, arrays, strict=True)
    }


def _value(declared: onnx.ValueInfoProto, value: object) -> onnx.TensorProto:
    tensor = declared.type.tensor_type
    sides = [side.dim_value for side in tensor.shape.dim]
    try:
        array = np.asarray(value, helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError("it is not a finite number")
        if array.ndim == 0:
            array = np.broadcast_to(array, [side or 1 for side in sides])
        if array.ndim != len(sides) or any(side not in (0, has) for side, has in zip(sides, array.shape, strict=True)):
            raise ValueError(f"its shape is {[side or '?' for side in sides]}")
    except (TypeError, ValueError, OverflowError) as error:
        what = f"an array {list(value.shape)}" if isinstance(value, np.ndarray) else quoted(value)
        raise WrapError(f"its input {quoted(declared.name)} cannot be {what}: {reason(error)}") from None
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), declared.name)


def _fold(model: onnx.ModelProto) -> None:
    """Replace what does not depend on the image by what it is: shapes, position embeddings, grids."""
    graph = model.graph
    for _ in range(_ROUNDS):
        _constants_to_weights(graph)
        shapes = inferred_shapes(model)
        weights = {tensor.name: tensor for tensor in graph.initializer}
        known, foldable = set(weights), []
        for node in graph.node:
            if node.op_type == "Shape" and node.input[0] in shapes:
                start, end = (_attribute(node, name) for name in ("start", "end"))
                array = np.int64(shapes[node.input[0]][slice(start, end)])
                graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
                known.add(node.output[0])
            elif _is_constant(node, known, weights):
                foldable.append(node)
                known.update(node.output)
        done = {id(node) for node in foldable}
        found = {tensor.name for tensor in graph.initializer}
        left = [n for n in graph.node if id(n) not in done and n.output[0] not in found]
        if len(left) == len(graph.node):
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
        arrays = _session(helper.make_model(part, opset_imports=model.opset_import, ir_version=IR_VERSION)).run(
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
            tensor = _copy(value)
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
    kept = [_copy(tensor) for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    nodes = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)


def _attribute(node: onnx.NodeProto, name: str) -> int | None:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), None)


def _copy(message):
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _session(model: onnx.ModelProto):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
