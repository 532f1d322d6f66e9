"""How what is missing of a recording is said."""

from __future__ import annotations

import struct

from rosbags.rosbag1 import ReaderError as Ros1Error
from rosbags.rosbag2 import ReaderError

BROKEN = (ReaderError, Ros1Error, struct.error, ValueError, KeyError, OSError, EOFError, RuntimeError)
"""What broken bytes make the readers of rosbags raise."""


def loss(cut: int, dropped: int) -> str:
    """Say what is missing: bytes at the end, and chunks within."""
    parts = [f"the last {cut / 1e6:.3g} MB"] if cut > 0 else []
    parts += [f"{dropped} damaged {'chunk' if dropped == 1 else 'chunks'}"] if dropped else []
    return " and ".join(parts)
