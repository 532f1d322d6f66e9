"""Nodes between a network's outputs and the contract's depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from depth_estimation_ros.wrapping.errors import WrapError
from depth_estimation_ros.wrapping.nodes import Nodes
from depth_estimation_ros.wrapping.preset import Mask, Preset
from depth_estimation_ros.wrapping.sizes import Frame

PREFIX = "network/"
"""Begins the names of a network's own tensors in a model, where they may not be called as the contract's are."""

# Inverse depths beyond these are none; as in Depth Pro's own code.
_INVERSE_RANGE = (1e-4, 1e4)


@dataclass(frozen=True)
class Output:
    """
    An output of a network, for one image.

    Parameters
    ----------
    name : str
        Of the tensor in the network.
    shape : tuple of int
        As computed.
    dtype : int
        Of `onnx.TensorProto`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: int = TensorProto.FLOAT

    @property
    def tensor(self) -> str:
        """Its name in the model."""
        return PREFIX + self.name


def as_map(nodes: Nodes, output: Output) -> tuple[str, int, int]:
    """Append what makes float32 [1, 1, h, w] of an output of any rank and layout; returns its name, h and w."""
    size = [side for side in output.shape if side != 1]
    if len(size) != 2:
        raise WrapError(
            f"the output {output.name} has the shape {list(output.shape)}, which is no image of one channel"
        )
    height, width = size
    return nodes.reshape(_single(nodes, output), (1, 1, height, width)), height, width


def as_number(nodes: Nodes, output: Output) -> str:
    """Append what makes float32 [1, 1, 1, 1] of an output that is one number."""
    if np.prod(output.shape, dtype=int) != 1:
        raise WrapError(f"the output {output.name} has the shape {list(output.shape)}, where one number was expected")
    return nodes.reshape(_single(nodes, output), (1, 1, 1, 1))


def coordinates(nodes: Nodes, output: Output) -> tuple[list[str], int, int]:
    """Append what splits points into maps [1, 1, h, w] of X, Y and Z; returns their names, h and w."""
    shape = output.shape
    axis = next((a for a in (len(shape) - 1, len(shape) - 3) if a >= 0 and shape[a] == 3), None)
    if axis is None:
        raise WrapError(f"the output {output.name} has the shape {list(shape)}, which is no image of points")
    height, width = (side for i, side in enumerate(shape[-3:], len(shape) - 3) if i != axis)
    points = _single(nodes, output)
    parts = [nodes.slice(points, [i], [i + 1], [axis]) for i in range(3)]
    return [nodes.reshape(part, (1, 1, height, width)) for part in parts], height, width


def focal_length(nodes: Nodes, output: Output, horizontal_only: bool) -> str:
    """Append what makes one number, [1, 1, 1, 1], of an output with a focal length, or a camera matrix [1, 3, 3]."""
    if np.prod(output.shape, dtype=int) == 1:
        return as_number(nodes, output)
    if tuple(output.shape[-2:]) != (3, 3):
        raise WrapError(f"the output {output.name} has the shape {list(output.shape)}, which is no camera matrix")
    matrix = nodes.reshape(_single(nodes, output), (1, 1, 3, 3))
    fx, fy = (nodes.slice(matrix, [i, i], [i + 1, i + 1], [2, 3]) for i in range(2))
    return fx if horizontal_only else nodes.add("Sqrt", nodes.add("Mul", fx, fy))


def inverted(nodes: Nodes, inverse: str) -> str:
    """Append the inverse of a map, which is kept within what can be one."""
    low, high = (nodes.constant(limit) for limit in _INVERSE_RANGE)
    return nodes.add("Reciprocal", nodes.add("Min", nodes.add("Max", inverse, low), high))


def valid(nodes: Nodes, mask: Mask, output: Output) -> tuple[str, int, int]:
    """Append what makes a map of booleans, true where there is depth, of a mask; returns its name, h and w."""
    values, height, width = as_map(nodes, output)
    compare = "Less" if mask.valid == "below" else "Greater"
    return nodes.add(compare, values, nodes.constant(mask.threshold)), height, width


def shifted(
    nodes: Nodes, points: list[str], shown: str | None, size: tuple[int, int], focal: tuple[float, float]
) -> str:
    """
    Append what shifts points along the optical axis to where a pinhole camera sees them in their pixels.

    With the viewing rays (u, v) of the pixels at unit depth, the shift t minimises the sum over pixels of
    ``(x - u (z + t))^2 + (y - v (z + t))^2``: ``t = sum(u (x - u z) + v (y - v z)) / sum(u^2 + v^2)``.

    Parameters
    ----------
    nodes : Nodes
        Appended to.
    points : list of str
        Names of maps of X, Y and Z.
    shown : str, optional
        Name of a map of booleans: pixels that count.
    size : tuple of int
        (h, w) of the maps.
    focal : tuple of float
        Focal lengths (x, y) in pixels of the maps; the principal point is their centre.

    Returns
    -------
    str
        Name of the map of Z + t.
    """
    height, width = size
    x, y, z = points
    u = nodes.constant(((np.arange(width) - 0.5 * (width - 1)) / focal[0]).reshape(1, 1, 1, width))
    v = nodes.constant(((np.arange(height) - 0.5 * (height - 1)) / focal[1]).reshape(1, 1, height, 1))
    parts = []
    for ray, side in ((u, x), (v, y)):
        parts.append(nodes.add("Mul", ray, nodes.add("Sub", side, nodes.add("Mul", ray, z))))
    residual = nodes.add("Add", *parts)
    weight = nodes.add("Add", nodes.add("Mul", u, u), nodes.add("Mul", v, v))
    if shown is not None:
        count = nodes.cast(shown, TensorProto.FLOAT)
        # Where nothing is shown, points may be anything.
        residual = nodes.add("Where", shown, residual, nodes.constant(0.0))
        weight = nodes.add("Mul", weight, count)
    total, weights = nodes.sum(residual, (2, 3)), nodes.sum(weight, (2, 3))
    shift = nodes.add("Div", total, nodes.add("Max", weights, nodes.constant(1e-12)))
    return nodes.add("Add", z, shift)


def cropped(nodes: Nodes, depth: str, size: tuple[int, int], frame: Frame) -> tuple[str, int, int]:
    """Append what cuts the border off a map of size (h, w), which covers the whole input; returns name, h and w."""
    height, width = size
    rows = [round(row * height / frame.network_height) for row in (frame.top, frame.top + frame.height)]
    columns = [round(column * width / frame.network_width) for column in (frame.left, frame.left + frame.width)]
    if rows == [0, height] and columns == [0, width]:
        return depth, height, width
    cut = nodes.slice(depth, [rows[0], columns[0]], [rows[1], columns[1]], [2, 3])
    return cut, rows[1] - rows[0], columns[1] - columns[0]


def output_side(
    nodes: Nodes,
    preset: Preset,
    frame: Frame,
    focal: tuple[float, float],
    outputs: dict[str, Output],
    baked: bool,
    name: str,
) -> tuple[int, int]:
    """
    Append what makes the contract's depth of a network's outputs.

    Parameters
    ----------
    nodes : Nodes
        Appended to.
    preset : Preset
        What the outputs are.
    frame : Frame
        The image in the network's input.
    focal : tuple of float
        Focal lengths (x, y) in pixels of the image in the network's input.
    outputs : dict
        By role: ``depth``, and where there are such ``mask``, ``scale`` and ``own_focal``.
    baked : bool
        Whether the network knows the camera already.
    name : str
        What the result is called.

    Returns
    -------
    tuple of int
        (h, w) of the result.
    """
    shown = shown_size = None
    if "mask" in outputs and preset.mask is not None:
        shown, *shown_size = valid(nodes, preset.mask, outputs["mask"])
    if preset.kind == "points":
        points, height, width = coordinates(nodes, outputs["depth"])
        depth = points[2]
        if preset.solve_shift:
            scaled = (focal[0] * width / frame.network_width, focal[1] * height / frame.network_height)
            depth = shifted(nodes, points, shown, (height, width), scaled)
    else:
        depth, height, width = as_map(nodes, outputs["depth"])
    if shown is not None and shown_size != [height, width]:
        raise WrapError(f"the output {outputs['mask'].name} is not of the size of {outputs['depth'].name}")
    if preset.kind == "canonical_inverse":
        depth = inverted(nodes, depth)
    if "scale" in outputs:
        depth = nodes.add("Mul", depth, as_number(nodes, outputs["scale"]))
    if "own_focal" in outputs and not baked:
        only = preset.focal is not None and preset.focal.horizontal_only
        own = focal_length(nodes, outputs["own_focal"], only)
        pixels = focal[0] if only else np.sqrt(focal[0] * focal[1])
        depth = nodes.add("Mul", depth, nodes.add("Div", nodes.constant(pixels), own))
    if preset.clip:
        depth = nodes.add("Min", depth, nodes.constant(preset.clip))
    if shown is not None:
        depth = nodes.add("Where", shown, depth, nodes.constant(np.nan))
    _, height, width = cropped(nodes, depth, (height, width), frame)
    nodes.nodes[-1].output[0] = name  # the last is what gives it, whatever it was
    return height, width


def _single(nodes: Nodes, output: Output) -> str:
    return output.tensor if output.dtype == TensorProto.FLOAT else nodes.cast(output.tensor, TensorProto.FLOAT)
