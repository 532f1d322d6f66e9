"""Relations between the topics of a bag by name and encoding, and topics published by this package's node."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depth_estimation_ros.bags.messages import INFO, frame_of

if TYPE_CHECKING:
    from depth_estimation_ros.bags.reader import BagReader


@dataclass(frozen=True)
class Topics:
    """
    Topics of a recording; an empty one is chosen automatically.

    Parameters
    ----------
    image : str
        Topic of the images: Image or CompressedImage.
    depth : str
        Topic of the ground truth: Image or CompressedImage with depth, PointCloud2 or LaserScan; or the poses of the
        camera: Odometry, PoseStamped, PoseWithCovarianceStamped or TFMessage.
    camera_info : str
        Topic of the camera_info of the image.
    depth_camera_info : str
        Topic of the camera_info of the depth camera, if it has its own.
    """

    image: str = ""
    depth: str = ""
    camera_info: str = ""
    depth_camera_info: str = ""


_BESIDE_DEPTH = re.compile(r"confidence|disparity|infra|(^|[/_])ir([/_]|$)|amplitude|intensity")
# Topics that only this package's node publishes.
_OF_THE_NODE = ("depth/preview", "depth/scale", "depth/latency")


def node_outputs(topics: Iterable[str]) -> set[str]:
    """Return topics published by depth_estimation_node, which are neither camera images nor ground truth."""
    folders = {topic.rpartition("/")[0] for topic in topics if topic.endswith(_OF_THE_NODE)}
    return {topic for topic in topics if topic.rpartition("/")[0] in folders}


def uncompressed(topic: str) -> str:
    """Return the base topic of image_transport."""
    return topic.removesuffix("/compressed").removesuffix("/compressedDepth")


def camera_info_beside(topic: str) -> str:
    """Return the camera_info that belongs to an image topic by convention."""
    return uncompressed(topic).rpartition("/")[0] + "/camera_info"


def without_twins(topics: list[str]) -> list[str]:
    """Remove compressed topics whose base topic is in the list."""
    return [topic for topic in topics if uncompressed(topic) == topic or uncompressed(topic) not in topics]


def only_depth(topics: Iterable[str]) -> list[str]:
    """Remove topics that have the encoding of depth but other content: confidence, disparity, infrared."""
    return [topic for topic in topics if not _BESIDE_DEPTH.search(uncompressed(topic))]


def camera_rank(topic: str, message, infos: Collection[str]) -> tuple[bool, bool]:
    """
    Return a sort key for image topics; the topic most likely to be the camera has the smallest key.

    Parameters
    ----------
    topic : str
        Topic of the images.
    message : Image or CompressedImage
        First message of the topic.
    infos : collection of str
        Topics of camera_info. A camera has one in its namespace; an overlay or a visualisation has none.

    Returns
    -------
    without_info, grey : bool
    """
    name = message.format if hasattr(message, "format") else message.encoding
    return camera_info_beside(topic) not in infos, name.startswith(("mono", "8UC1", "16UC1"))


def depth_camera_info(reader: BagReader, image: str, depth: str, info: str) -> str:
    """
    Return the topic of a depth image's own camera_info, in its namespace or of its frame; empty without one.

    Parameters
    ----------
    reader : BagReader
        The bag.
    image, depth, info : str
        Topics of the image, the depth image, and the camera_info of the image.
    """
    infos = reader.of_kind(INFO)
    if (beside := camera_info_beside(depth)) in infos:
        return "" if beside == info else beside
    frame = _frame(reader, depth)
    if frame == _frame(reader, image):
        return ""
    same_frame = [topic for topic in infos if topic != info and _frame(reader, topic) == frame]
    return same_frame[0] if len(same_frame) == 1 else ""


def camera_infos(reader: BagReader, image: str, depths: Iterable[str]) -> list[str]:
    """
    Return the camera_info topics that may belong to an image, the most likely first.

    A camera_info that belongs to a depth image of another frame is excluded.
    """
    beside, frame, own = camera_info_beside(image), _frame(reader, image), node_outputs(reader.topics)
    of_depths = {camera_info_beside(depth) for depth in depths} - {beside}
    ranks = {}
    for topic in reader.of_kind(INFO):
        same_frame = frame in ("", of_topic := _frame(reader, topic)) or not of_topic
        if topic not in own and (same_frame or topic not in of_depths):
            ranks[topic] = topic != beside, not same_frame, topic in of_depths, -_common_parts(topic, image), topic
    return sorted(ranks, key=ranks.__getitem__)


def _frame(reader: BagReader, topic: str) -> str:
    message = reader.first(topic)
    return "" if message is None else frame_of(message)


def _common_parts(a: str, b: str) -> int:
    """Return how many leading namespaces two topics share."""
    parts = list(zip(a.split("/")[:-1], b.split("/")[:-1], strict=False))
    return next((k for k, (x, y) in enumerate(parts) if x != y), len(parts))
