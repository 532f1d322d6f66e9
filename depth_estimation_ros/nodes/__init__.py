"""ROS nodes: topics, parameters and lifecycle transitions."""
