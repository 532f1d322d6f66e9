"""What the names and encodings of a bag's topics say: which belong together, and which this package's node made."""

from __future__ import annotations

from collections.abc import Collection, Iterable

# Topics that nobody else publishes.
_OF_THE_NODE = ("depth/preview", "depth/scale", "depth/latency")


def node_outputs(topics: Iterable[str]) -> set[str]:
    """Return the topics that depth_estimation_node published: its preview is no camera, its estimate no truth."""
    folders = {topic.rpartition("/")[0] for topic in topics if topic.endswith(_OF_THE_NODE)}
    return {topic for topic in topics if topic.rpartition("/")[0] in folders}


def uncompressed(topic: str) -> str:
    """Return the topic that image_transport was given."""
    return topic.removesuffix("/compressed").removesuffix("/compressedDepth")


def camera_info_beside(topic: str) -> str:
    """Return the camera_info that belongs to an image topic by convention."""
    return uncompressed(topic).rpartition("/")[0] + "/camera_info"


def without_twins(topics: list[str]) -> list[str]:
    """Leave out compressed topics whose images are there uncompressed."""
    return [topic for topic in topics if uncompressed(topic) == topic or uncompressed(topic) not in topics]


def camera_rank(topic: str, message, infos: Collection[str]) -> tuple[bool, bool]:
    """
    Return how likely an image topic is the camera's; the smallest is the likeliest.

    Parameters
    ----------
    topic : str
        Of the images.
    message : Image or CompressedImage
        Its first.
    infos : collection of str
        Topics of camera_info: a camera has one beside it, an overlay or a view has none.

    Returns
    -------
    without_info, grey : bool
    """
    name = message.format if hasattr(message, "format") else message.encoding
    return camera_info_beside(topic) not in infos, name.startswith(("mono", "8UC1", "16UC1"))
