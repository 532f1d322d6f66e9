"""Calibration of the images of a recording: intrinsics and lens from their camera_info."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.bags.messages import camera_of, lens_of
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.lens import Lens

_SAME = 0.01  # maximum relative difference of the intrinsics of one camera
_SAME_COEFFICIENT = 1e-3  # maximum difference of their distortion coefficients


@dataclass(frozen=True)
class Calibration:
    """
    Intrinsics of an image, and its lens if it has distortion.

    Parameters
    ----------
    camera : PinholeCamera
        Intrinsics of the image, or of the rectified image if there is a lens.
    lens : Lens or None
        Lens of an image with distortion, which must be rectified.
    """

    camera: PinholeCamera
    lens: Lens | None = None


def calibration_of(info, width: int, height: int, rectified: bool) -> Calibration:
    """
    Return the calibration of an image from its camera_info.

    Parameters
    ----------
    info : object
        Message of ROS 1 or ROS 2.
    width, height : int
        Size of the image. A camera_info for another size of the same aspect ratio is scaled.
    rectified : bool
        Whether the image is already rectified although its camera_info has distortion.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If the camera is not calibrated, its distortion model is unknown, or the aspect ratios differ.
    """
    lens = None if rectified else lens_of(info)
    camera = lens.camera if lens else camera_of(info, rectified)
    if not same_shape(camera.width, camera.height, width, height):
        raise ValueError(f"camera_info for {camera.width}x{camera.height} does not fit images of {width}x{height}")
    if (camera.width, camera.height) != (width, height):
        lens, camera = lens and lens.resized(width, height), camera.resized(width, height)
    return Calibration(lens.rectified, lens) if lens and lens.distorts else Calibration(camera)


def is_rectified(topic: str) -> bool:
    """Whether the name of a topic says that its images are rectified, as the names of image_proc do."""
    name = topic.removesuffix("/compressed").removesuffix("/compressedDepth").rpartition("/")[2]
    return re.search(r"(^|_)rect", name) is not None


def same_shape(width: int, height: int, other_width: int, other_height: int) -> bool:
    """Whether two sizes have the same aspect ratio, up to rounding by one pixel."""
    return abs(width * other_height - other_width * height) <= max(width, other_width, height, other_height)


class Calibrations:
    """
    Cache of calibrations by camera_info, because nearly all camera_info messages of a recording are equal.

    Parameters
    ----------
    rectified : bool
        Whether the images are already rectified although their camera_info has distortion.
    """

    def __init__(self, rectified: bool):
        self._rectified = rectified
        self._found: dict[tuple, Calibration | str] = {}

    def of(self, info, width: int, height: int) -> Calibration:
        """Return the calibration of an image of this size; arguments and errors are those of `calibration_of`."""
        calibration = (info.k, info.d, info.r, info.p) if hasattr(info, "k") else (info.K, info.D, info.R, info.P)
        key = (width, height, info.width, info.height, info.distortion_model, *(tuple(part) for part in calibration))
        key += (info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height, info.binning_x, info.binning_y)
        if key not in self._found:
            try:
                self._found[key] = calibration_of(info, width, height, self._rectified)
            except ValueError as error:
                self._found[key] = str(error)
        found = self._found[key]
        if isinstance(found, str):
            raise ValueError(found)
        return found


def same_view(depth: Calibration, image: Calibration) -> bool:
    """Whether two cameras at the same pose have the same view, apart from the image size."""
    of_depth, of_image = _plain(depth), _plain(image)
    if not same_shape(of_depth.width, of_depth.height, of_image.width, of_image.height):
        return False
    scaled = of_depth.resized(of_image.width, of_image.height)
    distances = [abs(scaled.fx / of_image.fx - 1), abs(scaled.fy / of_image.fy - 1)]
    distances += [abs(scaled.cx - of_image.cx) / of_image.width, abs(scaled.cy - of_image.cy) / of_image.height]
    if max(distances) > _SAME:
        return False
    if depth.lens and image.lens and depth.lens.model != image.lens.model:
        return False
    coefficients = np.zeros((2, 14))
    for row, calibration in zip(coefficients, (depth, image), strict=True):
        if calibration.lens:
            row[: len(calibration.lens.coefficients)] = calibration.lens.coefficients
    return np.allclose(coefficients[0], coefficients[1], rtol=0, atol=_SAME_COEFFICIENT)


def _plain(calibration: Calibration) -> PinholeCamera:
    """Return the pinhole camera of the unrectified image, ignoring its distortion."""
    return calibration.lens.camera if calibration.lens else calibration.camera
