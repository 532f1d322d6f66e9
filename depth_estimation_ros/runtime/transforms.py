"""Transforms between a robot's frames, from TF where that is there."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node

from depth_estimation_ros.geometry.pose import pose_from_transform
from depth_estimation_ros.support.sentences import first_line, quoted


class Transforms:
    """
    Listens to ``/tf`` and ``/tf_static``, from the first use on: every message of them costs time.

    Parameters
    ----------
    node : rclpy.node.Node
        Whose subscriptions they are.
    """

    def __init__(self, node: Node):
        self._node, self._buffer, self._listener = node, None, None

    def listen(self) -> None:
        """Begin to listen; to be called in the thread of the node's executor. Nothing happens without tf2_ros."""
        if self._buffer is not None:
            return
        try:
            import tf2_ros
        except ImportError:
            return
        self._buffer = tf2_ros.Buffer(node=None)
        self._listener = tf2_ros.TransformListener(self._buffer, self._node, spin_thread=False)

    def clear(self) -> None:
        """Forget what moves: TF takes nothing older than it knows, and what it knows is of another time."""
        if self._buffer is not None:
            self._buffer.clear()

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.unregister()
        self._buffer = self._listener = None

    def pose(self, target: str, source: str, stamp: Time) -> np.ndarray:
        """
        Return the transform from one frame into another; any thread may ask.

        Where TF does not reach as far as the stamp, the newest transform is taken.

        Parameters
        ----------
        target, source : str
            Names of frames.
        stamp : builtin_interfaces.msg.Time
            When; zero is the newest.

        Returns
        -------
        numpy.ndarray
            float64 [4, 4].

        Raises
        ------
        ValueError
            If there is none, in one sentence that says what to do.
        """
        if target == source:
            return np.eye(4)
        what = f"transform from {quoted(source)} to {quoted(target)}"
        try:
            import tf2_ros
        except ImportError:
            raise ValueError(f"the {what} comes from TF, which needs tf2_ros of a ROS installation") from None
        if (buffer := self._buffer) is None:
            raise ValueError(f"the {what} is not listened for")
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
