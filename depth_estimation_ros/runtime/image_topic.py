"""Where images come from, by the name that image is remapped to and the transport; and what to do if not there."""

from __future__ import annotations

from typing import NamedTuple

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

_SUFFIX = "/compressed"
_RAW, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class ImageTopic(NamedTuple):
    """
    The topic of images.

    Parameters
    ----------
    kind : type
        Image or CompressedImage.
    name : str
        What to subscribe to.
    remedies : dict
        What to do where nothing comes but (topic, type) is published.
    """

    kind: type
    name: str
    remedies: dict[tuple[str, str], str]


def image_topic(node: Node, transport: str) -> ImageTopic:
    """
    Return where images come from.

    Compressed ones come, as with image_transport, behind the name that image is remapped to; the transport's own
    topic may be named as well.

    Parameters
    ----------
    node : rclpy.node.Node
        Whose remappings hold.
    transport : {"raw", "compressed"}
        As the parameter image_transport.
    """
    image = node.resolve_topic_name("image")
    base = image.removesuffix(_SUFFIX)
    packed = f"{base}{_SUFFIX}"
    compress = "set image_transport to compressed"
    if transport == "compressed":
        remedies = {
            (base, _RAW): "set image_transport to raw" + (f", and remap image to {base}" if image != base else ""),
            (base, _COMPRESSED): f"remap image/compressed to {base} instead of image",
        }
        return ImageTopic(CompressedImage, packed, remedies)
    if image != base:
        remedies = {
            (image, _COMPRESSED): f"remap image to {base} and {compress}",
            (base, _RAW): f"remap image to {base}",
        }
    else:
        remedies = {
            (image, _COMPRESSED): f"{compress}, and remap image/compressed to {image} instead of image",
            (packed, _COMPRESSED): compress,
        }
    return ImageTopic(Image, "image", remedies)
