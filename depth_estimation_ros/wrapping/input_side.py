"""Nodes between the contract's image and a network's input."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from depth_estimation_ros.wrapping.nodes import Nodes
from depth_estimation_ros.wrapping.preset import NORMALISATIONS, Preset
from depth_estimation_ros.wrapping.sizes import Frame


def input_side(nodes: Nodes, image: str, preset: Preset, frame: Frame, rank: int, dtype: int) -> str:
    """
    Append what turns uint8 [1, height, width, 3], RGB, into the network's input.

    The image is not resized in the graph: the estimator does that, averaging where it shrinks, which the Resize of
    many engines cannot.

    Parameters
    ----------
    nodes : Nodes
        Appended to.
    image : str
        Name of the image.
    preset : Preset
        Order of the channels, layout, normalisation, colour of the border.
    frame : Frame
        The size of the image and of the network's input.
    rank : int
        Of the network's input: 4, or 5 with one view.
    dtype : int
        Type of the network's input, of `onnx.TensorProto`.

    Returns
    -------
    str
        Name of the network's input as computed.
    """
    mean, deviation = (np.array(values, np.float64) for values in NORMALISATIONS[preset.normalisation])
    value = nodes.cast(image, TensorProto.FLOAT)
    top, left = frame.top, frame.left
    bottom, right = frame.network_height - frame.height - top, frame.network_width - frame.width - left
    if top or left or bottom or right:
        # The border is of a colour, and nodes pad with one number.
        colour = np.array(preset.pad_colour, np.float64)
        value = nodes.add("Sub", value, nodes.constant(colour))
        value = nodes.pad(value, (0, top, left, 0), (0, bottom, right, 0))
        mean = mean - colour
    if preset.channels == "bgr":
        value = nodes.add("Gather", value, nodes.constant([2, 1, 0], np.int64), axis=3)
        mean, deviation = mean[::-1], deviation[::-1]
    if mean.any():
        value = nodes.add("Sub", value, nodes.constant(mean))
    if (deviation != 1.0).any():
        value = nodes.add("Div", value, nodes.constant(deviation))
    if preset.layout == "nchw":
        value = nodes.add("Transpose", value, perm=[0, 3, 1, 2])
    if rank == 5:
        height, width = frame.network_height, frame.network_width
        shape = (3, height, width) if preset.layout == "nchw" else (height, width, 3)
        value = nodes.reshape(value, (1, 1, *shape))
    return value if dtype == TensorProto.FLOAT else nodes.cast(value, dtype)
