"""Bag with the outputs of the models for a recording, for RViz and Foxglove."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depth_estimation_ros.conversions import depth_to_image, rgb_to_image
from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.evaluation.result.sample import Sample
from depth_estimation_ros.pipeline.messages import OutputMessages

FULL_COLOUR = 0.5
"""Relative error from which the full colour is used."""

# Colour-blind safe: too near is blue, correct is white, too far is red.
_BLUE, _WHITE, _RED = np.array([[33, 102, 172], [247, 247, 247], [178, 24, 43]], np.float32)


class OutputBag:
    """
    Writer of an mcap bag. It writes frame by frame, so memory use does not grow with the length.

    The topics are those of the node: ``image``, ``camera_info``, ``depth/image`` (32FC1, at the network's size),
    ``depth/camera_info``, ``depth/points``, and in addition ``ground_truth/depth`` (32FC1) and ``depth/error`` (see
    `error_picture`). With several models,
    the ``depth`` topics have the model's name as a prefix. Without camera_info in the recording, the bag has neither
    camera_info nor points.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the bag; it must not exist.
    models : sequence of str
        Names of the models.
    """

    def __init__(self, folder: Path, models: Sequence[str]):
        self._writer = _open_writer(folder)
        self._topics = depth_topics(models)
        self._messages = OutputMessages()
        self._connections: dict[str, Connection] = {}

    def add(self, sample: Sample, estimates: dict[str, DepthMap]) -> None:
        """Write the image of a frame and the estimates, given by model name."""
        stamp = sample.stamp
        header = Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id=sample.frame_id)
        self._write("/image", rgb_to_image(sample.rgb, header), stamp)
        if sample.camera is not None:
            self._write("/camera_info", self._messages.camera_info(sample.camera, header), stamp)
        self._write("/ground_truth/depth", depth_to_image(sample.truth, header), stamp)
        for name, depth_map in estimates.items():
            prefix = self._topics[name]
            height, width = depth_map.depth.shape
            message, _ = self._messages.depth_image(depth_map, width, height, header)
            self._write(f"{prefix}/image", message, stamp)
            if depth_map.camera is not None:
                self._write(f"{prefix}/camera_info", self._messages.camera_info(depth_map.camera, header), stamp)
                self._write(f"{prefix}/points", self._messages.cloud(depth_map, sample.rgb, header), stamp)
            error = error_picture(depth_map, sample.truth)
            self._write(f"{prefix}/error", rgb_to_image(error, header), stamp)

    def close(self) -> None:
        """Complete the bag."""
        self._writer.close()

    def _write(self, topic: str, message: Image | CameraInfo | PointCloud2, stamp: int) -> None:
        if topic not in self._connections:
            kind = f"sensor_msgs/msg/{type(message).__name__}"
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=_TYPES)
        self._writer.write(self._connections[topic], stamp, serialize_message(message))


def depth_topics(models: Sequence[str]) -> dict[str, str]:
    """Return the topic of each model, without its last part."""
    return {name: f"/{_topic_name(name)}/depth" if len(models) > 1 else "/depth" for name in models}


def error_picture(depth_map: DepthMap, truth: np.ndarray) -> np.ndarray:
    """
    Draw the signed relative error, (estimate - truth) / truth.

    Parameters
    ----------
    depth_map : DepthMap
        The estimate, at any size.
    truth : numpy.ndarray
        Ground truth, [H, W] metres, NaN where unknown.

    Returns
    -------
    numpy.ndarray
        uint8 [H, W, 3] RGB: blue where the estimate is too near, white where it is correct, red where it is too far.
        Errors of `FULL_COLOUR` and more have the full colour. Black where ground truth or estimate is missing.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        error = (depth_map.resized(truth.shape[1], truth.shape[0]).depth - truth) / (truth * FULL_COLOUR)
    known = np.isfinite(error)
    table = np.concatenate([np.linspace(_BLUE, _WHITE, 128), np.linspace(_WHITE, _RED, 129)[1:]])
    picture = table.astype(np.uint8)[np.rint(127.5 + 127.5 * np.where(known, error, 0.0).clip(-1, 1)).astype(int)]
    picture[~known] = 0
    return picture


def merge(parts: Sequence[Path], folder: Path, advance: Callable[[], None] = lambda: None) -> None:
    """
    Join consecutive bags into one, message by message.

    Parameters
    ----------
    parts : sequence of pathlib.Path
        Bags of `OutputBag`, in order.
    folder : pathlib.Path
        The joined bag. An existing one is replaced once the new one is complete.
    advance : callable
        Called after each part.
    """
    draft = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The writer names its file after the folder.
    writer = _open_writer(draft / folder.name)
    try:
        connections = {}
        for part in parts:
            with Reader(part) as reader:
                for connection, time, raw in reader.messages():
                    if connection.topic not in connections:
                        connections[connection.topic] = writer.add_connection(
                            connection.topic, connection.msgtype, typestore=_TYPES
                        )
                    writer.write(connections[connection.topic], time, raw)
            advance()
    finally:
        writer.close()
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(draft / folder.name, folder)
    draft.rmdir()


_TYPES = get_typestore(Stores.ROS2_JAZZY)


def _open_writer(folder: Path) -> Writer:
    folder.parent.mkdir(parents=True, exist_ok=True)
    writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    writer.open()
    return writer


def _topic_name(model: str) -> str:
    """Return a model's name as a valid part of a ROS topic: letters, digits and underscores, no leading digit."""
    name = re.sub(r"\W+", "_", model, flags=re.ASCII).strip("_")
    return name if name[:1].isalpha() else f"model_{name}"
