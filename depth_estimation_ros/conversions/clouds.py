"""Conversions between ``sensor_msgs/PointCloud2`` and numpy."""

from __future__ import annotations

import sys

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from depth_estimation_ros.conversions.memory import fill
from depth_estimation_ros.support.sentences import choices, quoted

_METRES = {PointField.FLOAT32: "f4", PointField.FLOAT64: "f8"}
_PACKED = {PointField.FLOAT32: "u4", PointField.UINT32: "u4", PointField.INT32: "u4"}
_TYPES = {getattr(PointField, name): name for name in ("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32")}
_TYPES |= {PointField.FLOAT32: "FLOAT32", PointField.FLOAT64: "FLOAT64"}


def cloud_to_message(points: np.ndarray, header: Header | None = None) -> PointCloud2:
    """
    Convert an organised coloured cloud to a message, in the layout of PCL, RViz and ``sensor_msgs_py``.

    Parameters
    ----------
    points : numpy.ndarray
        float32 [height, width, 4], as from `geometry.point_cloud`: x, y, z in metres (NaN invalid), and colour as the
        bits 0x00RRGGBB.
    header : std_msgs.msg.Header, optional
        Stamp and frame id.

    Raises
    ------
    ValueError
        If the array has another dtype or shape.
    """
    if points.dtype != np.float32 or points.ndim != 3 or points.shape[2] != 4 or points.size == 0:
        raise ValueError(f"a cloud is float32 [height, width, 4], got {points.dtype} {list(points.shape)}")
    msg = _empty_cloud(points.shape[1], points.shape[0])
    msg.header = Header() if header is None else header
    fill(msg, points)
    return msg


def new_cloud(width: int, height: int) -> PointCloud2:
    """Return a cloud message with space for width x height points, to be filled through `points_of`."""
    msg = _empty_cloud(width, height)
    msg.data.frombytes(bytes(16 * width * height))
    return msg


def points_of(msg: PointCloud2) -> np.ndarray:
    """
    Return a view of the points of a message from `new_cloud` or `cloud_to_message`.

    Returns
    -------
    numpy.ndarray
        float32 [height, width, 4], writable: `geometry.point_cloud` can write directly into the message.
    """
    return np.frombuffer(msg.data, np.float32).reshape(msg.height, msg.width, 4)


def message_to_cloud(msg: PointCloud2) -> tuple[np.ndarray, np.ndarray]:
    """
    Return points and colours of a cloud message with the fields ``x``, ``y``, ``z`` and packed ``rgb`` (or ``rgba``).

    Returns
    -------
    xyz : numpy.ndarray
        float32 [height, width, 3], metres.
    rgb : numpy.ndarray
        uint8 [height, width, 3].

    Raises
    ------
    ValueError
        If a field is missing, or the sizes do not match the data length.
    """
    names = {field.name for field in msg.fields}
    if not {"x", "y", "z"} <= names or not {"rgb", "rgba"} & names:
        raise ValueError(f"a coloured cloud has the fields x, y, z and rgb, got {_listing(msg)}")
    colour = "rgb" if "rgb" in names else "rgba"
    packed = _plane(msg, colour, _PACKED).astype("<u4")  # 0x00RRGGBB: the bytes are blue, green, red
    return message_to_points(msg), packed.view(np.uint8).reshape(*packed.shape, 4)[..., 2::-1]


def message_to_points(msg: PointCloud2) -> np.ndarray:
    """
    Return the points of a cloud message, which may have any further fields.

    Returns
    -------
    numpy.ndarray
        float32 [height, width, 3], metres; empty if the cloud has no points.

    Raises
    ------
    ValueError
        If ``x``, ``y`` or ``z`` is missing, occurs twice or is not floating-point, or the sizes do not match the data
        length.
    """
    planes = [_plane(msg, name, _METRES) for name in "xyz"]
    points = np.empty((*planes[0].shape, 3), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # doubles too large for float32 become infinite
        for axis, plane in enumerate(planes):
            points[..., axis] = plane
    return points


def _listing(msg: PointCloud2) -> str:
    """Return the fields with their types, for a message to the user."""
    return choices(f"{quoted(f.name)} ({_TYPES.get(f.datatype, 'no type')})" for f in msg.fields)


def _plane(msg: PointCloud2, name: str, kinds: dict[int, str]) -> np.ndarray:
    """Return a view of one field of a cloud, [height, width]."""
    fields = [field for field in msg.fields if field.name == name]
    if len(fields) != 1 or fields[0].datatype not in kinds or fields[0].count > 1:
        wanted = " or ".join(_TYPES[kind] for kind in kinds)
        raise ValueError(f"a cloud must have exactly one field {name}, as {wanted}; got the fields {_listing(msg)}")
    if not (msg.height and msg.width) and not len(msg.data):  # a filter that removed all points publishes this
        return np.empty((msg.height, msg.width), kinds[fields[0].datatype])
    kind, offset = kinds[fields[0].datatype], fields[0].offset
    row = msg.width * msg.point_step
    # Publishers of a single row often leave row_step at 0.
    step = row if msg.height == 1 or msg.row_step == 0 else msg.row_step
    size = len(msg.data)
    fits = step >= row and size in (msg.height * step, (msg.height - 1) * step + row)
    if not fits or offset + int(kind[1]) > msg.point_step:
        raise ValueError(
            f"cloud of {msg.width}x{msg.height} points of {msg.point_step} bytes, row_step {msg.row_step}, {name} at "
            f"{offset}, does not fit its {size} bytes of data"
        )
    order = ">" if msg.is_bigendian else "<"
    return np.ndarray((msg.height, msg.width), order + kind, msg.data, offset, (step, msg.point_step))


def _empty_cloud(width: int, height: int) -> PointCloud2:
    msg = PointCloud2(height=height, width=width, point_step=16, row_step=16 * width, is_dense=False)
    msg.is_bigendian = sys.byteorder == "big"
    msg.fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(("x", "y", "z", "rgb"))
    ]
    return msg
