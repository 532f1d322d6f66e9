"""
Joint augmentation of a colour image and its depth map.

All geometric augmentation is a virtual camera: a rotation about the optical centre and a zoom. The new depth therefore
follows exactly from the old one. Zooming by s divides depth by s, as in Eigen et al. (NIPS 2014): with the focal length
of the training camera, an object that appears s times larger is s times nearer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from depth_estimation_ros.camera import PinholeCamera


@dataclass
class Augmentation:
    """
    Random augmentation. The defaults are those of Eigen et al. 2014, as used by Laina et al. 2016.

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
    blur : float
        Largest standard deviation of a Gaussian blur, in pixels of an image of one to two times the network's input
        size.
    noise : float
        Largest standard deviation of additive noise in the same image, grey levels.
    erase : float
        Probability of covering a rectangle of the image. Its ground truth depth stays.
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
    blur: float = 0.0
    noise: float = 0.0
    erase: float = 0.0

    def view(self, camera: PinholeCamera, rng: np.random.Generator) -> VirtualCamera:
        """
        Draw a random view.

        Parameters
        ----------
        camera : PinholeCamera
            Intrinsics of the images to augment.
        rng : numpy.random.Generator
            Source of randomness.
        """
        angles = np.radians([rng.uniform(-a, a) for a in (self.pitch, self.yaw, self.roll)])
        zoom, place = rng.uniform(*self.zoom), rng.random(2)
        return VirtualCamera(camera, angles, zoom, place, mirrored=rng.random() < self.flip)

    def colours(self, height: int, width: int, rng: np.random.Generator) -> Colours:
        """
        Draw a random change of colours and a rectangle to cover.

        Parameters
        ----------
        height, width : int
            Size of the image.
        rng : numpy.random.Generator
            Source of randomness.
        """
        gain = rng.uniform(*self.colour, 3) * (1 + rng.uniform(-self.brightness, self.brightness))
        contrast, saturation = (1 + rng.uniform(-most, most) for most in (self.contrast, self.saturation))
        exponent = math.exp(rng.uniform(-self.gamma, self.gamma))
        blur, noise = rng.uniform(0, self.blur), rng.uniform(0, self.noise)
        covered, shade = (0, 0, 0, 0), np.zeros(3)
        if rng.random() < self.erase:
            h, w = int(height * rng.uniform(0.1, 0.4)), int(width * rng.uniform(0.1, 0.4))
            covered = (int(rng.integers(0, height - h)), int(rng.integers(0, width - w)), h, w)
            shade = rng.uniform(0, 255, 3)
        return Colours(gain, contrast, saturation, exponent, blur, noise, covered, shade)

    def recolour(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """
        Change the colours of an image at random, and cover a part of it.

        Parameters
        ----------
        image : numpy.ndarray
            uint8 [h, w, 3], RGB.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        numpy.ndarray
            uint8 [h, w, 3], RGB.
        """
        return self.colours(*image.shape[:2], rng).apply(image, rng)


@dataclass(frozen=True)
class Colours:
    """
    Change of the colours of one image, applied in this order except where noted.

    Parameters
    ----------
    gain : numpy.ndarray
        Factor of each channel, [3].
    contrast, saturation : float
        Factors of the difference from the mean of the image, and of the difference from the mean of the pixel's
        channels.
    exponent : float
        Exponent of the grey levels divided by 255.
    blur, noise : float
        Standard deviations of a Gaussian blur in pixels, which is applied first, and of additive noise in grey levels.
    covered : tuple of int
        (y, x, height, width) of the rectangle that is covered last; height 0 covers nothing.
    shade : numpy.ndarray
        Grey levels of the rectangle: red, green, blue.
    """

    gain: np.ndarray
    contrast: float
    saturation: float
    exponent: float
    blur: float
    noise: float
    covered: tuple[int, int, int, int]
    shade: np.ndarray

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the changed image, uint8 [h, w, 3]; ``rng`` draws the noise."""
        if self.blur:
            side = 2 * blur_radius(self.blur) + 1
            image = cv2.GaussianBlur(image, (side, side), self.blur)
        image = self._recolour(image, rng)
        y, x, h, w = self.covered
        image[y : y + h, x : x + w] = _to_bytes(self.shade.astype(np.float32))
        return image

    def _recolour(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.contrast == self.saturation == self.exponent == 1 and not self.noise:
            # cv2.transform is vectorised: a sixth of the time of a lookup table per channel.
            return cv2.transform(image, np.diag(self.gain))
        image = image.astype(np.float32) * self.gain.astype(np.float32)
        if self.contrast != 1:
            mean = image.mean()
            image = (image - mean) * np.float32(self.contrast) + mean
        if self.saturation != 1:
            grey = image.mean(axis=2, keepdims=True)
            image = grey + (image - grey) * np.float32(self.saturation)
        if self.exponent != 1:
            image = 255 * (np.clip(image, 0, 255) / 255) ** np.float32(self.exponent)
        if self.noise:
            image = image + rng.standard_normal(image.shape, np.float32) * np.float32(self.noise)
        return _to_bytes(image)


def blur_radius(deviation: float) -> int:
    """Return the radius of a blur in pixels: three standard deviations."""
    return math.ceil(3 * deviation)


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


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
    place : tuple of float
        Position (x, y) of the zoomed window in the image, from 0 (left, top) to 1.
    mirrored : bool
        Flip left and right.
    """

    def __init__(
        self,
        camera: PinholeCamera,
        angles: np.ndarray,
        zoom: float,
        place: tuple[float, float] = (0.5, 0.5),
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
        options = {"flags": interpolation | cv2.WARP_INVERSE_MAP, "borderMode": border}
        if self._flat:
            return cv2.warpAffine(stored, matrix[:2], (width, height), **options)
        return cv2.warpPerspective(stored, matrix, (width, height), **options)


def _resizing(source: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
    """Return the matrix [3, 3] from pixels of one (width, height) to those of another, with the edges aligned."""
    x, y = (t / s for s, t in zip(source, target, strict=True))
    return np.array([[x, 0, 0.5 * (x - 1)], [0, y, 0.5 * (y - 1)], [0, 0, 1]])
