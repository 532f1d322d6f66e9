"""Settings of the camera: its images, its lens and its mounting."""

from __future__ import annotations

from dataclasses import dataclass

from depth_estimation_ros.parameters.declaration import Effect, ParameterGroup, parameter
from depth_estimation_ros.parameters.text import frame_fault

FROM_POSE = -1
"""Value of ``image_rotation`` that takes the rotation from the camera's pose."""


@dataclass(frozen=True)
class CameraSettings(ParameterGroup):
    """The camera's images and lens, and what the network sees of them."""

    horizontal_fov: float = parameter(
        0.0,
        "Horizontal field of view of the camera in radians, used instead of camera_info. 0 uses camera_info.",
        limits=(0.01, 2.96),
        off=0.0,
    )
    distortion: str = parameter(
        "auto",
        "How to treat images whose camera_info has lens distortion: rectify them, take them as already rectified, or "
        "refuse them. auto takes images as rectified if the topic name contains 'rect', and rectifies all others.",
        choices=("auto", "rectify", "rectified", "refuse"),
    )
    image_rotation: int = parameter(
        0,
        "Clockwise rotation in degrees that makes the images upright, for a camera mounted on its side or upside "
        "down. -1 takes the rotation from the camera's pose.",
        choices=(FROM_POSE, 0, 90, 180, 270),
    )
    focal_normalisation: str = parameter(
        "scale",
        "How depth is corrected for the camera's focal length. scale feeds the whole image to the network and scales "
        "the depth. crop feeds only the part that the training camera would see; the rest has no depth.",
        choices=("scale", "crop"),
    )
    image_transport: str = parameter(
        "raw",
        "Image transport: raw subscribes to image, compressed subscribes to image/compressed (JPEG or PNG).",
        Effect.ACTIVATE,
        choices=("raw", "compressed"),
    )


@dataclass(frozen=True)
class MountingSettings(ParameterGroup):
    """Pose of the camera on the robot."""

    base_frame: str = parameter(
        "base_link",
        "TF frame of depth/scan and reference of all heights: x forward, z up. If anchor is floor, its origin must lie "
        "on the floor, as that of base_footprint does.",
        text=frame_fault,
    )
    height: float = parameter(
        0.0,
        "Height of the camera over base_frame in metres, for robots without TF. 0 takes the camera's pose from TF.",
        limits=(0.01, 100.0),
        off=0.0,
        name="camera_height",
    )
    pitch: float = parameter(
        0.0,
        "Downward pitch of the camera in radians. Used only if camera_height is set.",
        limits=(-1.6, 1.6),
        name="camera_pitch",
    )
    roll: float = parameter(
        0.0,
        "Roll of the camera in radians; positive lowers its right side. Used only if camera_height is set.",
        limits=(-3.2, 3.2),
        name="camera_roll",
    )
