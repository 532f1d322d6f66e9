"""Image topic to subscribe to, from the remapping of ``image`` and the transport, with advice if nothing arrives."""

from __future__ import annotations

from typing import NamedTuple

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

_SUFFIX = "/compressed"
_RAW, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class ImageTopic(NamedTuple):
    """
    Topic of the images.

    Parameters
    ----------
    kind : type
        Message type: Image or CompressedImage.
    name : str
        Name of the topic to subscribe to.
    remedies : dict
        Advice for the case that nothing arrives while another topic is published, by (topic, type) of that topic.
    """

    kind: type
    name: str
    remedies: dict[tuple[str, str], str]


def image_topic(node: Node, transport: str) -> ImageTopic:
    """
    Return the image topic to subscribe to.

    As in image_transport, the compressed topic is the name that ``image`` is remapped to, plus ``/compressed``.
    ``image`` may also be remapped to the compressed topic itself.

    Parameters
    ----------
    node : rclpy.node.Node
        Node whose remappings apply.
    transport : {"raw", "compressed"}
        Value of the parameter ``image_transport``.
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
