"""Detection of subscriptions that receive nothing, with the likely cause."""

from __future__ import annotations

import time

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.subscription import Subscription

REPEAT_SECONDS = 30.0
"""Seconds between repetitions of a warning that still applies."""


class InputWatch:
    """
    Monitor of one subscription.

    Parameters
    ----------
    node : Node
        Node that owns the subscription.
    subscription : Subscription
        Subscription to monitor.
    type_name : str
        Message type of the subscription, e.g. ``sensor_msgs/msg/Image``.
    advice : str
        Advice for the case that the topic has no publisher.
    remedies : dict, optional
        Advice for the case that nothing arrives while another topic is published, by (topic, type) of that topic.
    """

    def __init__(
        self,
        node: Node,
        subscription: Subscription,
        type_name: str,
        advice: str,
        remedies: dict[tuple[str, str], str] | None = None,
    ):
        self._node, self._subscription = node, subscription
        self._type_name, self._advice = type_name, advice
        self._remedies = remedies or {}
        self.heard()

    def heard(self) -> None:
        """Record that a message was received."""
        self._heard_at = self._reported_at = time.monotonic()
        self._reported = ""

    def check(self, timeout: float) -> str:
        """
        Return one sentence about the problem if no message was received within `timeout` seconds, otherwise "".

        A `timeout` of 0 disables the check. The sentence is logged when its cause changes, and every `REPEAT_SECONDS`.
        """
        now = time.monotonic()
        silent = now - self._heard_at
        if timeout == 0.0 or silent < timeout:
            return ""
        cause = self._cause()
        sentence = f"nothing received on {self._subscription.topic_name} for {silent:.0f} s: {cause}"
        if cause != self._reported or now - self._reported_at >= max(REPEAT_SECONDS, timeout):
            self._reported, self._reported_at = cause, now
            self._node.get_logger().warning(sentence)
        return sentence

    def _cause(self) -> str:
        name = self._subscription.topic_name
        publishers = self._node.get_publishers_info_by_topic(name)
        if not publishers:
            for (topic, kind), remedy in self._remedies.items():
                if any(p.topic_type == kind for p in self._node.get_publishers_info_by_topic(topic)):
                    return f"nobody publishes it, but {topic} is published: {remedy}"
            return f"nobody publishes it; {self._advice}"
        types = {p.topic_type for p in publishers}
        if self._type_name not in types:
            remedy = "".join(f": {r}" for (topic, kind), r in self._remedies.items() if topic == name and kind in types)
            return f"it is published as {', '.join(sorted(types))}, but this node wants {self._type_name}{remedy}"
        verdicts = [qos_check_compatible(p.qos_profile, self._subscription.qos_profile) for p in publishers]
        if all(compatibility == QoSCompatibility.ERROR for compatibility, _ in verdicts):
            reason = verdicts[0][1].removeprefix("ERROR: ").rstrip("; ")
            return (
                f"its publisher offers an incompatible QoS ({reason}); set image_reliability to best_effort, "
                "or change the publisher's QoS"
            )
        return f"it has {len(publishers)} publisher(s), but none of them sends"
