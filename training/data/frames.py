"""Conversion of a decoded pair of images to the input and target of a network, for every kind of storage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.imaging.resample import shrink
from training.data.augment import Augmentation
from training.data.colours import Colours
from training.data.virtual_camera import VirtualCamera


def camera_of(given: dict[str, float]) -> PinholeCamera:
    """Return the camera that a recipe or checkpoint names; jsonargparse has made its sizes floats, e.g. 320.0."""
    sizes = {k: int(given[k]) for k in ("width", "height") if float(given[k]).is_integer()}
    values: dict[str, Any] = {**given, **sizes}
    return PinholeCamera(**values)


@dataclass
class FrameTransform:
    """
    Mask, augment and resample one pair.

    Parameters
    ----------
    depth_limit : float
        Depths of this value or more are saturated and count as unknown, metres.
    camera : PinholeCamera, optional
        Intrinsics of the stored images; required for an augmentation.
    input_size, output_size : tuple of int, optional
        (height, width) of the network's input and output; by default the stored size.
    augmentation : Augmentation, optional
        Applied together with the resampling, so that each image is interpolated once. Frames of more than twice the
        input size are halved first, as Laina et al. halve the 640x480 images of NYU Depth v2.
    seed : int
        Seed of the augmentation. Item i of epoch e does not depend on the number of workers.
    epoch : int
        Number of the epoch.
    focal_length : float, optional
        Focal length in pixels at the network's input to which depths are converted, because the same image taken with
        another focal length shows other depths (Facil et al., CAM-Convs, CVPR 2019). By default that of ``camera``.
    aspect : float, optional
        Aspect ratio, width by height, to which the stored images are cropped around their centre; by default no crop.
    """

    depth_limit: float = 10.0
    camera: PinholeCamera | None = None
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    augmentation: Augmentation | None = None
    seed: int = 0
    epoch: int = 0
    focal_length: float | None = None
    aspect: float | None = None

    def __post_init__(self):
        """Derive the camera of the images to augment, ``viewed``, and (width, height) of the views and of the depth."""
        self.halves = False
        self._window, self._canonical = None, np.float32(1)
        if self.camera is None:
            if self.augmentation is not None:
                raise ValueError("augmentation needs the camera's intrinsics")
            return
        camera = self.camera
        if self.aspect:
            self._window = _centred(camera, self.aspect)
            camera = camera.cropped(*self._window)
        height, width = self.input_size or (camera.height, camera.width)
        if self.focal_length:
            self._canonical = np.float32(self.focal_length / camera.resized(width, height).focal_length)
        self.halves = self.augmentation is not None and all(
            s > 2 * i and s % 2 == 0 for s, i in ((camera.height, height), (camera.width, width))
        )
        seen = camera.resized(camera.width // 2, camera.height // 2) if self.halves else camera
        # As `shrink` does: first by a factor below two, to the size times a power of two, then by halving.
        power = max(0, math.floor(math.log2(min(seen.height / height, seen.width / width))))
        self.viewed, self.seen_size = seen, (width << power, height << power)
        self.stored_size = camera.width, camera.height

    @property
    def colour_flag(self) -> int:
        """OpenCV flag for decoding the colour image. Halving a JPEG while decoding takes half the time."""
        return cv2.IMREAD_REDUCED_COLOR_2 if self.halves else cv2.IMREAD_COLOR

    def __call__(self, image: np.ndarray, stored: np.ndarray, scale: float, index: int) -> dict[str, torch.Tensor]:
        """
        Make an item of a dataset from a pair.

        Parameters
        ----------
        image : numpy.ndarray
            uint8 [H, W, 3], RGB, or half that size if decoded with `colour_flag`.
        stored : numpy.ndarray
            Depth as stored, [H, W], 0 or NaN where unknown.
        scale : float
            Metres per unit of ``stored``.
        index : int
            Number of the frame. It seeds the augmentation, together with the epoch.

        Returns
        -------
        dict
            ``image`` uint8 [h, w, 3] RGB and ``depth`` float32 [1, h', w'], metres, 0 where unknown.

        Raises
        ------
        ValueError
            If the images do not have the size of the camera.
        """
        if self.augmentation is None:
            image, stored = self.cropped(image, stored)
            # Resampled before the conversion: the same values with less work.
            depth = self._metres(self._resampled(stored), scale)
        else:
            image, stored = self.prepared(image, stored)
            view, colours, rng = self.draw(index)
            size = (self.output_size or stored.shape)[::-1]
            depth = self._metres(view.sample(stored, *size), scale) / view.factor(*size)
            image = colours.apply(view.image(image, *self.seen_size), rng)
        depth *= self._canonical
        if self.input_size is not None:
            image = shrink(image, *self.input_size[::-1])  # as on the robot
        return {"image": torch.from_numpy(np.ascontiguousarray(image)), "depth": torch.from_numpy(depth)[None]}

    def draw(self, index: int) -> tuple[VirtualCamera, Colours, np.random.Generator]:
        """Draw the augmentation of a frame: its view, its colours, and a generator for their noise."""
        rng = np.random.default_rng((self.seed, self.epoch, index))
        augmentation, (width, height) = self.augmentation, self.seen_size
        if augmentation is None:
            raise ValueError("these frames are not augmented")
        return augmentation.view(self.viewed, rng), augmentation.colours(height, width, rng), rng

    def prepared(self, image: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a pair ready for augmentation: cropped, and the image halved if it is large."""
        self._check_size(stored)
        image, stored = self.cropped(image, stored)
        return (shrink(image, self.viewed.width, self.viewed.height) if self.halves else image), stored

    def cropped(self, image: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a pair cropped to ``aspect``. The image may have half the size of the depth."""
        if self._window is None:
            return image, stored
        self._check_size(stored)
        x, y, width, height = self._window
        times = stored.shape[1] // image.shape[1]
        part = image[y // times : (y + height) // times, x // times : (x + width) // times]
        return part, stored[y : y + height, x : x + width]

    def metres(self, stored: np.ndarray, scale: float) -> np.ndarray:
        """Return stored depth in metres for ``focal_length``, 0 where unknown."""
        return self._metres(stored, scale) * self._canonical

    def _check_size(self, stored: np.ndarray) -> None:
        camera = self.camera
        if camera is not None and stored.shape != (camera.height, camera.width):
            raise ValueError(
                f"the stored frames are {stored.shape[1]}x{stored.shape[0]}, the recipe's camera "
                f"{camera.width}x{camera.height}; give the camera of the stored frames"
            )

    def _metres(self, stored: np.ndarray, scale: float) -> np.ndarray:
        depth = stored.astype(np.float32) * np.float32(scale)
        depth[~(depth < self.depth_limit)] = 0
        return depth

    def _resampled(self, depth: np.ndarray) -> np.ndarray:
        if self.output_size is None:
            return depth
        return cv2.resize(depth, self.output_size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _centred(camera: PinholeCamera, aspect: float) -> tuple[int, int, int, int]:
    """Return (x, y, width, height) of the largest centred window of an aspect ratio, all even."""
    width = min(camera.width, 2 * round(camera.height * aspect / 2))
    height = min(camera.height, 2 * round(camera.width / aspect / 2))
    return (camera.width - width) // 4 * 2, (camera.height - height) // 4 * 2, width, height
