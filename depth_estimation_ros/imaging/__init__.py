"""Decoding of encoded images (JPEG, PNG and others), checked before OpenCV allocates memory for them."""

from depth_estimation_ros.imaging.decode import decode, read_file
from depth_estimation_ros.imaging.silence import quiet

__all__ = ["decode", "quiet", "read_file"]
