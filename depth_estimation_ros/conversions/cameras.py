"""Conversions between ``sensor_msgs/CameraInfo`` and intrinsics."""

from __future__ import annotations

from typing import Any, TypeVar

from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.lens import Lens

Calibration = TypeVar("Calibration", PinholeCamera, Lens)


def camera_from_info(msg: CameraInfo, rectified: bool = False) -> PinholeCamera:
    """
    Return the intrinsics of an undistorted image from its camera_info message.

    They are read from ``P`` if `rectified` is True, if the lens has distortion (then the image must be a rectified one)
    or if ``K`` is zero; otherwise from ``K``. Both describe the full sensor, so they are then cropped by ``roi`` and
    scaled by ``binning``.

    Parameters
    ----------
    msg : sensor_msgs.msg.CameraInfo
        The message.
    rectified : bool
        Whether the image is known to be rectified.

    Raises
    ------
    ValueError
        If the size is zero, the intrinsics are zero or not finite (an uncalibrated camera), or ``roi`` is not within
        the image.
    """
    by_projection = msg.p[0] > 0 and (rectified or any(msg.d) or msg.k[0] == 0)
    matrix, places = (msg.p, (0, 5, 2, 6)) if by_projection else (msg.k, (0, 4, 2, 5))
    intrinsics = (float(matrix[place]) for place in places)
    try:
        return _windowed(PinholeCamera(int(msg.width), int(msg.height), *intrinsics), msg)
    except ValueError as error:
        raise ValueError(f"camera_info cannot be used: {error}") from None


def lens_from_info(msg: CameraInfo) -> Lens:
    """
    Return the intrinsics and distortion of a raw image from its camera_info message.

    Raises
    ------
    ValueError
        As for `camera_from_info`, or if the distortion model is unknown or the coefficients do not fit it.
    """
    try:
        calibration = (msg.k, msg.d, msg.distortion_model, msg.r, msg.p)
        return _windowed(Lens.from_calibration(int(msg.width), int(msg.height), *calibration), msg)
    except ValueError as error:
        raise ValueError(f"camera_info cannot be used: {error}") from None


def _windowed(whole: Calibration, msg: CameraInfo) -> Calibration:
    """Apply ``roi`` and ``binning`` of a message to the full sensor's camera or lens."""
    roi, bins = msg.roi, (max(msg.binning_x, 1), max(msg.binning_y, 1))
    width, height = int(msg.width), int(msg.height)
    if roi.width and roi.height:
        if roi.x_offset + roi.width > width or roi.y_offset + roi.height > height:
            raise ValueError(
                f"its roi, {roi.width}x{roi.height} at ({roi.x_offset}, {roi.y_offset}), is not within {width}x{height}"
            )
        width, height = roi.width, roi.height
        whole = whole.cropped(roi.x_offset, roi.y_offset, width, height)
    return whole if bins == (1, 1) else whole.resized(width // bins[0], height // bins[1])


def recorded_info(recorded: Any, header: Header) -> CameraInfo:
    """Convert a recorded camera_info message (ROS 1 or 2) to a ROS 2 message with another header."""
    names = ("height", "width", "distortion_model", "binning_x", "binning_y")
    roi = {name: getattr(recorded.roi, name) for name in RegionOfInterest.get_fields_and_field_types()}
    msg = CameraInfo(header=header, roi=RegionOfInterest(**roi), **{name: getattr(recorded, name) for name in names})
    for name in "dkrp":
        # ROS 1 names these fields in capitals.
        values = getattr(recorded, name) if hasattr(recorded, name) else getattr(recorded, name.upper())
        setattr(msg, name, [float(value) for value in values])
    return msg


def camera_to_info(camera: PinholeCamera, header: Header | None = None) -> CameraInfo:
    """Return the camera_info message of an undistorted camera (``plumb_bob`` with zero coefficients)."""
    c = camera
    msg = CameraInfo(width=c.width, height=c.height, distortion_model="plumb_bob", d=[0.0] * 5)
    msg.header = Header() if header is None else header
    msg.k = [c.fx, 0.0, c.cx, 0.0, c.fy, c.cy, 0.0, 0.0, 1.0]
    msg.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    msg.p = [c.fx, 0.0, c.cx, 0.0, 0.0, c.fy, c.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return msg
