"""Change of the colours of one image: sharpness, light, colour and noise. `training.data.colours_on_device` follows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

SUNLIGHT = np.array([1.0, 0.95, 0.85], np.float32)  # light of the sun beside that of a room: red, green, blue


@dataclass(frozen=True)
class SunPatch:
    """
    Patch of sunlight: a parallelogram with soft edges, perhaps with the shadow of a window's bar.

    Parameters
    ----------
    centre : numpy.ndarray
        Its centre (x, y), pixels.
    across, along : numpy.ndarray
        Half of each pair of edges, (x, y), pixels.
    penumbra : float
        Width of the edges, inwards, pixels.
    bar : float
        Half the width of the bar, which lies in the direction of ``along`` through the centre; 0 is no bar.
    gain : float
        Light that it adds, as a multiple of what is there.
    """

    centre: np.ndarray
    across: np.ndarray
    along: np.ndarray
    penumbra: float
    bar: float
    gain: float

    def planes(self) -> np.ndarray:
        """
        Return (a, b, c) of the two coordinates a x + b y + c of a pixel in the patch, [2, 3].

        Both are between -1 and 1 inside. The length of (a, b) is their change by pixel.
        """
        inverse = np.linalg.inv(np.column_stack([self.across, self.along]))
        return np.column_stack([inverse, -inverse @ self.centre])

    def mask(self, height: int, width: int) -> np.ndarray:
        """Return the share of the sun that reaches each pixel, float32 [height, width], 0 to 1."""
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        lit = np.ones((height, width), np.float32)
        planes: np.ndarray = self.planes().astype(np.float32)
        for i, (a, b, c) in enumerate(planes):
            by_pixel = np.hypot(a, b)
            coordinate = np.abs(a * x + (b * y + c))
            # Distances from the edge and from the bar, pixels.
            lit *= np.clip((1 - coordinate) / (by_pixel * self.penumbra), 0, 1)
            if i == 0 and self.bar:
                lit *= np.clip((coordinate / by_pixel - self.bar) / self.penumbra, 0, 1)
        return lit


@dataclass(frozen=True)
class Colours:
    """
    Change of the colours of one image.

    Applied in this order: sharpness, exposure, sun, grey (what another camera would have recorded, whole grey levels
    from 0 to 255), then gain, contrast, saturation, exponent, noise, and the rectangle.

    Parameters
    ----------
    gain : numpy.ndarray
        Factor of each channel, [3].
    contrast, saturation : float
        Factors of the difference from the mean of the image, and of the difference from the mean of the pixel's
        channels.
    exponent : float
        Exponent of the grey levels divided by 255.
    noise : float
        Standard deviation of additive noise, grey levels.
    covered : tuple of int
        (y, x, height, width) of the rectangle that is covered last; height 0 covers nothing.
    shade : numpy.ndarray
        Grey levels of the rectangle: red, green, blue.
    sharpening, sharpening_radius : float
        Factor of the difference from a blurred image that is added, and standard deviation of its Gaussian in pixels.
        -1 gives the blurred image; positive values are an unsharp mask.
    coarse : float
        Factor by which the image is reduced and enlarged again; 1 changes nothing.
    exposure : float
        Factor of the grey levels.
    sun : SunPatch, optional
        Patch of sunlight.
    grey : bool
        Replace the channels by their mean.
    """

    gain: np.ndarray
    contrast: float
    saturation: float
    exponent: float
    noise: float
    covered: tuple[int, int, int, int]
    shade: np.ndarray
    sharpening: float = 0.0
    sharpening_radius: float = 1.0
    coarse: float = 1.0
    exposure: float = 1.0
    sun: SunPatch | None = None
    grey: bool = False

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the changed image, uint8 [h, w, 3]; ``rng`` draws the noise."""
        image = self._recolour(self._recorded(image), rng)
        y, x, h, w = self.covered
        image[y : y + h, x : x + w] = _to_bytes(self.shade.astype(np.float32))
        return image

    def _recorded(self, image: np.ndarray) -> np.ndarray:
        """Return what a camera of another sharpness would have recorded in another light, uint8 [h, w, 3]."""
        if self.sharpening == 0 and self.coarse == self.exposure == 1 and self.sun is None and not self.grey:
            return image
        height, width = image.shape[:2]
        image = image.astype(np.float32)
        if self.sharpening:
            side = 2 * blur_radius(self.sharpening_radius) + 1
            blurred = cv2.GaussianBlur(image, (side, side), self.sharpening_radius)
            image = image + np.float32(self.sharpening) * (image - blurred)
        if self.coarse != 1:
            small = cv2.resize(image, reduced(width, height, self.coarse), interpolation=cv2.INTER_AREA)
            image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
        image = image * np.float32(self.exposure)
        if self.sun is not None:
            light = np.float32(self.sun.gain) * SUNLIGHT
            image = image * (1 + self.sun.mask(height, width)[..., None] * light)
        if self.grey:
            image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
        return _to_bytes(image)

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


def reduced(width: int, height: int, factor: float) -> tuple[int, int]:
    """Return (width, height) of an image reduced by a factor."""
    return max(1, int(width / factor)), max(1, int(height / factor))


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)
