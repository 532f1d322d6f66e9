"""
Settings of ``depth_estimation_node``: each parameter is declared once, with default, limits and description.

They are in groups, and each part of the node receives only the group that it needs. The ROS parameters have flat names.
"""

from depth_estimation_ros.settings.anchor import AnchorSettings
from depth_estimation_ros.settings.camera import CameraSettings, MountingSettings
from depth_estimation_ros.settings.engine import EngineSettings
from depth_estimation_ros.settings.outputs import CloudSettings, FilterSettings, OutputSettings, ScanSettings
from depth_estimation_ros.settings.settings import Settings, defaults
from depth_estimation_ros.settings.topics import TopicSettings

__all__ = [
    "AnchorSettings",
    "CameraSettings",
    "CloudSettings",
    "EngineSettings",
    "FilterSettings",
    "MountingSettings",
    "OutputSettings",
    "ScanSettings",
    "Settings",
    "TopicSettings",
    "defaults",
]
