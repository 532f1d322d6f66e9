"""The executor of a node."""

from __future__ import annotations

from rclpy.executors import SingleThreadedExecutor
from rclpy.subscription import Subscription

from depth_estimation_ros.runtime.input_watch import REPEAT_SECONDS
from depth_estimation_ros.support.sentences import reason


class Executor(SingleThreadedExecutor):
    """
    A single-threaded executor that outlives messages which rclpy cannot read.

    rclpy makes a Python object of a message when it takes it. Where that fails, the error would come out of `spin_once`
    and end the program: on Humble, and with ``ROS_PYTHON_CHECK_FIELDS`` on others, for a scan whose ``range_max`` is
    the largest float, as lidars' drivers send it.

    Parameters
    ----------
    node : rclpy.node.Node
        Whose callbacks are called.
    """

    def __init__(self, node):
        super().__init__()
        self._logger = node.get_logger()
        self.add_node(node)

    def _take_subscription(self, sub: Subscription):
        try:
            return super()._take_subscription(sub)
        except Exception as error:  # rclpy and the messages' own code raise what they like
            self._logger.warning(
                f"a message of {sub.topic_name} was passed over, as rclpy cannot read it: {reason(error)}",
                throttle_duration_sec=REPEAT_SECONDS,
            )
            return None
