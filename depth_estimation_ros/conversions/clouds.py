"""Clouds: ``sensor_msgs/PointCloud2``."""

from __future__ import annotations

import sys

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from depth_estimation_ros.conversions.memory import fill


def cloud_to_message(points: np.ndarray, header: Header | None = None) -> PointCloud2:
    """
    Make the message of an organised coloured cloud, in the layout of PCL, RViz and ``sensor_msgs_py``.

    Parameters
    ----------
    points : numpy.ndarray
        float32 [height, width, 4] as `geometry.point_cloud` makes it: x, y, z in metres (NaN invalid),
        and colour as the bits 0x00RRGGBB.
    header : std_msgs.msg.Header, optional
        Stamp and frame id.

    Raises
    ------
    ValueError
        If the array is not such a cloud.
    """
    if points.dtype != np.float32 or points.ndim != 3 or points.shape[2] != 4 or points.size == 0:
        raise ValueError(f"a cloud is float32 [height, width, 4], got {points.dtype} {list(points.shape)}")
    msg = _empty_cloud(points.shape[1], points.shape[0])
    msg.header = Header() if header is None else header
    fill(msg, points)
    return msg


def new_cloud(width: int, height: int) -> PointCloud2:
    """Make a cloud message with room for width x height points, to be written through `points_of`."""
    msg = _empty_cloud(width, height)
    msg.data.frombytes(bytes(16 * width * height))
    return msg


def points_of(msg: PointCloud2) -> np.ndarray:
    """
    View the points of a message of `new_cloud` or `cloud_to_message`.

    Returns
    -------
    numpy.ndarray
        float32 [height, width, 4], writable: `geometry.point_cloud` can write straight into the message.
    """
    return np.frombuffer(msg.data, np.float32).reshape(msg.height, msg.width, 4)


def message_to_cloud(msg: PointCloud2) -> tuple[np.ndarray, np.ndarray]:
    """
    Read a cloud with ``x``, ``y``, ``z`` and a packed ``rgb`` (or ``rgba``) field.

    Returns
    -------
    xyz : numpy.ndarray
        float32 [height, width, 3], metres.
    rgb : numpy.ndarray
        uint8 [height, width, 3].

    Raises
    ------
    ValueError
        If a field is missing, or sizes and data length do not agree.
    """
    fields = {field.name for field in msg.fields}
    colour = "rgb" if "rgb" in fields else "rgba"
    if not {"x", "y", "z", colour} <= fields:
        raise ValueError(f"a coloured cloud has the fields x, y, z and rgb, got {', '.join(fields) or 'none'}")
    packed = _plane(msg, colour, "u4")
    rgb = np.stack([(packed >> shift).astype(np.uint8) for shift in (16, 8, 0)], axis=-1)
    return message_to_points(msg), rgb


def message_to_points(msg: PointCloud2) -> np.ndarray:
    """
    Read the places of any cloud's points.

    Returns
    -------
    numpy.ndarray
        float32 [height, width, 3], metres.

    Raises
    ------
    ValueError
        If ``x``, ``y`` or ``z`` is missing or no floating-point number, or sizes and data length do not agree.
    """
    kinds = {PointField.FLOAT32: "f4", PointField.FLOAT64: "f8"}
    found = {field.name: kinds.get(field.datatype) for field in msg.fields}
    if not all(found.get(name) for name in "xyz"):
        names = ", ".join(found) or "none"
        raise ValueError(f"a cloud has the fields x, y and z as FLOAT32 or FLOAT64, got the fields {names}")
    return np.stack([_plane(msg, name, found[name]).astype(np.float32) for name in "xyz"], axis=-1)


def _plane(msg: PointCloud2, name: str, kind: str) -> np.ndarray:
    """View one field of a cloud, [height, width]."""
    offset = next(field.offset for field in msg.fields if field.name == name)
    fits = msg.row_step >= msg.width * msg.point_step and len(msg.data) == msg.height * msg.row_step
    if not fits or offset + int(kind[1]) > msg.point_step:
        raise ValueError(
            f"cloud of {msg.width}x{msg.height} points of {msg.point_step} bytes, row_step {msg.row_step}, "
            f"does not fit its {len(msg.data)} bytes of data"
        )
    order = ">" if msg.is_bigendian else "<"
    return np.ndarray((msg.height, msg.width), order + kind, msg.data, offset, (msg.row_step, msg.point_step))


def _empty_cloud(width: int, height: int) -> PointCloud2:
    msg = PointCloud2(height=height, width=width, point_step=16, row_step=16 * width, is_dense=False)
    msg.is_bigendian = sys.byteorder == "big"
    msg.fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(("x", "y", "z", "rgb"))
    ]
    return msg
