"""Camera with lens distortion: its models, and the pinhole camera of the rectified image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from depth_estimation_ros.camera import WIDEST_FOV, PinholeCamera

# Allowed numbers of coefficients by name in sensor_msgs/distortion_models. OpenCV and image_geometry use one polynomial
# model for both names and accept any of these numbers (up to thin prism and tilted sensor); drivers rely on that.
_OPENCV = (4, 5, 8, 12, 14)
MODELS = {"plumb_bob": _OPENCV, "rational_polynomial": _OPENCV, "equidistant": (4,)}
# Other names of the same models: Kalibr, OpenCV, Isaac Sim, drivers.
_ALIASES = {
    "radtan": "plumb_bob",
    "radial_tangential": "plumb_bob",
    "brown_conrady": "plumb_bob",
    "rational": "rational_polynomial",
    "fisheye": "equidistant",
    "opencv_fisheye": "equidistant",
    "equi": "equidistant",
    "kannala_brandt": "equidistant",
    "kannala_brandt4": "equidistant",
}
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def distortion(model: str, coefficients: Sequence[float]) -> tuple[str, tuple[float, ...]]:
    """
    Normalise a distortion model's name and coefficients, as OpenCV and image_geometry read them.

    Parameters
    ----------
    model : str
        A name in `MODELS` or one of its aliases: ``radtan``, ``fisheye``, ``kannala_brandt``, ...
    coefficients : sequence of float
        D. Trailing coefficients may be missing where OpenCV accepts fewer, and extra zeros may follow.

    Returns
    -------
    model : str
        One of `MODELS`.
    coefficients : tuple of float
        As many as OpenCV accepts.

    Raises
    ------
    ValueError
        If the model is unknown, or the number of coefficients does not fit it, or one is not finite.
    """
    name = model
    if name not in MODELS:
        name = model.strip().lower().replace("-", "_").replace(" ", "_")
        name = _ALIASES.get(name, name)
    counts = MODELS.get(name)
    if counts is None:
        raise ValueError(
            f"distortion model {model[:40]!r} is unknown (known: {', '.join(MODELS)}); publish rectified images"
        )
    d = tuple(map(float, coefficients))
    if len(d) not in counts and len(d) > counts[0]:
        while len(d) > counts[0] and d[-1] == 0.0:
            d = d[:-1]
        d += (0.0,) * (next((count for count in counts if count >= len(d)), len(d)) - len(d))
    if len(d) not in counts:
        takes = ", ".join(map(str, counts[:-1])) + " or " * (len(counts) > 1) + str(counts[-1])
        raise ValueError(f"distortion model {name} takes {takes} coefficients, got {len(d)}")
    if not all(map(math.isfinite, d)):
        raise ValueError(f"the coefficients of the distortion must be finite, got {list(d)}; is the camera calibrated?")
    return name, d


@dataclass(frozen=True)
class Lens:
    """
    Camera with lens distortion, as in ``sensor_msgs/CameraInfo``.

    Parameters
    ----------
    camera : PinholeCamera
        K and the size of the distorted image.
    model : str
        One of `MODELS`.
    coefficients : tuple of float
        D: k1 k2 p1 p2 k3 ..., or k1 k2 k3 k4 for the equidistant model.
    rotation : tuple of float
        R, nine numbers in row-major order.
    projection : PinholeCamera, optional
        P, at the same size. Without it, the rectified image shows the largest rectangle without empty corners.

    Raises
    ------
    ValueError
        If the model is unknown, the coefficients do not fit it, or R is not a rotation.
    """

    camera: PinholeCamera
    model: str
    coefficients: tuple[float, ...]
    rotation: tuple[float, ...] = _IDENTITY
    projection: PinholeCamera | None = None

    def __post_init__(self):
        """Check what OpenCV would misread."""
        known = (self.model, self.coefficients)
        if distortion(*known) != known:
            raise ValueError(f"coefficients of the distortion model {self.model} must be as `distortion` gives them")
        if self.rotation == _IDENTITY:
            return  # keep the usual case cheap: a lens is created for every frame
        turn = np.reshape(self.rotation, (3, 3))
        sound = np.abs(turn).max() < 2  # False for NaN
        if not sound or np.abs(turn @ turn.T - np.eye(3)).max() > 0.01 or np.linalg.det(turn) < 0:
            raise ValueError("R is not a rotation matrix; is the camera calibrated?")

    @classmethod
    def from_calibration(
        cls,
        width: int,
        height: int,
        k: Sequence[float],
        d: Sequence[float],
        model: str,
        r: Sequence[float] = (),
        p: Sequence[float] = (),
    ) -> Lens:
        """
        Create a lens from the fields of a camera_info message.

        Parameters
        ----------
        width, height : int
            Size of the calibrated image.
        k, d, r, p : sequence of float
            9, n, 9 and 12 numbers. `r` and `p` are ignored if empty or all zeros.
        model : str
            Name of the distortion model, as for `distortion`.

        Raises
        ------
        ValueError
            If K is not a valid camera matrix, or the coefficients do not fit the model.
        """
        camera = PinholeCamera(width, height, float(k[0]), float(k[4]), float(k[2]), float(k[5]))
        model, d = distortion(model, d)
        if not (len(p) and p[0] > 0):
            return cls(camera, model, d)
        projection = PinholeCamera(width, height, float(p[0]), float(p[5]), float(p[2]), float(p[6]))
        return cls(camera, model, d, tuple(map(float, r)) if any(r) else _IDENTITY, projection)

    @property
    def distorts(self) -> bool:
        """Whether the rectified image differs from the original."""
        return any(self.coefficients) or self.rotation != _IDENTITY

    @cached_property
    def rectified(self) -> PinholeCamera:
        """Pinhole camera of the rectified image, at the image's size."""
        if self.projection is not None:
            return self.projection
        c, d = self.camera, np.array(self.coefficients)
        size = (c.width, c.height)
        try:
            if self.model == "equidistant":
                K = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(c.k, d, size, np.eye(3), balance=0.0)
            else:
                K, _ = cv2.getOptimalNewCameraMatrix(c.k, d, size, 0.0)
            return PinholeCamera(*size, *map(float, (K[0, 0], K[1, 1], K[0, 2], K[1, 2])))
        except (cv2.error, ValueError):
            raise ValueError(
                f"an image with the distortion {self.model} {list(self.coefficients)} cannot be rectified to a view of "
                f"at most {WIDEST_FOV} degrees: set P of camera_info to a narrower view, or calibrate the camera again"
            ) from None

    def cropped(self, x: int, y: int, width: int, height: int) -> Lens:
        """Return the lens of a window of the image (``roi`` of the message)."""
        window = (x, y, width, height)
        projection = self.projection and self.projection.cropped(*window)
        return replace(self, camera=self.camera.cropped(*window), projection=projection)

    def resized(self, width: int, height: int) -> Lens:
        """Return the lens of the image resampled to another size (``binning`` of the message)."""
        projection = self.projection and self.projection.resized(width, height)
        return replace(self, camera=self.camera.resized(width, height), projection=projection)

    def pixels_of(self, view: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the position in the distorted image of each pixel of a rectified view.

        Parameters
        ----------
        view : PinholeCamera
            As for `Rectifier`.

        Returns
        -------
        u, v : numpy.ndarray
            float32 [h, w], pixel coordinates.
        """
        d, R = np.array(self.coefficients), np.reshape(self.rotation, (3, 3))
        maps = cv2.fisheye.initUndistortRectifyMap if self.model == "equidistant" else cv2.initUndistortRectifyMap
        return maps(self.camera.k, d, R, view.k, (view.width, view.height), cv2.CV_32FC1)

    @np.errstate(invalid="ignore", over="ignore")  # an unusable calibration may overflow
    def shows(self, view: PinholeCamera) -> np.ndarray | None:
        """
        Return which pixels of a rectified view lie in the image; depth of the others is meaningless.

        Parameters
        ----------
        view : PinholeCamera
            As for `Rectifier`, or the camera of the depth image.

        Returns
        -------
        numpy.ndarray or None
            bool [h, w]; None if all pixels lie in the image.
        """
        u, v = self.pixels_of(view)
        c = self.camera
        inside = (u > -0.5) & (u < c.width - 0.5) & (v > -0.5) & (v < c.height - 0.5)
        # Beyond the angle it was fitted for, a distortion polynomial is no longer monotonic. It maps the scene a second
        # time: mirrored, then on the other side of the centre.
        if min(u.shape) > 1:
            inside &= _upright(u, v)
        R, rays = np.reshape(self.rotation, (3, 3)).astype(np.float32), view.rays()
        x, y = (rays[..., 0] * R[0, axis] + rays[..., 1] * R[1, axis] + R[2, axis] for axis in (0, 1))
        inside &= (u - c.cx) / c.fx * x + (v - c.cy) / c.fy * y > 0.01 * (x * x + y * y) - 1e-6
        return None if inside.all() else inside


def _upright(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return where a pixel map does not mirror, bool [h, w]: where the determinant of its Jacobian is positive."""
    (u_down, u_right), (v_down, v_right) = np.gradient(u), np.gradient(v)
    return u_right * v_down > u_down * v_right
