"""What the messages of a bag mean, as rosbags gives them: images, depth, intrinsics, stamps and points as arrays."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from depth_estimation_ros.bags.compressed_depth import compressed_depth_of, is_compressed_depth
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.rectify import Lens

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
INFO = "sensor_msgs/msg/CameraInfo"
CLOUD = "sensor_msgs/msg/PointCloud2"
SCAN = "sensor_msgs/msg/LaserScan"
ODOMETRY = "nav_msgs/msg/Odometry"
POSES = (ODOMETRY, "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PoseWithCovarianceStamped")
TRANSFORMS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")

_SATURATED = np.float32(65.535)  # metres: the largest number of a 16-bit image is no measurement


def stamp_of(message) -> int:
    """Return the stamp of the header, or of the first transform, in nanoseconds; 0 where nobody filled it."""
    if hasattr(message, "transforms"):
        return stamp_of(message.transforms[0]) if message.transforms else 0
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def frame_of(message) -> str:
    """Return the frame of the header; ROS 1 wrote some with a slash in front."""
    return message.header.frame_id.lstrip("/")


def is_depth(message, topic: str) -> bool:
    """Whether an image, or compressed image, of this topic is depth."""
    if hasattr(message, "format"):
        return is_compressed_depth(message, topic)
    return message.encoding in ("32FC1", "16UC1") or (message.encoding == "mono16" and "depth" in topic)


def is_blank(message) -> bool:
    """Whether a message says nothing: an image, or cloud, without data, or a camera_info that nobody calibrated."""
    if hasattr(message, "distortion_model"):
        focal = [m[0] for m in ((message.k, message.p) if hasattr(message, "k") else (message.K, message.P))]
        return not any(0 < f < math.inf for f in focal)
    return hasattr(message, "data") and not len(message.data)


def rgb_of(message) -> np.ndarray:
    """Decode an image or compressed image, as `image_to_rgb` and `compressed_to_rgb` of the conversions do."""
    from depth_estimation_ros.conversions import compressed_to_rgb, image_to_rgb

    return compressed_to_rgb(message) if hasattr(message, "format") else image_to_rgb(message)


def depth_of(message) -> np.ndarray:
    """
    Decode a depth image, or one that image_transport compressed.

    Returns
    -------
    numpy.ndarray
        float32 [height, width], metres, NaN invalid; in 16 bits, both 0 and 65535 are.

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
    """Whether a camera_info of either ROS has distortion."""
    return bool(np.any(message.d if hasattr(message, "d") else message.D))


def camera_of(message, rectified: bool = False) -> PinholeCamera:
    """
    Return the intrinsics of a camera_info of either ROS, as `camera_from_info` of the conversions does.

    Raises
    ------
    ValueError
        If the camera is not calibrated.
    """
    from depth_estimation_ros.conversions import camera_from_info

    return camera_from_info(_in_lower_case(message), rectified)


def lens_of(message) -> Lens | None:
    """
    Return the lens of a camera_info of either ROS; None if it does not distort.

    Raises
    ------
    ValueError
        If the camera is not calibrated, or its distortion is of an unknown model.
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
        float32 [N, 3], metres in the cloud's frame; those that are not finite are left out.

    Raises
    ------
    ValueError
        If it has no floating-point x, y and z, or sizes and data length do not agree.
    """
    from depth_estimation_ros.conversions import message_to_points

    points = message_to_points(message).reshape(-1, 3)
    return points[np.isfinite(points[:, 0]) & np.isfinite(points[:, 1]) & np.isfinite(points[:, 2])]


def _in_lower_case(message):
    """Return a camera_info with the names of ROS 2; ROS 1 wrote the matrices in capitals."""
    if not hasattr(message, "K"):
        return message
    names = ("width", "height", "roi", "binning_x", "binning_y", "distortion_model")
    fields = {name: getattr(message, name) for name in names}
    return SimpleNamespace(k=message.K, d=message.D, r=message.R, p=message.P, **fields)
