"""Transforms between TF frames, if tf2_ros is installed."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node

from depth_estimation_ros.geometry.pose import pose_from_transform
from depth_estimation_ros.support.sentences import first_line, quoted


class TfListener:
    """
    Listener for ``/tf`` and ``/tf_static``, which subscribes only when needed because every message costs time.

    Parameters
    ----------
    node : rclpy.node.Node
        Node that owns the subscriptions.
    """

    def __init__(self, node: Node):
        self._node, self._buffer, self._listener = node, None, None

    def listen(self) -> None:
        """Subscribe, if tf2_ros is installed. Call this in the thread of the node's executor."""
        if self._buffer is not None:
            return
        try:
            import tf2_ros
        except ImportError:
            return
        self._buffer = tf2_ros.Buffer(node=None)
        self._listener = tf2_ros.TransformListener(self._buffer, self._node, spin_thread=False)

    def clear(self) -> None:
        """Drop all moving transforms after a jump back in time, because TF refuses older ones than it holds."""
        if self._buffer is not None:
            self._buffer.clear()

    def close(self) -> None:
        """Unsubscribe."""
        if self._listener is not None:
            self._listener.unregister()
        self._buffer = self._listener = None

    def pose(self, target: str, source: str, stamp: Time) -> np.ndarray:
        """
        Return the transform from one TF frame to another. Thread-safe.

        If TF does not cover the stamp, the newest transform is returned.

        Parameters
        ----------
        target, source : str
            Names of the TF frames.
        stamp : builtin_interfaces.msg.Time
            Time of the transform; 0 means the newest one.

        Returns
        -------
        numpy.ndarray
            Transform from `source` to `target`, float64 [4, 4].

        Raises
        ------
        ValueError
            If TF does not have the transform. The message is one sentence that says what to do.
        """
        if target == source:
            return np.eye(4)
        what = f"transform from {quoted(source)} to {quoted(target)}"
        try:
            import tf2_ros
        except ImportError:
            raise ValueError(f"the {what} comes from TF, which needs tf2_ros of a ROS installation") from None
        if (buffer := self._buffer) is None:
            raise ValueError(f"the {what} is not known, because the node is not subscribed to TF")
        try:
            try:
                found = buffer.lookup_transform(target, source, stamp)
            except tf2_ros.ExtrapolationException:
                found = buffer.lookup_transform(target, source, Time())
        except tf2_ros.TransformException as error:
            raise ValueError(
                f"TF has no {what} ({first_line(str(error))}): is it published, and are both names right?"
            ) from None
        t, r = found.transform.translation, found.transform.rotation
        return pose_from_transform((t.x, t.y, t.z), (r.x, r.y, r.z, r.w))
