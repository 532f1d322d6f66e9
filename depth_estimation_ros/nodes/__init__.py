"""The ROS nodes: topics, parameters and transitions."""
