"""Executor of a node that survives unreadable messages."""

from __future__ import annotations

from rclpy.executors import SingleThreadedExecutor
from rclpy.subscription import Subscription

from depth_estimation_ros.runtime.input_watch import REPEAT_SECONDS
from depth_estimation_ros.support.sentences import reason


class Executor(SingleThreadedExecutor):
    """
    Single-threaded executor that skips messages which rclpy cannot convert to Python.

    Otherwise the error would leave `spin_once` and end the program. It occurs, for example, for a scan whose
    ``range_max`` is the largest float, as some lidar drivers send it: on Humble, and on other distributions with
    ``ROS_PYTHON_CHECK_FIELDS``.

    Parameters
    ----------
    node : rclpy.node.Node
        Node to spin.
    """

    def __init__(self, node):
        super().__init__()
        self._logger = node.get_logger()
        self.add_node(node)

    def _take_subscription(self, sub: Subscription):
        try:
            return super()._take_subscription(sub)
        except Exception as error:  # rclpy and the message classes raise various types
            self._logger.warning(
                f"a message of {sub.topic_name} was skipped, because rclpy cannot read it: {reason(error)}",
                throttle_duration_sec=REPEAT_SECONDS,
            )
            return None
