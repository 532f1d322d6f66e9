"""Procedural rooms rendered with exact depth: the camera of the demo, and scenes to train and test on."""

from depth_estimation_ros.synthetic.room import Room

__all__ = ["Room"]
