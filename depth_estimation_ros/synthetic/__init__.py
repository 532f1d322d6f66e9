"""Procedural rooms rendered with exact depth, for the demo camera, training and tests."""

from depth_estimation_ros.synthetic.room import Room

__all__ = ["Room"]
