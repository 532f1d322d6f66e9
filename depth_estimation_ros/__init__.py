"""Metric depth from a single colour camera."""

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.estimator import DepthEstimator, DepthMap

__all__ = ["DepthEstimator", "DepthMap", "PinholeCamera"]
