"""Give a network's inputs their sizes and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from depth_estimation_ros.support.sentences import quoted, reason
from depth_estimation_ros.wrapping.errors import WrapError
from depth_estimation_ros.wrapping.folding import copy_of, fold, session_of
from depth_estimation_ros.wrapping.foreign import IR_VERSION
from depth_estimation_ros.wrapping.output_side import Output


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
    model = onnx.inliner.inline_local_functions(model) if model.functions else copy_of(model)
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
    model.ir_version = IR_VERSION
    fold(model)
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
        arrays = session_of(model).run(names, {value.name: grey})
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
