"""
What can still be read of recordings that nobody closed, or that were cut off: a robot that lost power.

Each class stands in for the storage of rosbags of the same kind and finds by itself what the missing or unreadable
index would have told. Only whole chunks (mcap, ROS 1) and whole rows (sqlite3) are read.
"""

from depth_estimation_ros.sources.damaged.mcap import DamagedMcap
from depth_estimation_ros.sources.damaged.ros1 import DamagedRos1
from depth_estimation_ros.sources.damaged.sqlite import DamagedSqlite

__all__ = ["DamagedMcap", "DamagedRos1", "DamagedSqlite"]
