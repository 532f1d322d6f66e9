"""Metric depth from a single colour camera."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depth_estimation_ros.camera import PinholeCamera
    from depth_estimation_ros.estimator import DepthEstimator, DepthMap

# Set before OpenCV is imported. Our own messages replace what it and FFmpeg print about images, videos and webcams.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

__all__ = ["DepthEstimator", "DepthMap", "PinholeCamera"]


def __getattr__(name: str) -> type:
    # Imported on first use: the programs import this package before their signal handlers are set (`entry`).
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'camera' if name == 'PinholeCamera' else 'estimator'}"), name)
