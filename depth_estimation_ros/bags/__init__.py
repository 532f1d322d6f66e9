"""Bags of ROS 1 and ROS 2: storages, messages, topics, transforms."""
