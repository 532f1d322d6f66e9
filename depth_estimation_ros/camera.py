"""The pinhole camera: intrinsics, what resizing and cropping do to them, and viewing rays."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np


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
        If the size or a focal length is not positive, or a value is not finite.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self):
        """Refuse intrinsics that no camera can have."""
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"camera size must be positive, got {self.width}x{self.height}")
        if 0 < self.fx < math.inf and 0 < self.fy < math.inf and math.isfinite(self.cx) and math.isfinite(self.cy):
            return  # several cameras are made for every frame
        values = {"fx": self.fx, "fy": self.fy, "cx": self.cx, "cy": self.cy}
        bad = [f"{name}={value}" for name, value in values.items() if not math.isfinite(value)]
        bad += [f"{name}={values[name]}" for name in ("fx", "fy") if values[name] <= 0]
        raise ValueError(
            f"camera intrinsics must be finite with positive focal lengths, got {', '.join(bad)}; "
            "is the camera calibrated?"
        )

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_fov: float) -> PinholeCamera:
        """
        Make a camera with square pixels and a centred principal point.

        Parameters
        ----------
        width, height : int
            Image size in pixels.
        horizontal_fov : float
            Horizontal field of view in radians, 0 < fov < pi.

        Raises
        ------
        ValueError
            If the field of view is out of range.
        """
        if not 0.0 < horizontal_fov < math.pi:
            raise ValueError(f"horizontal_fov must lie between 0 and pi radians, got {horizontal_fov}")
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
        Return the camera of the same view resampled to another size.

        Focal lengths scale with the size; the principal point keeps its place between pixel
        *edges* (``c' = (c + 0.5) s - 0.5``), which is what ``cv2.resize`` does to the pixels.
        """
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
        """Return the camera of ``image[::step, ::step]``, which has every `step`-th pixel of every `step`-th row."""
        if step == 1:
            return self
        width, height = -(-self.width // step), -(-self.height // step)
        return PinholeCamera(width, height, self.fx / step, self.fy / step, self.cx / step, self.cy / step)

    def turned(self, degrees: int) -> PinholeCamera:
        """
        Return the camera of the image turned clockwise.

        Parameters
        ----------
        degrees : int
            A multiple of 90; negative counter-clockwise.

        Raises
        ------
        ValueError
            If it is none.
        """
        if degrees % 90:
            raise ValueError(f"images turn by multiples of 90 degrees, not by {degrees}")
        camera = self
        for _ in range(degrees // 90 % 4):
            c = camera
            camera = PinholeCamera(c.height, c.width, c.fy, c.fx, c.height - 1 - c.cy, c.cx)
        return camera

    def rays(self) -> np.ndarray:
        """
        Return the viewing ray of every pixel at unit depth.

        Returns
        -------
        numpy.ndarray
            float32 [height, width, 2], read-only: (x/z, y/z). A point is ``z * (x/z, y/z, 1)``.
        """
        return _rays(self)


@lru_cache(maxsize=16)
def _rays(camera: PinholeCamera) -> np.ndarray:
    rays = np.empty((camera.height, camera.width, 2), np.float32)
    rays[..., 0] = (np.arange(camera.width) - camera.cx) / camera.fx
    rays[..., 1] = ((np.arange(camera.height) - camera.cy) / camera.fy)[:, None]
    rays.flags.writeable = False
    return rays
