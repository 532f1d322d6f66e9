"""
The files of a bag: mcap, sqlite3 and ROS 1, whole or damaged.

Each gives the messages of its channels as bytes. What cannot be read costs the chunk or the row that it is in, and
`damage` says so; an index is used where there is one that can be trusted, and is never needed.
"""

from depth_estimation_ros.bags.storage.common import Channel, Storage, in_order
from depth_estimation_ros.bags.storage.compression import ZSTD, unpack
from depth_estimation_ros.bags.storage.files import is_bag, is_bag_file, is_rosbag2, natural, open_storages

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
