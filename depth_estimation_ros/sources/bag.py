"""Images, intrinsics and true depth of a bag (ROS 1, rosbag2 sqlite3 or mcap), read without a ROS player."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.sources.frame import Frame

_IMAGE = "sensor_msgs/msg/Image"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_INFO = "sensor_msgs/msg/CameraInfo"
_SAME_MOMENT_NS = 20_000_000  # colour and depth this near in time belong together
_PATIENCE = 30  # images that may wait for a depth image before they go on without


class Bag:
    """
    A recording; depth is given to the image nearest in time, within 20 ms.

    Parameters
    ----------
    path : pathlib.Path
        Bag file or rosbag2 folder.
    image_topic, camera_info_topic, depth_topic : str
        Topics to read; empty takes the first of the fitting type, and ``notes`` say which.

    Raises
    ------
    ValueError
        If it is not a readable bag, or has no image topic, or not the one asked for.
    """

    def __init__(self, path: Path, image_topic: str = "", camera_info_topic: str = "", depth_topic: str = ""):
        self._path, self.notes, self.rate, self.live = path, [], None, False
        with closing(self._open()) as reader:
            kinds = {kind: _topics(reader, kind) for kind in (_IMAGE, _COMPRESSED, _INFO)}
            images = kinds[_IMAGE] + kinds[_COMPRESSED]
            depths = [topic for topic in images if _is_depth(reader, topic)]
            colours = sorted((topic for topic in images if topic not in depths), key=lambda t: "depth" in t)
            # Estimates of an earlier run may have been recorded beside the truth.
            depths.sort(key=lambda topic: ("truth" not in topic, topic in kinds[_COMPRESSED]))
            self.image_topic = self._choose("image", image_topic, colours, images)
            if not self.image_topic:
                raise ValueError(f"bag '{path}' has no image topic; its topics are {_names(reader)}")
            infos = sorted(kinds[_INFO], key=lambda t: -_common_parts(t, self.image_topic))
            self.camera_info_topic = self._choose("camera_info", camera_info_topic, infos, kinds[_INFO])
            self.depth_topic = self._choose("depth", depth_topic, depths, images)
            self._first_camera = self._find_camera(reader)
            count = sum(c.msgcount for c in reader.connections if c.topic == self.image_topic)
        self.description = f"bag {path}: {count} images of {self.image_topic}"

    def _open(self):
        try:
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore
        except ImportError:
            raise ValueError("bags are read with the package rosbags; install it: pip install rosbags") from None
        try:
            reader = AnyReader([self._path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            reader.open()
        except Exception as error:  # whatever a damaged file makes the reader stumble over
            raise ValueError(f"'{self._path}' is not a readable bag: {error}") from None
        return reader

    def _choose(self, what: str, wanted: str, fitting: list[str], allowed: list[str]) -> str:
        if wanted and wanted not in allowed:
            raise ValueError(
                f"bag '{self._path}' has no {what} topic '{wanted}'; there are {', '.join(allowed) or 'none'}"
            )
        if not wanted and len(fitting) > 1:
            self.notes.append(f"took {fitting[0]} as {what}; parameter {what}_topic chooses among {', '.join(fitting)}")
        return wanted or (fitting[0] if fitting else "")

    def _find_camera(self, reader) -> PinholeCamera | None:
        if not self.camera_info_topic:
            return None
        try:
            return _camera(next(_messages(reader, [self.camera_info_topic]))[1])
        except ValueError as error:
            self.notes.append(f"{self.camera_info_topic} is not used: {error}")
            return None

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the images in the order of the recording."""
        camera = self._first_camera
        topics = [self.image_topic] + [t for t in (self.camera_info_topic, self.depth_topic) if t]
        waiting: deque = deque()  # images whose depth may still come: (stamp, message, camera)
        depths: deque = deque(maxlen=8)
        with closing(self._open()) as reader:
            for topic, message in _messages(reader, topics):
                if topic == self.camera_info_topic:
                    camera = _camera(message) if self._first_camera else None
                    continue
                moment = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
                if topic == self.depth_topic:
                    depths.append((moment, message))
                else:
                    waiting.append((moment, message, camera))
                newest = depths[-1][0] if depths else -1
                while waiting and (not self.depth_topic or newest >= waiting[0][0] or len(waiting) > _PATIENCE):
                    yield _frame(*waiting.popleft(), depths)
            while waiting:
                yield _frame(*waiting.popleft(), depths)


def _topics(reader, kind: str) -> list[str]:
    return list(dict.fromkeys(c.topic for c in reader.connections if c.msgtype == kind and c.msgcount))


def _names(reader) -> str:
    return ", ".join(f"{c.topic} ({c.msgtype})" for c in reader.connections) or "none"


def _messages(reader, topics: list[str]) -> Iterator[tuple[str, object]]:
    chosen = [c for c in reader.connections if c.topic in topics]
    for connection, _, raw in reader.messages(connections=chosen):
        yield connection.topic, reader.deserialize(raw, connection.msgtype)


def _is_depth(reader, topic: str) -> bool:
    message = next(_messages(reader, [topic]))[1]
    if hasattr(message, "format"):
        return "compresseddepth" in message.format.lower()
    return message.encoding in ("32FC1", "16UC1") or (message.encoding == "mono16" and "depth" in topic)


def _common_parts(a: str, b: str) -> int:
    """Leading namespaces that two topics share."""
    parts = list(zip(a.split("/")[:-1], b.split("/")[:-1], strict=False))
    return next((k for k, (x, y) in enumerate(parts) if x != y), len(parts))


def _frame(moment: int, message, camera: PinholeCamera | None, depths) -> Frame:
    nearest = min(depths, key=lambda item: abs(item[0] - moment), default=None)
    paired = nearest is not None and abs(nearest[0] - moment) <= _SAME_MOMENT_NS
    return Frame(_rgb(message), moment, camera, _depth(nearest[1]) if paired else None)


def _rgb(message) -> np.ndarray:
    from depth_estimation_ros.conversions import image_to_rgb

    if not hasattr(message, "format"):
        return image_to_rgb(message)
    image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"a compressed image of format '{message.format}' cannot be read")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _depth(message) -> np.ndarray:
    from depth_estimation_ros.conversions import image_to_depth

    if not hasattr(message, "format"):
        return image_to_depth(message)
    # compressed_depth_image_transport: a header of 12 bytes (enum, two float32), then a 16-bit PNG. It holds
    # millimetres, or for 32FC1 a quantised inverse depth: z = a / (value - b), 0 invalid.
    data = bytes(message.data)
    stored = cv2.imdecode(np.frombuffer(data, np.uint8, offset=12), cv2.IMREAD_UNCHANGED) if len(data) > 12 else None
    if stored is None or stored.ndim != 2:
        raise ValueError(f"a compressed depth image of format '{message.format}' cannot be read")
    if message.format.startswith("32FC1"):
        _, a, b = struct.unpack("<iff", data[:12])
        with np.errstate(divide="ignore"):
            depth = np.float32(a) / (stored - np.float32(b))
    else:
        depth = stored * np.float32(0.001)
    return np.where(stored == 0, np.float32(np.nan), depth).astype(np.float32)


def _camera(message) -> PinholeCamera:
    from depth_estimation_ros.conversions import camera_from_info

    if hasattr(message, "K"):  # ROS 1 wrote these in capitals
        fields = {name: getattr(message, name) for name in ("width", "height", "roi", "binning_x", "binning_y")}
        message = SimpleNamespace(k=message.K, d=message.D, p=message.P, **fields)
    return camera_from_info(message)
