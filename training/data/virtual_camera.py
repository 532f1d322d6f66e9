"""A virtual camera: the same camera after a rotation about its optical centre, a zoom and a left-right flip."""

from __future__ import annotations

import cv2
import numpy as np

from depth_estimation_ros.camera import PinholeCamera


class VirtualCamera:
    """
    View of an image and its depth by the same camera after a rotation, a zoom and, optionally, a left-right flip.

    Each image is sampled once, directly at the requested size.

    Parameters
    ----------
    camera : PinholeCamera
        Intrinsics of the pair. The images may be stored at other sizes of the same view.
    angles : numpy.ndarray
        Rotation vector of the new camera in the frame of the old one, radians.
    zoom : float
        Zoom factor s. Depths are divided by s.
    place : tuple of float, or numpy.ndarray
        Position (x, y) of the zoomed window in the image, from 0 (left, top) to 1.
    mirrored : bool
        Flip left and right.
    """

    def __init__(
        self,
        camera: PinholeCamera,
        angles: np.ndarray,
        zoom: float,
        place: tuple[float, float] | np.ndarray = (0.5, 0.5),
        mirrored: bool = False,
    ):
        self.camera, self.zoom = camera, zoom
        rotation = cv2.Rodrigues(np.asarray(angles, np.float64))[0]
        corner = np.array([camera.width - 1, camera.height - 1]) * (1 - 1 / zoom) * place
        window = np.array([[1 / zoom, 0, corner[0]], [0, 1 / zoom, corner[1]], [0, 0, 1]])
        if mirrored:
            window = window @ np.array([[-1, 0, camera.width - 1], [0, 1, 0], [0, 0, 1]])
        # Old pixel = K R K^-1 W new pixel, where W maps the new image to its window in the old one.
        turned = rotation @ np.linalg.inv(camera.k) @ window
        self._to_old, self._to_z = camera.k @ turned, turned[2]
        self._flat = not np.any(angles[:2])  # a roll keeps parallel lines parallel

    def image(self, image: np.ndarray, width: int, height: int) -> np.ndarray:
        """Return the view of a uint8 [h, w, 3] image by bilinear interpolation, reduced by a factor of at most two."""
        # OpenCV vectorises four channels but not three: the same values in half the time.
        seen = self._warp(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), width, height, cv2.INTER_LINEAR, cv2.BORDER_REFLECT)
        return cv2.cvtColor(seen, cv2.COLOR_RGBA2RGB)

    def sample(self, depth: np.ndarray, width: int, height: int) -> np.ndarray:
        """Return the view of a [h, w] stored depth image by nearest neighbour, 0 outside of it."""
        return self._warp(depth, width, height, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)

    def factor(self, width: int, height: int) -> np.ndarray | np.float32:
        """Return the divisor for the depths of `sample`, float32 [height, width], or a scalar."""
        if self._flat:
            return np.float32(self.zoom)
        a, b, c = self.factor_plane(width, height)
        return (a * np.arange(width) + (b * np.arange(height) + c)[:, None]).astype(np.float32)

    def factor_plane(self, width: int, height: int) -> np.ndarray:
        """Return (a, b, c) of the factor a x + b y + c at pixel (x, y)."""
        # A point Z r of the old camera has depth Z (R^T r)_z in the new one. With r = R r' / (R r')_z: Z / (R r')_z.
        return self.zoom * self._to_z @ _resizing((width, height), (self.camera.width, self.camera.height))

    def matrix(self, width: int, height: int, stored: tuple[int, int]) -> np.ndarray:
        """Return the matrix [3, 3] from pixels of the view of this size to pixels of the stored image."""
        own = self.camera.width, self.camera.height
        return _resizing(own, stored) @ self._to_old @ _resizing((width, height), own)

    def _warp(self, stored: np.ndarray, width: int, height: int, interpolation: int, border: int) -> np.ndarray:
        matrix = self.matrix(width, height, stored.shape[1::-1])
        flags = interpolation | cv2.WARP_INVERSE_MAP
        if self._flat:
            return cv2.warpAffine(stored, matrix[:2], (width, height), flags=flags, borderMode=border)
        return cv2.warpPerspective(stored, matrix, (width, height), flags=flags, borderMode=border)


def _resizing(source: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
    """Return the matrix [3, 3] from pixels of one (width, height) to those of another, with the edges aligned."""
    x, y = (t / s for s, t in zip(source, target, strict=True))
    return np.array([[x, 0, 0.5 * (x - 1)], [0, y, 0.5 * (y - 1)], [0, 0, 1]])
