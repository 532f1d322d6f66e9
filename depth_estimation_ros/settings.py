"""Parameters of ``depth_estimation_node``: each one is declared once, with default, limits and description."""

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
"""Value of ``image_rotation`` that takes the rotation from the camera's pose."""

LEAST_ANGLE_INCREMENT = 1e-4
"""Smallest ``scan_angle_increment`` in radians; a full turn then has 63,000 rays."""

NO_LIMIT = 1000.0
"""Height in metres over ``base_frame`` at which a height limit has no effect."""


PATIENCE = 10.0
"""Seconds after which an engine that is still processing a frame counts as stuck, if ``output_timeout`` is 0."""


@dataclass(frozen=True)
class Settings:
    """
    Consistent set of parameter values; each field holds a parameter's default and declaration.

    Raises
    ------
    ValueError
        If a value is not allowed, or two values contradict each other. The message is one sentence for the user.
    """

    model: str = _parameter(
        "default",
        "Model: a name that list_models prints, such as 'default', 'small' or 'fcrn-nyu', or the path of an ONNX file "
        "that follows this package's model contract.",
        Effect.CONFIGURE,
        text=path_fault,
    )
    backend: str = _parameter(
        "auto",
        "Engine that runs the model. 'auto' uses CUDA if it is available, otherwise the CPU.",
        Effect.CONFIGURE,
        choices=BACKENDS,
    )
    threads: int = _parameter(
        0, "Number of CPU threads of the engine. 0 uses all cores.", Effect.CONFIGURE, limits=(0, MAX_THREADS)
    )
    engine_precision: str = _parameter(
        "fp16",
        "Precision of the TensorRT engine. int8 needs a model from quantize_model --symmetric. best selects the "
        "fastest precision that reproduces the model's depth.",
        Effect.CONFIGURE,
        choices=PRECISIONS,
    )
    engine_cache: str = _parameter(
        "",
        "Folder of the TensorRT engine cache. Empty means ~/.cache/depth_estimation_ros/engines.",
        Effect.CONFIGURE,
        text=folder_fault,
    )
    engine_calibration: str = _parameter(
        "",
        "Images, video or bag on which a new TensorRT engine is compared with its model. Empty uses rendered rooms.",
        Effect.CONFIGURE,
        text=path_fault,
    )
    engine_file: str = _parameter(
        "",
        "TensorRT plan file to run unchanged, instead of an engine from the cache. A plan contains code: use only "
        "plans that you built yourself.",
        Effect.CONFIGURE,
        text=path_fault,
    )
    autostart: bool = _parameter(
        True,
        "Configure and activate the node at start. If false, the node waits for lifecycle service calls.",
        Effect.START,
    )
    depth_resolution: str = _parameter(
        "camera",
        "Resolution of depth/image and depth/preview: that of the camera image or of the network output.",
        choices=_RESOLUTIONS,
    )
    cloud_resolution: str = _parameter(
        "network",
        "Resolution of depth/points: that of the camera image or of the network output.",
        choices=_RESOLUTIONS,
    )
    depth_encoding: str = _parameter(
        "32FC1",
        "Encoding of depth/image: 32FC1 is in metres and NaN is invalid; 16UC1 is in millimetres and 0 is invalid.",
        choices=("32FC1", "16UC1"),
    )
    min_depth: float = _parameter(
        0.1, "Minimum valid depth in metres. Nearer pixels become invalid.", limits=(0.0, 1000.0)
    )
    max_depth: float = _parameter(
        10.0, "Maximum valid depth in metres. Farther pixels become invalid.", limits=(0.0, 1000.0)
    )
    colour_map: str = _parameter("turbo", "Colour map of depth/preview.", choices=COLOUR_MAPS)
    preview_rate: float = _parameter(
        5.0,
        "Maximum number of previews per second. 0 publishes a preview of every frame.",
        limits=(0.001, 1000.0),
        off=0.0,
    )
    max_rate: float = _parameter(
        0.0,
        "Maximum number of frames processed per second. 0 sets no limit: the engine processes as many as it can.",
        limits=(0.001, 1000.0),
        off=0.0,
    )
    horizontal_fov: float = _parameter(
        0.0,
        "Horizontal field of view of the camera in radians, used instead of camera_info. 0 uses camera_info.",
        limits=(0.01, 3.1),
        off=0.0,
    )
    distortion: str = _parameter(
        "auto",
        "How to treat images whose camera_info has lens distortion: rectify them, take them as already rectified, or "
        "refuse them. auto takes images as rectified if the topic name contains 'rect', and rectifies all others.",
        choices=_DISTORTIONS,
    )
    image_rotation: int = _parameter(
        0,
        "Clockwise rotation in degrees that makes the images upright, for a camera mounted on its side or upside "
        "down. -1 takes the rotation from the camera's pose.",
        choices=(FROM_POSE, 0, 90, 180, 270),
    )
    focal_normalisation: str = _parameter(
        "scale",
        "How depth is corrected for the camera's focal length. scale feeds the whole image to the network and scales "
        "the depth. crop feeds only the part that the training camera would see; the rest has no depth.",
        choices=_NORMALISATIONS,
    )
    image_transport: str = _parameter(
        "raw",
        "Image transport: raw subscribes to image, compressed subscribes to image/compressed (JPEG or PNG).",
        Effect.ACTIVATE,
        choices=_TRANSPORTS,
    )
    edge_angle: float = _parameter(
        0.15,
        "Minimum angle in radians between the line of sight and the surface. Points at a smaller angle are removed "
        "from the cloud and the scan, such as flying pixels between an object and its background. 0 keeps all points.",
        limits=(0.001, 1.5),
        off=0.0,
    )
    max_relative_deviation: float = _parameter(
        0.0,
        "Maximum relative standard deviation of depth (deviation divided by depth), as predicted by the model. Points "
        "above it are removed from the cloud and the scan. 0 keeps all points. Only for models that predict it.",
        limits=(0.001, 10.0),
        off=0.0,
    )
    cloud_max_range: float = _parameter(
        0.0,
        "Maximum distance of points in depth/points from the camera, in metres. 0 keeps all points.",
        limits=(0.01, 1000.0),
        off=0.0,
    )
    cloud_min_height: float = _parameter(
        -NO_LIMIT,
        "Minimum height of points in depth/points over base_frame, in metres. -1000 sets no limit.",
        limits=(-NO_LIMIT, NO_LIMIT),
    )
    cloud_max_height: float = _parameter(
        NO_LIMIT,
        "Maximum height of points in depth/points over base_frame, in metres. 1000 sets no limit.",
        limits=(-NO_LIMIT, NO_LIMIT),
    )
    cloud_stride: int = _parameter(
        1, "Step between the rows and columns used for depth/points; 1 uses all of them.", limits=(1, 64)
    )
    cloud_voxel_size: float = _parameter(
        0.0,
        "Voxel size in metres: depth/points keeps one point per voxel and becomes an unorganised cloud. 0 keeps all "
        "points.",
        limits=(0.001, 10.0),
        off=0.0,
    )
    scan_min_height: float = _parameter(
        0.2,
        "Minimum height over base_frame of obstacles in depth/scan, in metres. Keep a margin over the floor: depth "
        "that is too short by a tenth raises the floor by a tenth of the camera's height.",
        limits=(-100.0, 100.0),
    )
    scan_max_height: float = _parameter(
        1.0, "Maximum height over base_frame of obstacles in depth/scan, in metres.", limits=(-100.0, 100.0)
    )
    scan_range_min: float = _parameter(
        0.1,
        "Minimum range of depth/scan in metres, from base_frame. Nearer obstacles are -Inf.",
        limits=(0.0, 1000.0),
    )
    scan_range_max: float = _parameter(
        8.0,
        "Maximum range of depth/scan in metres. Directions without an obstacle within it are +Inf.",
        limits=(0.0, 1000.0),
    )
    scan_angle_increment: float = _parameter(
        0.0,
        "Angle between two rays of depth/scan in radians. 0 uses the angle between pixels.",
        limits=(LEAST_ANGLE_INCREMENT, 1.0),
        off=0.0,
    )
    base_frame: str = _parameter(
        "base_link",
        "TF frame of depth/scan and reference of all heights: x forward, z up. If anchor is floor, its origin must lie "
        "on the floor, as that of base_footprint does.",
        text=frame_fault,
    )
    camera_height: float = _parameter(
        0.0,
        "Height of the camera over base_frame in metres, for robots without TF. 0 takes the camera's pose from TF.",
        limits=(0.01, 100.0),
        off=0.0,
    )
    camera_pitch: float = _parameter(
        0.0,
        "Downward pitch of the camera in radians. Used only if camera_height is set.",
        limits=(-1.6, 1.6),
    )
    camera_roll: float = _parameter(
        0.0,
        "Roll of the camera in radians; positive lowers its right side. Used only if camera_height is set.",
        limits=(-3.2, 3.2),
    )
    anchor: str = _parameter(
        "none",
        "Reference that corrects the metric scale: measured distances on anchor/scan, anchor/points or anchor/range, "
        "or the floor as seen by a camera with known pose over base_frame. none applies no correction.",
        Effect.ACTIVATE,
        choices=_ANCHORS,
    )
    anchor_correction: str = _parameter(
        "auto",
        "Correction estimated from the anchor: a smooth field, one scale, or a scale and a shift. auto uses field for "
        "scan and points, and scale for range and floor.",
        choices=("auto", *CORRECTIONS),
    )
    anchor_smoothing: float = _parameter(
        0.0,
        "Time constant in seconds with which the correction follows the anchor. 0 uses 0.3 for scan and points, and 2 "
        "for range and floor.",
        limits=(0.001, 60.0),
        off=0.0,
    )
    anchor_hold: float = _parameter(
        0.5, "Time in seconds for which the correction is kept after the anchor is lost.", limits=(0.0, 3600.0)
    )
    anchor_release: float = _parameter(
        10.0,
        "Time constant in seconds with which the scale returns to the model's own after anchor_hold.",
        limits=(0.01, 1e6),
    )
    anchor_prior: float = _parameter(
        0.2,
        "Expected error of the model's own scale, as standard deviation of its logarithm. A larger value gives more "
        "weight to the anchor when it has few points.",
        limits=(0.01, 2.0),
    )
    anchor_max_age: float = _parameter(
        0.2, "Maximum time in seconds between an image and its anchor message.", limits=(0.0, 60.0)
    )
    image_reliability: str = _parameter(
        "best_effort",
        "QoS reliability of the subscriptions. reliable receives from reliable publishers only.",
        Effect.ACTIVATE,
        choices=_RELIABILITIES,
    )
    queue_depth: int = _parameter(
        5,
        "QoS queue depth of the image subscription. It adds no delay, because the node takes each image at once and "
        "keeps only the newest. The middleware drops images beyond this depth, and the node cannot count those.",
        Effect.ACTIVATE,
        limits=(1, 100),
    )
    output_reliability: str = _parameter(
        "reliable",
        "QoS reliability of the publishers. best_effort reaches best-effort subscribers only.",
        Effect.ACTIVATE,
        choices=_RELIABILITIES,
    )
    input_timeout: float = _parameter(
        5.0,
        "Time in seconds without an image or camera_info after which the node warns. 0 never warns.",
        limits=(0.1, 3600.0),
        off=0.0,
    )
    output_timeout: float = _parameter(
        5.0,
        "Time in seconds after which a frame still being processed is reported as an error. It is also the maximum "
        "wait for that frame when the node is deactivated or its model is replaced. 0 never reports, and waits 10 s.",
        limits=(0.1, 3600.0),
        off=0.0,
    )
    save_folder: str = _parameter(
        "",
        "Folder in which the service save_frame saves frames. Empty means ~/.ros/depth_estimation.",
        text=folder_fault,
    )

    def __post_init__(self):
        """Raise ValueError for values that are not allowed."""
        for name, declaration in DECLARATIONS.items():
            declaration.check(name, getattr(self, name))
        for what in ("{}_depth", "cloud_{}_height", "scan_{}_height", "scan_range_{}"):
            (low, least), (high, most) = ((name, getattr(self, name)) for name in map(what.format, ("min", "max")))
            if least >= most:
                raise ValueError(f"{low} must be less than {high}, got {least:g} and {most:g}")

    @property
    def frame_patience(self) -> float:
        """Seconds after which an engine that is still processing a frame counts as stuck."""
        return self.output_timeout or PATIENCE

    def changed(self, values: Mapping[str, Any], fixed: Mapping[Effect, str] = MappingProxyType({})) -> Settings:
        """
        Return the settings with other values.

        Parameters
        ----------
        values : mapping
            New values by name. Names that are not parameters of this node are ignored.
        fixed : mapping of Effect to str
            Effects whose parameters cannot change now, each with the reason and what to do. Setting such a parameter
            to its present value is allowed.

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
