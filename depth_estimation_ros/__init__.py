"""Metric depth from a single colour camera."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depth_estimation_ros.camera import PinholeCamera
    from depth_estimation_ros.estimator import DepthEstimator, DepthMap

# Before OpenCV is imported: what it and FFmpeg print about a picture, video or webcam, our own sentences say better.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

__all__ = ["DepthEstimator", "DepthMap", "PinholeCamera"]


def __getattr__(name: str):
    # Imported when they are asked for: the programs come through here before they can take a signal (`entry`).
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'camera' if name == 'PinholeCamera' else 'estimator'}"), name)
