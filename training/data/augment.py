"""
Joint augmentation of a colour image and its depth map.

All geometric augmentation is a virtual camera: a rotation about the optical centre and a zoom. The new depth therefore
follows exactly from the old one. Zooming by s divides depth by s, as in Eigen et al. (NIPS 2014): with the focal length
of the training camera, an object that appears s times larger is s times nearer.

A zoomed image is also blurred, by its interpolation. `Sharpness` breaks this link, without which a network learns that
a blurred image is near and a sharp one far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from training.data.colours import Colours, SunPatch
from training.data.virtual_camera import VirtualCamera

Range = tuple[float, float]

_BAR = 0.01  # half width of the bar of a window, in widths of the image


@dataclass
class Sharpness:
    """
    Random sharpness of the lens and the camera's own sharpening. At most one of the three is applied to an image.

    Parameters
    ----------
    blur, unsharp, coarse : float
        Probabilities of a Gaussian blur, of an unsharp mask, and of reducing and enlarging the image.
    deviation : tuple of float
        Range of the standard deviation of the blur. Pixels here are those of an image of one to two times the network's
        input size.
    amount, radius : tuple of float
        Ranges of the amount of the unsharp mask, and of the standard deviation of its blur in pixels.
    factor : tuple of float
        Range of the factor by which the image is reduced.

    Raises
    ------
    ValueError
        If the probabilities are negative or add up to more than 1.
    """

    blur: float = 0.45
    unsharp: float = 0.27
    coarse: float = 0.1
    deviation: Range = (0.3, 2.0)
    amount: Range = (0.3, 2.2)
    radius: Range = (0.6, 1.4)
    factor: Range = (1.3, 2.4)

    def __post_init__(self):
        """Check the probabilities."""
        _check_probabilities("sharpness", blur=self.blur, unsharp=self.unsharp, coarse=self.coarse)

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Draw ``sharpening``, ``sharpening_radius`` and ``coarse`` of `Colours`; those at their default are absent."""
        at = rng.random()
        if at < self.blur:
            return {"sharpening": -1.0, "sharpening_radius": rng.uniform(*self.deviation)}
        if at < self.blur + self.unsharp:
            return {"sharpening": rng.uniform(*self.amount), "sharpening_radius": rng.uniform(*self.radius)}
        if at < self.blur + self.unsharp + self.coarse:
            return {"coarse": rng.uniform(*self.factor)}
        return {}


@dataclass
class Light:
    """
    Random exposure, patches of sunlight, and cameras without colour.

    Parameters
    ----------
    bright, dark : float
        Probabilities of a longer and of a shorter exposure. At most one of them is applied to an image.
    bright_gain, dark_gain : tuple of float
        Ranges of the factor of the grey levels.
    sun : float
        Probability of a patch of sunlight.
    sun_gain : tuple of float
        Range of the light that the patch adds, as a multiple of what is there.
    bar : float
        Probability that the bar of a window shades the middle of the patch.
    grey : float
        Probability of an image without colour.

    Raises
    ------
    ValueError
        If a probability is not between 0 and 1, or the first two add up to more than 1.
    """

    bright: float = 0.25
    dark: float = 0.15
    bright_gain: Range = (1.1, 2.2)
    dark_gain: Range = (0.35, 0.8)
    sun: float = 0.25
    sun_gain: Range = (0.6, 2.2)
    bar: float = 0.5
    grey: float = 0.12

    def __post_init__(self):
        """Check the probabilities."""
        _check_probabilities("light", bright=self.bright, dark=self.dark)
        for name in ("sun", "bar", "grey"):
            _check_probabilities("light", **{name: getattr(self, name)})

    def draw(self, height: int, width: int, rng: np.random.Generator) -> dict[str, Any]:
        """Draw ``exposure``, ``sun`` and ``grey`` of `Colours` for an image; those at their default are absent."""
        drawn: dict[str, Any] = {}
        at = rng.random()
        if at < self.bright:
            drawn["exposure"] = rng.uniform(*self.bright_gain)
        elif at < self.bright + self.dark:
            drawn["exposure"] = rng.uniform(*self.dark_gain)
        if rng.random() < self.sun:
            drawn["sun"] = self._patch(height, width, rng)
        if rng.random() < self.grey:
            drawn["grey"] = True
        return drawn

    def _patch(self, height: int, width: int, rng: np.random.Generator) -> SunPatch:
        centre = rng.uniform(0, 1, 2) * (width, height)
        across = np.array([rng.uniform(0.05, 0.5) * width, rng.uniform(-0.25, 0.25) * height])
        along = np.array([rng.uniform(-0.15, 0.15) * width, rng.uniform(0.05, 0.5) * height])
        bar = _BAR * width if rng.random() < self.bar else 0.0
        return SunPatch(centre, across, along, rng.uniform(0.005, 0.025) * width, bar, rng.uniform(*self.sun_gain))


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
    noise : float
        Largest standard deviation of additive noise, in grey levels of an image of one to two times the network's input
        size.
    erase : float
        Probability of covering a rectangle of the image. Its ground truth depth stays.
    close_up : float
        Probability that the zoom is drawn from ``close_up_zoom`` instead of ``zoom``.
    close_up_zoom : tuple of float
        Range of the zoom factor of such an image.
    sharpness : Sharpness, optional
        Blur and sharpening; by default none.
    light : Light, optional
        Exposure and sunlight; by default unchanged.
    """

    zoom: Range = (1.0, 1.5)
    roll: float = 5.0
    pitch: float = 0.0
    yaw: float = 0.0
    flip: float = 0.5
    colour: Range = (0.8, 1.2)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    erase: float = 0.0
    close_up: float = 0.0
    close_up_zoom: Range = (1.4, 2.1)
    sharpness: Sharpness | None = None
    light: Light | None = None

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
        close = self.close_up > 0 and rng.random() < self.close_up
        zoom, place = rng.uniform(*(self.close_up_zoom if close else self.zoom)), rng.random(2)
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
        noise = rng.uniform(0, self.noise)
        covered = (0, 0, 0, 0)
        shade: np.ndarray = np.zeros(3)
        if rng.random() < self.erase:
            h, w = int(height * rng.uniform(0.1, 0.4)), int(width * rng.uniform(0.1, 0.4))
            covered = (int(rng.integers(0, height - h)), int(rng.integers(0, width - w)), h, w)
            shade = rng.uniform(0, 255, 3)
        before: dict[str, Any] = self.sharpness.draw(rng) if self.sharpness else {}
        if self.light:
            before |= self.light.draw(height, width, rng)
        return Colours(gain, contrast, saturation, exponent, noise, covered, shade, **before)

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
        height, width = image.shape[:2]
        return self.colours(height, width, rng).apply(image, rng)


def _check_probabilities(where: str, **exclusive: float) -> None:
    """Check the probabilities of things that exclude each other."""
    if min(exclusive.values()) < 0 or not sum(exclusive.values()) <= 1:
        named = ", ".join(f"{name} {value}" for name, value in exclusive.items())
        together = " and add up to at most 1" if len(exclusive) > 1 else ""
        raise ValueError(f"probabilities of {where} must be between 0 and 1{together}, got {named}")
