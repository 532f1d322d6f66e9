"""Nodes of an ONNX graph, in the form that the operator set of the graph has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper


class Nodes:
    """
    A chain of nodes under construction.

    Parameters
    ----------
    opset : int
        Operator set of the graph that they go into, 9 at least.
    prefix : str
        Begins the names of what they compute.

    Attributes
    ----------
    nodes : list of onnx.NodeProto
        In order.
    weights : list of onnx.TensorProto
        Constants that they read.
    """

    def __init__(self, opset: int, prefix: str):
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._opset, self._prefix = opset, prefix

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: object) -> str:
        """Append a node; returns the name of its output."""
        output = output or f"{self._prefix}/{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, values: object, dtype: type = np.float32) -> str:
        """Add a constant; returns its name."""
        name = f"{self._prefix}/constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def cast(self, value: str, to: int) -> str:
        """Append a cast to a type of `onnx.TensorProto`."""
        return self.add("Cast", value, to=to)

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """Append a reshape."""
        return self.add("Reshape", value, self.constant(shape, np.int64))

    def pad(self, value: str, before: Sequence[int], after: Sequence[int]) -> str:
        """Append zeros before and after each axis; nothing where there are none to append."""
        pads = [*before, *after]
        if not any(pads):
            return value
        if self._opset < 11:
            return self.add("Pad", value, pads=pads)
        return self.add("Pad", value, self.constant(pads, np.int64))

    def slice(self, value: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int]) -> str:
        """Append a slice."""
        if self._opset < 10:
            return self.add("Slice", value, starts=starts, ends=ends, axes=axes)
        return self.add("Slice", value, *(self.constant(part, np.int64) for part in (starts, ends, axes)))

    def sum(self, value: str, axes: Sequence[int]) -> str:
        """Append a sum over axes, which stay with a length of 1."""
        if self._opset < 13:
            return self.add("ReduceSum", value, axes=axes, keepdims=1)
        return self.add("ReduceSum", value, self.constant(axes, np.int64), keepdims=1)
