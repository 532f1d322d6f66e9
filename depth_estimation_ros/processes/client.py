"""Node in a measuring process that listens to the diagnostics of a depth node."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node


class Client(Node):
    """
    Subscriber to the diagnostics of one depth node.

    Attributes
    ----------
    diagnostics : dict of str to str
        Values of the last diagnostics of the active node; empty before.
    """

    def __init__(self, name: str):
        super().__init__(name)
        self.diagnostics: dict[str, str] = {}
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    @property
    def frame_counts(self) -> dict[str, int]:
        """The node's counts of frames received, published, superseded and failed; empty before the diagnostics."""
        names = ("received", "published", "superseded", "failed")
        return {name: int(self.diagnostics[name]) for name in names if name in self.diagnostics}

    @property
    def all_accounted(self) -> bool:
        """Whether every received frame was published, superseded or failed."""
        counts = self.frame_counts
        return bool(counts) and counts["received"] == counts["published"] + counts["superseded"] + counts["failed"]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            # Other nodes have diagnostics, too.
            if values.get("state") == "active" and "superseded" in values:
                self.diagnostics = values
