"""Pinhole camera: intrinsics, how resizing and cropping change them, and viewing rays."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from numbers import Real

import numpy as np

from depth_estimation_ros.support.sentences import quoted

# Limits of focal length and principal point in pixels. Ratios and products of these still fit into float32.
_SHORTEST, _LONGEST = 1e-6, 1e9
_LARGEST = 1 << 16
WIDEST_FOV = 170
"""Degrees. No pinhole image is wider; a calibration that says so is in other units than pixels."""
_SIZE_PER_FOCAL = 2 * math.tan(math.radians(WIDEST_FOV / 2)) * (1 + 1e-9)  # not less after rounding
_WHOLE = (int, np.integer)


@dataclass(frozen=True)
class PinholeCamera:
    """
    Intrinsics of an undistorted pinhole camera (REP 103 optical frame: x right, y down, z forward).

    Pixel centres lie at integer coordinates, as in ``sensor_msgs/CameraInfo`` and OpenCV.

    Parameters
    ----------
    width, height : int
        Image size in pixels.
    fx, fy : float
        Focal lengths in pixels.
    cx, cy : float
        Principal point in pixels.

    Raises
    ------
    ValueError
        If the size is not positive whole numbers, the intrinsics are not finite with positive focal lengths, or the
        field of view is wider than `WIDEST_FOV`.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self):
        """Check size and intrinsics."""
        check_size("camera", self.width, self.height)
        try:
            focal = _SHORTEST <= self.fx <= _LONGEST and _SHORTEST <= self.fy <= _LONGEST
            valid = focal and -_LONGEST <= self.cx <= _LONGEST and -_LONGEST <= self.cy <= _LONGEST
        except (TypeError, ValueError):  # not numbers
            valid = False
        if not valid:
            raise ValueError(
                "camera intrinsics must be finite with positive focal lengths, in pixels, got "
                f"fx={self.fx}, fy={self.fy}, cx={self.cx}, cy={self.cy}; is the camera calibrated?"
            )
        if self.width > _SIZE_PER_FOCAL * self.fx or self.height > _SIZE_PER_FOCAL * self.fy:
            raise ValueError(
                f"the focal lengths fx={self.fx:g} and fy={self.fy:g} would make an image of "
                f"{self.width}x{self.height} wider than {WIDEST_FOV} degrees: give them in pixels, not in millimetres"
            )

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_fov: float) -> PinholeCamera:
        """
        Return a camera with square pixels and a centred principal point.

        Parameters
        ----------
        width, height : int
            Image size in pixels.
        horizontal_fov : float
            Horizontal field of view in radians, at most `WIDEST_FOV`.

        Raises
        ------
        ValueError
            If the field of view is out of range, or the size is not positive whole numbers.
        """
        check_size("camera", width, height)
        if not isinstance(horizontal_fov, Real) or not 0.0 < horizontal_fov <= math.radians(WIDEST_FOV):
            raise ValueError(
                f"horizontal_fov must lie between 0 and {math.radians(WIDEST_FOV):.2f} radians ({WIDEST_FOV} degrees), "
                f"got {horizontal_fov}"
            )
        focal = 0.5 * width / math.tan(0.5 * horizontal_fov)
        return cls(width, height, focal, focal, 0.5 * (width - 1), 0.5 * (height - 1))

    @property
    def k(self) -> np.ndarray:
        """Intrinsic matrix, float64 [3, 3]."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def focal_length(self) -> float:
        """Geometric mean of fx and fy, in pixels."""
        return math.sqrt(self.fx * self.fy)

    def resized(self, width: int, height: int) -> PinholeCamera:
        """
        Return the camera of the same view, resampled to another size.

        Focal lengths scale with the size. The principal point scales relative to the pixel *edges*:
        ``c' = (c + 0.5) s - 0.5``, as ``cv2.resize`` moves the pixels.
        """
        check_size("camera", width, height)
        if (width, height) == (self.width, self.height):
            return self
        sx, sy = width / self.width, height / self.height
        return PinholeCamera(
            width, height, self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5
        )

    def cropped(self, x: int, y: int, width: int, height: int) -> PinholeCamera:
        """Return the camera of the window whose top-left pixel is (x, y)."""
        return replace(self, width=width, height=height, cx=self.cx - x, cy=self.cy - y)

    def strided(self, step: int) -> PinholeCamera:
        """
        Return the camera of ``image[::step, ::step]``.

        Raises
        ------
        ValueError
            If the step is not a whole number of at least 1.
        """
        if not isinstance(step, _WHOLE) or step < 1:
            raise ValueError(f"the step must be a whole number from 1 on, got {quoted(step)}")
        if step == 1:
            return self
        width, height = -(-self.width // step), -(-self.height // step)
        return PinholeCamera(width, height, self.fx / step, self.fy / step, self.cx / step, self.cy / step)

    def turned(self, degrees: int) -> PinholeCamera:
        """
        Return the camera of the image rotated clockwise.

        Parameters
        ----------
        degrees : int
            Multiple of 90; negative rotates counter-clockwise.

        Raises
        ------
        ValueError
            If `degrees` is not a multiple of 90.
        """
        if not isinstance(degrees, Real) or degrees % 90:
            raise ValueError(f"images turn by multiples of 90 degrees, not by {quoted(degrees)}")
        camera = self
        for _ in range(degrees // 90 % 4):
            c = camera
            camera = PinholeCamera(c.height, c.width, c.fy, c.fx, c.height - 1 - c.cy, c.cx)
        return camera

    def rays(self) -> np.ndarray:
        """
        Return the viewing ray of every pixel, scaled to depth 1.

        Returns
        -------
        numpy.ndarray
            float32 [height, width, 2], read-only: (x/z, y/z). A point is ``z * (x/z, y/z, 1)``.
        """
        return _rays(self)


def check_size(what: str, width: int, height: int) -> None:
    """Raise ValueError if a size is not positive whole numbers of pixels; `what` names it in the message."""
    if not (isinstance(width, _WHOLE) and isinstance(height, _WHOLE)):
        raise ValueError(f"{what} size must be in whole pixels, got {quoted(width)} x {quoted(height)}")
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST):
        raise ValueError(f"{what} size must be positive, at most {_LARGEST} pixels, got {width}x{height}")


@lru_cache(maxsize=16)
def _rays(camera: PinholeCamera) -> np.ndarray:
    rays = np.empty((camera.height, camera.width, 2), np.float32)
    rays[..., 0] = (np.arange(camera.width) - camera.cx) / camera.fx
    rays[..., 1] = ((np.arange(camera.height) - camera.cy) / camera.fy)[:, None]
    rays.flags.writeable = False
    return rays
