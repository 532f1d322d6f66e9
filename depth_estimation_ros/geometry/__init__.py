"""Geometry of depth images: pure functions on numpy arrays."""

from depth_estimation_ros.geometry.point_cloud import point_cloud

__all__ = ["point_cloud"]
