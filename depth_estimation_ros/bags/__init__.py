"""Reading of ROS 1 and ROS 2 bags: storages, messages, topics and transforms."""
