"""What can be set of ``depth_estimation_node``: each value declared once, with default, limits and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from depth_estimation_ros.anchor import CORRECTIONS
from depth_estimation_ros.backends import BACKENDS, MAX_THREADS, PRECISIONS
from depth_estimation_ros.declaration import Declaration, Effect, folder_fault, frame_fault, path_fault
from depth_estimation_ros.imaging.preview import COLOUR_MAPS


def _parameter(default: Any, description: str, effect: Effect = Effect.FRAME, **kwargs) -> Any:
    return field(default=default, metadata={"declaration": Declaration(description, effect, **kwargs)})


_RELIABILITIES = ("best_effort", "reliable")
_TRANSPORTS = ("raw", "compressed")
_RESOLUTIONS = ("camera", "network")
_DISTORTIONS = ("auto", "rectify", "rectified", "refuse")
_NORMALISATIONS = ("scale", "crop")
_ANCHORS = ("none", "scan", "points", "range", "floor")

FROM_POSE = -1
"""Of ``image_rotation``: as the camera is mounted."""

LEAST_ANGLE_INCREMENT = 1e-4
"""Radians between two rays of a scan: a whole turn has 63,000 rays then."""

NO_LIMIT = 1000.0
"""Heights so far from the robot's frame are no limits."""


PATIENCE = 10.0
"""Seconds that a frame may be in work before its engine is taken for stuck, where ``output_timeout`` does not say."""


@dataclass(frozen=True)
class Settings:
    """
    One consistent set of values: each field is a parameter, its default and its declaration.

    Raises
    ------
    ValueError
        If a value is not allowed, or two contradict each other; the text is one sentence for the user.
    """

    model: str = _parameter(
        "default",
        "The packaged model 'default', or the path of an ONNX file that keeps this package's model contract.",
        Effect.CONFIGURE,
        text=path_fault,
    )
    backend: str = _parameter(
        "auto",
        "Engine that runs the model; 'auto' is CUDA where there is one, else the CPU.",
        Effect.CONFIGURE,
        choices=BACKENDS,
    )
    threads: int = _parameter(
        0, "CPU threads of the engine; 0 takes all cores.", Effect.CONFIGURE, limits=(0, MAX_THREADS)
    )
    engine_precision: str = _parameter(
        "fp16",
        "Of a TensorRT engine. int8 takes a model from quantize_model --symmetric; best is the fastest that computes "
        "the model's depth.",
        Effect.CONFIGURE,
        choices=PRECISIONS,
    )
    engine_cache: str = _parameter(
        "",
        "Folder where TensorRT engines are kept; empty is ~/.cache/depth_estimation_ros/engines.",
        Effect.CONFIGURE,
        text=folder_fault,
    )
    engine_calibration: str = _parameter(
        "",
        "Images, video or bag that a new TensorRT engine is compared with its model on; empty renders rooms.",
        Effect.CONFIGURE,
        text=path_fault,
    )
    engine_file: str = _parameter(
        "",
        "A TensorRT plan to run as it is, instead of an engine from the cache. A plan is code: name only your own.",
        Effect.CONFIGURE,
        text=path_fault,
    )
    autostart: bool = _parameter(
        True,
        "Configure and activate at start. With false the node waits for its lifecycle services.",
        Effect.START,
    )
    depth_resolution: str = _parameter(
        "camera",
        "Size of depth/image and depth/preview: the camera's or the network's.",
        choices=_RESOLUTIONS,
    )
    cloud_resolution: str = _parameter(
        "network", "Size of depth/points: the camera's or the network's.", choices=_RESOLUTIONS
    )
    depth_encoding: str = _parameter(
        "32FC1",
        "Encoding of depth/image: 32FC1 is metres with NaN invalid, 16UC1 is millimetres with 0 invalid.",
        choices=("32FC1", "16UC1"),
    )
    min_depth: float = _parameter(
        0.1, "Nearest valid depth in metres; nearer pixels become invalid.", limits=(0.0, 1000.0)
    )
    max_depth: float = _parameter(
        10.0, "Farthest valid depth in metres; farther pixels become invalid.", limits=(0.0, 1000.0)
    )
    colour_map: str = _parameter("turbo", "Colours of depth/preview.", choices=COLOUR_MAPS)
    preview_rate: float = _parameter(
        5.0, "At most so many previews a second; 0 makes one of every frame.", limits=(0.001, 1000.0), off=0.0
    )
    max_rate: float = _parameter(
        0.0, "At most so many frames a second; 0 takes every frame the engine can.", limits=(0.001, 1000.0), off=0.0
    )
    horizontal_fov: float = _parameter(
        0.0,
        "Horizontal field of view of the camera in radians, instead of camera_info; 0 takes camera_info.",
        limits=(0.01, 3.1),
        off=0.0,
    )
    distortion: str = _parameter(
        "auto",
        "Images of a lens with distortion are to be rectified, are rectified already, or are refused; auto takes those "
        "of a topic with 'rect' in its name as rectified.",
        choices=_DISTORTIONS,
    )
    image_rotation: int = _parameter(
        0,
        "Degrees by which images must be turned clockwise to be upright, for a camera mounted on its side or upside "
        "down; -1 takes it from the camera's pose.",
        choices=(FROM_POSE, 0, 90, 180, 270),
    )
    focal_normalisation: str = _parameter(
        "scale",
        "How depth is made metric for the camera's focal length: scale shows the network the whole image, crop the "
        "part that its training camera would see, and leaves the rest without depth.",
        choices=_NORMALISATIONS,
    )
    image_transport: str = _parameter(
        "raw",
        "How images come: raw on the topic image, or compressed (JPEG or PNG) on image/compressed.",
        Effect.ACTIVATE,
        choices=_TRANSPORTS,
    )
    edge_angle: float = _parameter(
        0.15,
        "Removes points between an object and what is behind it from cloud and scan: those on surfaces that the line "
        "of sight meets at a smaller angle, in radians; 0 keeps all.",
        limits=(0.001, 1.5),
        off=0.0,
    )
    max_relative_deviation: float = _parameter(
        0.0,
        "Leaves points out of cloud and scan whose standard deviation, by the model, is more than this part of their "
        "depth; 0 keeps all. For models that say how sure they are.",
        limits=(0.001, 10.0),
        off=0.0,
    )
    cloud_max_range: float = _parameter(
        0.0,
        "Leaves points farther from the camera out of depth/points, in metres; 0 keeps all.",
        limits=(0.01, 1000.0),
        off=0.0,
    )
    cloud_min_height: float = _parameter(
        -NO_LIMIT,
        "Points lower than this over base_frame are left out of depth/points, in metres; -1000 keeps all.",
        limits=(-NO_LIMIT, NO_LIMIT),
    )
    cloud_max_height: float = _parameter(
        NO_LIMIT,
        "Points higher than this over base_frame are left out of depth/points, in metres; 1000 keeps all.",
        limits=(-NO_LIMIT, NO_LIMIT),
    )
    cloud_stride: int = _parameter(1, "Takes every so many-th row and column into depth/points.", limits=(1, 64))
    cloud_voxel_size: float = _parameter(
        0.0,
        "Thins depth/points to one point in each cube of this size in metres, which makes it an unorganised cloud; 0 "
        "keeps all.",
        limits=(0.001, 10.0),
        off=0.0,
    )
    scan_min_height: float = _parameter(
        0.2,
        "Lowest obstacle of depth/scan over base_frame in metres. Depth that is a tenth too short lifts the floor by a "
        "tenth of the camera's height.",
        limits=(-100.0, 100.0),
    )
    scan_max_height: float = _parameter(
        1.0, "Highest obstacle of depth/scan over base_frame in metres.", limits=(-100.0, 100.0)
    )
    scan_range_min: float = _parameter(
        0.1, "Obstacles nearer to base_frame are -Inf in depth/scan, in metres.", limits=(0.0, 1000.0)
    )
    scan_range_max: float = _parameter(
        8.0, "Range of depth/scan in metres: where nothing is nearer it is +Inf.", limits=(0.0, 1000.0)
    )
    scan_angle_increment: float = _parameter(
        0.0,
        "Angle between two rays of depth/scan in radians; 0 takes that of the pixels.",
        limits=(LEAST_ANGLE_INCREMENT, 1.0),
        off=0.0,
    )
    base_frame: str = _parameter(
        "base_link",
        "Frame of depth/scan and of all heights: x forward, z up. With anchor floor its origin lies on the floor, as "
        "base_footprint's does.",
        text=frame_fault,
    )
    camera_height: float = _parameter(
        0.0,
        "Height of the camera over base_frame in metres, for robots without TF; 0 takes the camera's pose from TF.",
        limits=(0.01, 100.0),
        off=0.0,
    )
    camera_pitch: float = _parameter(
        0.0, "Angle in radians by which the camera looks down, where camera_height is set.", limits=(-1.6, 1.6)
    )
    camera_roll: float = _parameter(
        0.0,
        "Angle in radians by which the camera's right side is low, where camera_height is set.",
        limits=(-3.2, 3.2),
    )
    anchor: str = _parameter(
        "none",
        "What keeps the metric scale: true distances on anchor/scan, anchor/points or anchor/range, or the floor, seen "
        "by a camera whose pose over base_frame is known.",
        Effect.ACTIVATE,
        choices=_ANCHORS,
    )
    anchor_correction: str = _parameter(
        "auto",
        "What is estimated from the anchor: a smooth field, one scale, or a scale and a shift; auto is field for scan "
        "and points, scale for range and floor.",
        choices=("auto", *CORRECTIONS),
    )
    anchor_smoothing: float = _parameter(
        0.0,
        "Time constant in seconds with which the anchor is followed; 0 is 0.3 for scan and points, 2 for range and "
        "floor.",
        limits=(0.001, 60.0),
        off=0.0,
    )
    anchor_hold: float = _parameter(
        0.5, "Seconds for which the correction stays when the anchor is lost.", limits=(0.0, 3600.0)
    )
    anchor_release: float = _parameter(
        10.0, "Time constant in seconds with which the scale then goes back to the model's own.", limits=(0.01, 1e6)
    )
    anchor_prior: float = _parameter(
        0.2,
        "How far off the model's own scale may be: standard deviation of its logarithm. The larger, the more a few "
        "points decide.",
        limits=(0.01, 2.0),
    )
    anchor_max_age: float = _parameter(
        0.2, "Most seconds between an image and a message of its anchor.", limits=(0.0, 60.0)
    )
    image_reliability: str = _parameter(
        "best_effort",
        "Reliability of the subscriptions. reliable receives from reliable publishers only.",
        Effect.ACTIVATE,
        choices=_RELIABILITIES,
    )
    queue_depth: int = _parameter(
        5,
        "Images that may wait in the middleware. The node takes each at once and keeps the newest, so that this "
        "adds no delay; images beyond it are dropped before the node can count them.",
        Effect.ACTIVATE,
        limits=(1, 100),
    )
    output_reliability: str = _parameter(
        "reliable",
        "Reliability of the publishers. best_effort serves best-effort subscribers only.",
        Effect.ACTIVATE,
        choices=_RELIABILITIES,
    )
    input_timeout: float = _parameter(
        5.0,
        "Warn when no image or no camera_info came for so many seconds; 0 never warns.",
        limits=(0.1, 3600.0),
        off=0.0,
    )
    output_timeout: float = _parameter(
        5.0,
        "Report an error when a frame has been in work for so many seconds, and wait no longer for it when the node is "
        "deactivated or its model is changed; 0 never reports, and waits for 10.",
        limits=(0.1, 3600.0),
        off=0.0,
    )
    save_folder: str = _parameter(
        "",
        "Folder for what the service save_frame writes; empty is ~/.ros/depth_estimation.",
        text=folder_fault,
    )

    def __post_init__(self):
        """Refuse values that are not allowed."""
        for name, declaration in DECLARATIONS.items():
            declaration.check(name, getattr(self, name))
        for what in ("{}_depth", "cloud_{}_height", "scan_{}_height", "scan_range_{}"):
            (low, least), (high, most) = ((name, getattr(self, name)) for name in map(what.format, ("min", "max")))
            if least >= most:
                raise ValueError(f"{low} must be less than {high}, got {least:g} and {most:g}")

    @property
    def frame_patience(self) -> float:
        """Seconds that a frame may be in work before its engine is taken for stuck."""
        return self.output_timeout or PATIENCE

    def changed(self, values: Mapping[str, Any], fixed: Mapping[Effect, str] = MappingProxyType({})) -> Settings:
        """
        Return the settings with other values.

        Parameters
        ----------
        values : mapping
            New values by name; names that are no parameter of this node are passed over.
        fixed : mapping of Effect to str
            Why parameters of which effect cannot change now, and what to do. A new value of one is refused, the value
            that it has is not.

        Raises
        ------
        ValueError
            If a value is not allowed, contradicts another, or may not change now.
        """
        values = {n: v for n, v in values.items() if n in DECLARATIONS and v != getattr(self, n)}
        for name, value in values.items():
            if why := fixed.get(DECLARATIONS[name].effect):
                raise ValueError(f"{name} cannot change {why}")
            if value is None:
                raise ValueError(f"{name} cannot be deleted: a parameter of this node always has a value")
        return replace(self, **values)


DECLARATIONS: dict[str, Declaration] = {f.name: f.metadata["declaration"] for f in fields(Settings)}
"""The declaration of every parameter, by name."""


def defaults() -> dict[str, Any]:
    """Return the default of every parameter, by name."""
    return {f.name: f.default for f in fields(Settings)}
