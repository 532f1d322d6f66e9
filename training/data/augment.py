"""
Joint augmentation of a colour image and its depth map.

All geometric augmentation is one virtual camera: a rotation about the optical centre and a zoom, so that the new
depth follows exactly from the old. Zooming by s divides depth by s, as in Eigen et al. (NIPS 2014): seen through
the training camera's focal length, an object s times larger is s times nearer.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_estimation_ros.camera import PinholeCamera


@dataclass
class Augmentation:
    """
    Random augmentation; the defaults are those of Eigen et al. 2014 as Laina et al. 2016 use them.

    Parameters
    ----------
    zoom : tuple of float
        Range of the zoom factor s.
    roll, pitch, yaw : float
        Largest rotation about the optical, the horizontal and the vertical axis, degrees.
    flip : float
        Probability of a left-right flip.
    colour : tuple of float
        Range of a factor for each colour channel.
    brightness, contrast, saturation : float
        Largest relative change.
    gamma : float
        Largest change of the logarithm of the gamma exponent.
    noise : float
        Largest standard deviation of additive noise, grey levels.
    erase : float
        Probability of covering a rectangle of the image, whose depth still has to be guessed.
    """

    zoom: tuple[float, float] = (1.0, 1.5)
    roll: float = 5.0
    pitch: float = 0.0
    yaw: float = 0.0
    flip: float = 0.5
    colour: tuple[float, float] = (0.8, 1.2)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    erase: float = 0.0

    def __call__(
        self, image: np.ndarray, depth: np.ndarray, camera: PinholeCamera, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Augment one pair.

        Parameters
        ----------
        image : numpy.ndarray
            uint8 [h, w, 3], RGB.
        depth : numpy.ndarray
            float32 [h, w], metres, 0 where unknown.
        camera : PinholeCamera
            Intrinsics of both.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        image, depth : numpy.ndarray
            Of the same shapes and types.
        """
        angles = np.radians([rng.uniform(-a, a) for a in (self.pitch, self.yaw, self.roll)])
        image, depth = virtual_camera(image, depth, camera, angles, rng.uniform(*self.zoom), rng)
        if rng.random() < self.flip:
            image, depth = cv2.flip(image, 1), cv2.flip(depth, 1)
        image = self._recolour(image, rng)
        if rng.random() < self.erase:
            h, w = depth.shape
            eh, ew = int(h * rng.uniform(0.1, 0.4)), int(w * rng.uniform(0.1, 0.4))
            y, x = rng.integers(0, h - eh), rng.integers(0, w - ew)
            image[y : y + eh, x : x + ew] = _to_bytes(rng.uniform(0, 255, 3).astype(np.float32))
        return image, np.ascontiguousarray(depth)

    def _recolour(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        gain = rng.uniform(*self.colour, 3) * (1 + rng.uniform(-self.brightness, self.brightness))
        if not (self.contrast or self.saturation or self.gamma or self.noise):
            # Each value is changed by itself: 256 of them are looked up.
            table = _to_bytes(np.arange(256, dtype=np.float32)[:, None] * gain.astype(np.float32))
            return cv2.LUT(np.ascontiguousarray(image), table[:, None])
        image = image.astype(np.float32) * gain.astype(np.float32)
        if self.contrast:
            image = (image - image.mean()) * np.float32(1 + rng.uniform(-self.contrast, self.contrast)) + image.mean()
        if self.saturation:
            grey = image.mean(axis=2, keepdims=True)
            image = grey + (image - grey) * np.float32(1 + rng.uniform(-self.saturation, self.saturation))
        if self.gamma:
            exponent = np.exp(rng.uniform(-self.gamma, self.gamma))
            image = 255 * (np.clip(image, 0, 255) / 255) ** np.float32(exponent)
        if self.noise:
            image = image + rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, self.noise))
        return _to_bytes(image)


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def virtual_camera(
    image: np.ndarray,
    depth: np.ndarray,
    camera: PinholeCamera,
    angles: np.ndarray,
    zoom: float,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Show a pair as the same camera would see it after a rotation and a zoom.

    Parameters
    ----------
    image, depth : numpy.ndarray
        uint8 [h, w, 3] and float32 [h, w], metres, 0 where unknown.
    camera : PinholeCamera
        Intrinsics of both.
    angles : numpy.ndarray
        Rotation vector of the new camera in the old one's frame, radians.
    zoom : float
        Zoom factor s; depths are divided by it.
    rng : numpy.random.Generator, optional
        Places the zoomed window at random inside the image; in its centre without.

    Returns
    -------
    image, depth : numpy.ndarray
        Of the same shapes; depth is 0 where the old image shows nothing.
    """
    h, w = depth.shape
    rotation = cv2.Rodrigues(np.asarray(angles, np.float64))[0]
    # Old pixel = K R K^-1 S new pixel, S taking the new image to its window in the old one.
    slack = np.array([w - 1, h - 1]) * (1 - 1 / zoom)
    corner = slack * (rng.random(2) if rng is not None else 0.5)
    window = np.array([[1 / zoom, 0, corner[0]], [0, 1 / zoom, corner[1]], [0, 0, 1]])
    to_old = camera.k @ rotation @ np.linalg.inv(camera.k) @ window
    flags = cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(image, to_old, (w, h), flags=flags | cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    turned = cv2.warpPerspective(depth, to_old, (w, h), flags=flags | cv2.INTER_NEAREST)
    # A point Z r of the old camera has the depth Z (R^T r)_z in the new; r = R r' / (R r')_z gives Z / (R r')_z.
    ys, xs = np.arange(h)[:, None], np.arange(w)[None]
    new_to_z = (rotation @ np.linalg.inv(camera.k) @ window)[2]
    turned /= np.float32(zoom) * (new_to_z[0] * xs + new_to_z[1] * ys + new_to_z[2]).astype(np.float32)
    return warped, turned
