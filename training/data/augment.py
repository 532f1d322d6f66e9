"""
Joint augmentation of a colour image and its depth map.

All geometric augmentation is one virtual camera: a rotation about the optical centre and a zoom, so that the new
depth follows exactly from the old. Zooming by s divides depth by s, as in Eigen et al. (NIPS 2014): seen through
the training camera's focal length, an object s times larger is s times nearer.
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
    blur : float
        Largest standard deviation of a Gaussian blur, pixels of an image of one to two times the network's size.
    noise : float
        Largest standard deviation of additive noise, grey levels, in the same image.
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
    blur: float = 0.0
    noise: float = 0.0
    erase: float = 0.0

    def view(self, camera: PinholeCamera, rng: np.random.Generator) -> VirtualCamera:
        """
        Draw where to look from.

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
        Draw how to change the colours of an image, and what to cover.

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
        Change the colours of an image, and cover a part of it.

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
    What is done to the colours of one image, in this order.

    Parameters
    ----------
    gain : numpy.ndarray
        Factor of each channel.
    contrast, saturation : float
        Factors of the distance from the mean of the image and from the mean of the pixel's channels.
    exponent : float
        Of the grey levels, as a share of 255.
    blur, noise : float
        Standard deviations of a Gaussian blur, pixels, which comes first, and of additive noise, grey levels.
    covered : tuple of int
        (y, x, height, width) of a rectangle that is covered at last; none where the height is 0.
    shade : numpy.ndarray
        Its grey levels, red, green and blue.
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
        """Return the changed image, uint8 [h, w, 3]; the generator is for the noise of its pixels."""
        if self.blur:
            side = 2 * blur_radius(self.blur) + 1
            image = cv2.GaussianBlur(image, (side, side), self.blur)
        image = self._recolour(image, rng)
        y, x, h, w = self.covered
        image[y : y + h, x : x + w] = _to_bytes(self.shade.astype(np.float32))
        return image

    def _recolour(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.contrast == self.saturation == self.exponent == 1 and not self.noise:
            # Vectorised in OpenCV: a sixth of the time of a table for each channel.
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
    """Return how many pixels a blur reaches: three standard deviations."""
    return math.ceil(3 * deviation)


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


class VirtualCamera:
    """
    A view of a pair of images as the same camera would have it after a rotation and a zoom, and in a mirror.

    Each image is sampled once, straight to the size that is asked for.

    Parameters
    ----------
    camera : PinholeCamera
        Intrinsics of the pair, whatever the sizes at which it is stored.
    angles : numpy.ndarray
        Rotation vector of the new camera in the old one's frame, radians.
    zoom : float
        Zoom factor s; depths are divided by it.
    place : tuple of float
        Where the zoomed window lies in the image, from 0 (left, top) to 1.
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
        # Old pixel = K R K^-1 W new pixel, W taking the new image to its window in the old one.
        turned = rotation @ np.linalg.inv(camera.k) @ window
        self._to_old, self._to_z = camera.k @ turned, turned[2]
        self._flat = not np.any(angles[:2])  # rolling leaves parallel lines parallel

    def image(self, image: np.ndarray, width: int, height: int) -> np.ndarray:
        """Return how it sees a uint8 [h, w, 3] image, interpolated, at a size up to twice smaller."""
        # Four channels are vectorised in OpenCV, three are not: half the time, the same values.
        seen = self._warp(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), width, height, cv2.INTER_LINEAR, cv2.BORDER_REFLECT)
        return cv2.cvtColor(seen, cv2.COLOR_RGBA2RGB)

    def sample(self, depth: np.ndarray, width: int, height: int) -> np.ndarray:
        """Return the nearest pixels of a [h, w] depth image as it is stored: 0 where it shows nothing."""
        return self._warp(depth, width, height, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)

    def factor(self, width: int, height: int) -> np.ndarray | np.float32:
        """Return what depths of `sample` are to be divided by, float32 [height, width] or one for all."""
        if self._flat:
            return np.float32(self.zoom)
        a, b, c = self.factor_plane(width, height)
        return (a * np.arange(width) + (b * np.arange(height) + c)[:, None]).astype(np.float32)

    def factor_plane(self, width: int, height: int) -> np.ndarray:
        """Return (a, b, c) of that factor at the pixel (x, y): a x + b y + c."""
        # A point Z r of the old camera has the depth Z (R^T r)_z in the new; r = R r' / (R r')_z gives Z / (R r')_z.
        return self.zoom * self._to_z @ _resizing((width, height), (self.camera.width, self.camera.height))

    def matrix(self, width: int, height: int, stored: tuple[int, int]) -> np.ndarray:
        """Return the matrix [3, 3] from pixels of what it sees, at a size, to those of an image of another."""
        own = self.camera.width, self.camera.height
        return _resizing(own, stored) @ self._to_old @ _resizing((width, height), own)

    def _warp(self, stored: np.ndarray, width: int, height: int, interpolation: int, border: int) -> np.ndarray:
        matrix = self.matrix(width, height, stored.shape[1::-1])
        options = {"flags": interpolation | cv2.WARP_INVERSE_MAP, "borderMode": border}
        if self._flat:
            return cv2.warpAffine(stored, matrix[:2], (width, height), **options)
        return cv2.warpPerspective(stored, matrix, (width, height), **options)


def _resizing(source: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
    """Return the matrix [3, 3] from the pixels of one (width, height) to those of another, edges on edges."""
    x, y = (t / s for s, t in zip(source, target, strict=True))
    return np.array([[x, 0, 0.5 * (x - 1)], [0, y, 0.5 * (y - 1)], [0, 0, 1]])
