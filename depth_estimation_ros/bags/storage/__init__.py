"""
Files of a bag: mcap, sqlite3 and ROS 1, intact or damaged.

Each storage returns the messages of its channels as bytes. If data is damaged, only its chunk or row is skipped, and
`damage` reports it. An index is used if it exists and is valid, but is not required.
"""

from depth_estimation_ros.bags.storage.bag_files import is_bag, is_bag_file, is_rosbag2, natural, open_storages
from depth_estimation_ros.bags.storage.common import Channel, Storage, in_order
from depth_estimation_ros.bags.storage.compression import ZSTD, unpack

__all__ = [
    "ZSTD",
    "Channel",
    "Storage",
    "in_order",
    "is_bag",
    "is_bag_file",
    "is_rosbag2",
    "natural",
    "open_storages",
    "unpack",
]
