"""Settings of the outputs: depth image, preview, cloud and scan."""

from __future__ import annotations

from dataclasses import dataclass

from depth_estimation_ros.imaging.preview import COLOUR_MAPS
from depth_estimation_ros.parameters.declaration import ParameterGroup, check_order, parameter

LEAST_ANGLE_INCREMENT = 1e-4
"""Smallest ``scan_angle_increment`` in radians; a full turn then has 63,000 rays."""

NO_LIMIT = 1000.0
"""Height in metres over ``base_frame`` at which a height limit has no effect."""

_RESOLUTIONS = ("camera", "network")


@dataclass(frozen=True)
class OutputSettings(ParameterGroup):
    """Resolution, encoding and limits of the depth image, its preview and the cloud."""

    depth_resolution: str = parameter(
        "camera",
        "Resolution of depth/image and depth/preview: that of the camera image or of the network output.",
        choices=_RESOLUTIONS,
    )
    cloud_resolution: str = parameter(
        "network",
        "Resolution of depth/points: that of the camera image or of the network output.",
        choices=_RESOLUTIONS,
    )
    depth_encoding: str = parameter(
        "32FC1",
        "Encoding of depth/image: 32FC1 is in metres and NaN is invalid; 16UC1 is in millimetres and 0 is invalid.",
        choices=("32FC1", "16UC1"),
    )
    min_depth: float = parameter(
        0.1, "Minimum valid depth in metres. Nearer pixels become invalid.", limits=(0.0, 1000.0)
    )
    max_depth: float = parameter(
        10.0, "Maximum valid depth in metres. Farther pixels become invalid.", limits=(0.0, 1000.0)
    )
    colour_map: str = parameter("turbo", "Colour map of depth/preview.", choices=COLOUR_MAPS)
    preview_rate: float = parameter(
        5.0,
        "Maximum number of previews per second. 0 publishes a preview of every frame.",
        limits=(0.001, 1000.0),
        off=0.0,
    )

    def __post_init__(self) -> None:
        """Raise ValueError for values that are not allowed."""
        super().__post_init__()
        check_order(self.min_depth, self.max_depth, "{}_depth")


@dataclass(frozen=True)
class FilterSettings(ParameterGroup):
    """Points that are removed from the cloud and the scan."""

    edge_angle: float = parameter(
        0.15,
        "Minimum angle in radians between the line of sight and the surface. Points at a smaller angle are removed "
        "from the cloud and the scan, such as flying pixels between an object and its background. 0 keeps all points.",
        limits=(0.001, 1.5),
        off=0.0,
    )
    max_relative_deviation: float = parameter(
        0.0,
        "Maximum relative standard deviation of depth (deviation divided by depth), as predicted by the model. Points "
        "above it are removed from the cloud and the scan. 0 keeps all points. Only for models that predict it.",
        limits=(0.001, 10.0),
        off=0.0,
    )


@dataclass(frozen=True)
class CloudSettings(ParameterGroup):
    """Points of the cloud."""

    max_range: float = parameter(
        0.0,
        "Maximum distance of points in depth/points from the camera, in metres. 0 keeps all points.",
        limits=(0.01, 1000.0),
        off=0.0,
        name="cloud_max_range",
    )
    min_height: float = parameter(
        -NO_LIMIT,
        "Minimum height of points in depth/points over base_frame, in metres. -1000 sets no limit.",
        limits=(-NO_LIMIT, NO_LIMIT),
        name="cloud_min_height",
    )
    max_height: float = parameter(
        NO_LIMIT,
        "Maximum height of points in depth/points over base_frame, in metres. 1000 sets no limit.",
        limits=(-NO_LIMIT, NO_LIMIT),
        name="cloud_max_height",
    )
    stride: int = parameter(
        1,
        "Step between the rows and columns used for depth/points; 1 uses all of them.",
        limits=(1, 64),
        name="cloud_stride",
    )
    voxel_size: float = parameter(
        0.0,
        "Voxel size in metres: depth/points keeps one point per voxel and becomes an unorganised cloud. 0 keeps all "
        "points.",
        limits=(0.001, 10.0),
        off=0.0,
        name="cloud_voxel_size",
    )

    def __post_init__(self) -> None:
        """Raise ValueError for values that are not allowed."""
        super().__post_init__()
        check_order(self.min_height, self.max_height, "cloud_{}_height")

    @property
    def needs_pose(self) -> bool:
        """Whether the heights need the camera's pose."""
        return self.min_height > -NO_LIMIT or self.max_height < NO_LIMIT


@dataclass(frozen=True)
class ScanSettings(ParameterGroup):
    """Heights, ranges and angles of the scan."""

    min_height: float = parameter(
        0.2,
        "Minimum height over base_frame of obstacles in depth/scan, in metres. Keep a margin over the floor: depth "
        "that is too short by a tenth raises the floor by a tenth of the camera's height.",
        limits=(-100.0, 100.0),
        name="scan_min_height",
    )
    max_height: float = parameter(
        1.0,
        "Maximum height over base_frame of obstacles in depth/scan, in metres.",
        limits=(-100.0, 100.0),
        name="scan_max_height",
    )
    range_min: float = parameter(
        0.1,
        "Minimum range of depth/scan in metres, from base_frame. Nearer obstacles are -Inf.",
        limits=(0.0, 1000.0),
        name="scan_range_min",
    )
    range_max: float = parameter(
        8.0,
        "Maximum range of depth/scan in metres. Directions without an obstacle within it are +Inf.",
        limits=(0.0, 1000.0),
        name="scan_range_max",
    )
    angle_increment: float = parameter(
        0.0,
        "Angle between two rays of depth/scan in radians. 0 uses the angle between pixels.",
        limits=(LEAST_ANGLE_INCREMENT, 1.0),
        off=0.0,
        name="scan_angle_increment",
    )

    def __post_init__(self) -> None:
        """Raise ValueError for values that are not allowed."""
        super().__post_init__()
        check_order(self.min_height, self.max_height, "scan_{}_height")
        check_order(self.range_min, self.range_max, "scan_range_{}")
