"""Conversions between ``sensor_msgs`` and numpy; the only package that accesses the bytes of a message."""

from depth_estimation_ros.conversions.cameras import camera_from_info, camera_to_info, lens_from_info, recorded_info
from depth_estimation_ros.conversions.clouds import (
    cloud_to_message,
    message_to_cloud,
    message_to_points,
    new_cloud,
    points_of,
)
from depth_estimation_ros.conversions.images import (
    compressed_to_rgb,
    depth_to_image,
    image_to_depth,
    image_to_rgb,
    rgb_to_image,
)

__all__ = [
    "camera_from_info",
    "camera_to_info",
    "cloud_to_message",
    "compressed_to_rgb",
    "depth_to_image",
    "image_to_depth",
    "image_to_rgb",
    "lens_from_info",
    "message_to_cloud",
    "message_to_points",
    "new_cloud",
    "points_of",
    "recorded_info",
    "rgb_to_image",
]
