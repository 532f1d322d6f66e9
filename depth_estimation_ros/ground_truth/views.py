"""How the images of a recording see the world, by the camera_info beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from depth_estimation_ros.bags.messages import camera_of, lens_of
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.rectify import Lens


@dataclass(frozen=True)
class View:
    """
    How an image sees the world.

    Parameters
    ----------
    camera : PinholeCamera
        Of the image; of the rectified one where there is a lens.
    lens : Lens or None
        Of an image with distortion, which is to be rectified.
    """

    camera: PinholeCamera
    lens: Lens | None = None


def view_of(info, width: int, height: int, rectified: bool) -> View:
    """
    Read a camera_info for an image.

    Parameters
    ----------
    info : object
        The message, of either ROS.
    width, height : int
        Of the image; where the camera_info is of another size of the same shape, it is scaled.
    rectified : bool
        Whether the image is known to be rectified, although the lens distorts.

    Returns
    -------
    View

    Raises
    ------
    ValueError
        If the camera is not calibrated, its lens is unknown, or its image has another shape.
    """
    lens = None if rectified else lens_of(info)
    camera = lens.camera if lens else camera_of(info, rectified)
    if not same_shape(camera.width, camera.height, width, height):
        raise ValueError(f"camera_info is of {camera.width}x{camera.height}, which does not fit {width}x{height}")
    if (camera.width, camera.height) != (width, height):
        lens, camera = lens and lens.resized(width, height), camera.resized(width, height)
    return View(lens.rectified, lens) if lens and lens.distorts else View(camera)


def is_rectified(topic: str) -> bool:
    """Whether a topic's name says, as those of image_proc do, that its images are rectified."""
    name = topic.removesuffix("/compressed").removesuffix("/compressedDepth").rpartition("/")[2]
    return re.search(r"(^|_)rect", name) is not None


def same_shape(width: int, height: int, other_width: int, other_height: int) -> bool:
    """Whether two sizes have the same ratio of width to height, but for the rounding of one pixel."""
    return abs(width * other_height - other_width * height) <= max(width, other_width, height, other_height)


class Views:
    """
    Views by camera_info, each read once: of a recording, nearly all messages say the same.

    Parameters
    ----------
    rectified : bool
        Whether the images are known to be rectified, although the lens distorts.
    """

    def __init__(self, rectified: bool):
        self._rectified = rectified
        self._found: dict[tuple, View | str] = {}

    def of(self, info, width: int, height: int) -> View:
        """Return the view of an image of this size; arguments and errors as of `view_of`."""
        calibration = (info.k, info.d, info.r, info.p) if hasattr(info, "k") else (info.K, info.D, info.R, info.P)
        key = (width, height, info.width, info.height, info.distortion_model, *(tuple(part) for part in calibration))
        key += (info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height, info.binning_x, info.binning_y)
        if key not in self._found:
            try:
                self._found[key] = view_of(info, width, height, self._rectified)
            except ValueError as error:
                self._found[key] = str(error)
        if isinstance(self._found[key], str):
            raise ValueError(self._found[key])
        return self._found[key]
