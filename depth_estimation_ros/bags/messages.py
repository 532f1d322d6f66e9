"""Conversion of messages decoded by rosbags: images, depth, intrinsics, stamps and points."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from depth_estimation_ros.bags.compressed_depth import compressed_depth_of, is_compressed_depth
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.lens import Lens

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
INFO = "sensor_msgs/msg/CameraInfo"
CLOUD = "sensor_msgs/msg/PointCloud2"
SCAN = "sensor_msgs/msg/LaserScan"
ODOMETRY = "nav_msgs/msg/Odometry"
POSES = (ODOMETRY, "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PoseWithCovarianceStamped")
TRANSFORMS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")

_SATURATED = np.float32(65.535)  # metres: the largest value of a 16-bit image is not a measurement


def stamp_of(message) -> int:
    """Return the stamp of the header, or of the first transform, in nanoseconds; 0 if it was not set."""
    if hasattr(message, "transforms"):
        return stamp_of(message.transforms[0]) if message.transforms else 0
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def frame_of(message) -> str:
    """Return the frame_id of the header without the leading slash that ROS 1 may have."""
    return message.header.frame_id.lstrip("/")


def is_depth(message, topic: str) -> bool:
    """Whether an Image or CompressedImage of this topic is depth."""
    if hasattr(message, "format"):
        return is_compressed_depth(message, topic)
    return message.encoding in ("32FC1", "16UC1") or (message.encoding == "mono16" and "depth" in topic)


def is_blank(message) -> bool:
    """Whether a message is empty: an image or cloud without data, or a camera_info without calibration."""
    if hasattr(message, "distortion_model"):
        focal = [m[0] for m in ((message.k, message.p) if hasattr(message, "k") else (message.K, message.P))]
        return not any(0 < f < math.inf for f in focal)
    return hasattr(message, "data") and not len(message.data)


def rgb_of(message) -> np.ndarray:
    """Decode an Image or CompressedImage with `conversions.image_to_rgb` or `conversions.compressed_to_rgb`."""
    from depth_estimation_ros.conversions import compressed_to_rgb, image_to_rgb

    return compressed_to_rgb(message) if hasattr(message, "format") else image_to_rgb(message)


def depth_of(message) -> np.ndarray:
    """
    Decode a depth image, raw or compressed by image_transport.

    Returns
    -------
    numpy.ndarray
        float32 [height, width], metres, NaN invalid; 0 and 65535 of 16-bit depth are invalid.

    Raises
    ------
    ValueError
        If it cannot be decoded.
    """
    from depth_estimation_ros.conversions import image_to_depth

    if hasattr(message, "format"):
        return compressed_depth_of(message)
    depth = image_to_depth(message)
    return depth if message.encoding == "32FC1" else np.where(depth >= _SATURATED, np.float32(np.nan), depth)


def distorts(message) -> bool:
    """Whether a camera_info of ROS 1 or ROS 2 has distortion."""
    return bool(np.any(message.d if hasattr(message, "d") else message.D))


def camera_of(message, rectified: bool = False) -> PinholeCamera:
    """
    Return the intrinsics of a camera_info of ROS 1 or ROS 2, as `conversions.camera_from_info` does.

    Raises
    ------
    ValueError
        If the camera is not calibrated.
    """
    from depth_estimation_ros.conversions import camera_from_info

    return camera_from_info(_in_lower_case(message), rectified)


def lens_of(message) -> Lens | None:
    """
    Return the lens of a camera_info of ROS 1 or ROS 2; None without distortion.

    Raises
    ------
    ValueError
        If the camera is not calibrated, or its distortion model is unknown.
    """
    from depth_estimation_ros.conversions import lens_from_info

    info = _in_lower_case(message)
    return lens_from_info(info) if any(info.d) else None


def points_of(message) -> np.ndarray:
    """
    Read the points of a PointCloud2.

    Returns
    -------
    numpy.ndarray
        float32 [N, 3], metres in the cloud's frame, without points that are not finite.

    Raises
    ------
    ValueError
        If it has no floating-point x, y and z, or its sizes do not match the data length.
    """
    from depth_estimation_ros.conversions import message_to_points

    points = message_to_points(message).reshape(-1, 3)
    return points[np.isfinite(points[:, 0]) & np.isfinite(points[:, 1]) & np.isfinite(points[:, 2])]


def _in_lower_case(message):
    """Return a camera_info with the field names of ROS 2; ROS 1 has capital letters for the matrices."""
    if not hasattr(message, "K"):
        return message
    names = ("width", "height", "roi", "binning_x", "binning_y", "distortion_model")
    fields = {name: getattr(message, name) for name in names}
    return SimpleNamespace(k=message.K, d=message.D, r=message.R, p=message.P, **fields)
