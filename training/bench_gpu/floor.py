"""
The shortest time that a network can take on a device (floor), from the work of the network and the peaks of the device.

The peaks are measured on the device (`peaks`), not taken from data sheets. The network must do the multiply-adds of its
convolutions, read its weights and images once and write its outputs once. An engine that keeps nothing on the chip
between layers moves far more data, which its ratio to the floor shows.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

_BYTES = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1}


@dataclass(frozen=True)
class Ceilings:
    """
    Measured peaks of a device.

    Parameters
    ----------
    bandwidth : float
        Memory bandwidth, bytes per second read and written.
    peaks : dict
        Operations per second of ``matmul`` and ``convolution`` by precision. A multiply-add is two operations.
    """

    bandwidth: float
    peaks: dict[str, dict[str, float]]

    def floor(self, work: Work, precision: str, batch: int) -> float | None:
        """Return the shortest time of a batch in milliseconds; None if the peak of the precision is unknown."""
        if precision not in self.peaks:
            return None
        computing = batch * work.operations / max(self.peaks[precision].values())
        moving = (work.parameters * _BYTES[precision] + batch * work.image_bytes) / self.bandwidth
        return 1e3 * max(computing, moving)

    def facts(self) -> dict:
        """Return the figures for the JSON file."""
        return asdict(self)


@dataclass(frozen=True)
class Work:
    """
    Work of a network for one image.

    Parameters
    ----------
    operations : int
        Operations of its convolutions and matrix products. A multiply-add is two operations.
    parameters : int
        Number of weights.
    image_bytes : int
        Bytes of an image and its outputs.
    """

    operations: int
    parameters: int
    image_bytes: int


def work_of(path: Path) -> Work:
    """
    Count the work of an ONNX file of the model contract for one image.

    Parameters
    ----------
    path : pathlib.Path
        A checked ONNX file.
    """
    import onnx

    model = onnx.load(path)
    del model.graph.value_info[:]  # shapes of the exporter, for any batch size
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
    operations = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            # Each value of the output, or of the input of a transposed convolution, is multiplied with a whole filter.
            values = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
            weight = shapes[node.input[1]]
            operations += 2 * math.prod(values) * math.prod(weight[1:])
        elif node.op_type in ("Gemm", "MatMul"):
            # In a product of [.., m, k] and [k, n] or [n, k], each value of the second is used m times.
            rows = math.prod(shapes[node.output[0]]) // shapes[node.output[0]][-1]
            operations += 2 * rows * math.prod(shapes[node.input[1]])
    parameters = sum(math.prod(tensor.dims) for tensor in graph.initializer)
    outputs = sum(4 * math.prod(shapes[output.name]) for output in graph.output)
    return Work(operations, parameters, math.prod(shapes[graph.input[0].name]) + outputs)
