"""Pictures in files and messages (JPEG, PNG and others), checked before OpenCV takes memory and time for them."""

from depth_estimation_ros.pictures.decode import decode, read_file
from depth_estimation_ros.pictures.silence import quiet

__all__ = ["decode", "quiet", "read_file"]
