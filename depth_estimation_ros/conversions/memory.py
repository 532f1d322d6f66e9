"""Fast copies into the data of messages."""

from __future__ import annotations

import array

import numpy as np
from sensor_msgs.msg import Image, PointCloud2


def fill(msg: Image | PointCloud2, pixels: np.ndarray) -> None:
    """Copy an array into a message in one memcpy; assigning to ``msg.data`` would copy element by element."""
    stored = np.ascontiguousarray(pixels).data.cast("B")
    if len(msg.data) == len(stored):
        memoryview(msg.data)[:] = stored
    else:
        msg.data = array.array("B")
        msg.data.frombytes(stored)
