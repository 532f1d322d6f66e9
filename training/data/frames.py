"""From a decoded pair of images to a network's input and target: the same for every kind of storage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.imaging.resample import shrink
from training.data.augment import Augmentation, Colours, VirtualCamera


@dataclass
class FrameTransform:
    """
    Mask, augment and resample one pair.

    Parameters
    ----------
    depth_limit : float
        Depths from here on are saturated and count as unknown, metres.
    camera : PinholeCamera, optional
        Intrinsics of the stored images; needed where an augmentation is given.
    input_size, output_size : tuple of int, optional
        (height, width) of the network's input and output; the stored size where left out.
    augmentation : Augmentation, optional
        Applied while resampling, so that each image is interpolated once; frames more than twice the input's size are
        halved first, as Laina et al. halve NYU's 640x480.
    seed : int
        Seed of the augmentation; item i of epoch e is the same whatever the number of workers.
    epoch : int
        Number of the epoch.
    focal_length : float, optional
        Pixels at the network's input, of the camera whose depths these are to become: seen through another focal
        length, an image means other depths (Facil et al., CAM-Convs, CVPR 2019). The camera's own without it.
    aspect : float, optional
        Width by height of what is left of the stored images, cropped around their centre; all without it.
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
        """Derive the camera as it is augmented, ``viewed``, and (width, height) of its views and of its depth."""
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
        # As `shrink` does it: to the size times a power of two, by a factor below two, and then halved.
        power = max(0, math.floor(math.log2(min(seen.height / height, seen.width / width))))
        self.viewed, self.seen_size = seen, (width << power, height << power)
        self.stored_size = camera.width, camera.height

    @property
    def colour_flag(self) -> int:
        """OpenCV's flag for decoding the colour image: a JPEG can be halved while it is decoded, in half the time."""
        return cv2.IMREAD_REDUCED_COLOR_2 if self.halves else cv2.IMREAD_COLOR

    def __call__(self, image: np.ndarray, stored: np.ndarray, scale: float, index: int) -> dict[str, torch.Tensor]:
        """
        Make an item of a dataset.

        Parameters
        ----------
        image : numpy.ndarray
            uint8 [H, W, 3], RGB; or half that size, if decoded with `colour_flag`.
        stored : numpy.ndarray
            Depth as it is stored, [H, W], 0 or NaN where unknown.
        scale : float
            Metres per unit of it.
        index : int
            Number of the frame, which with the epoch seeds its augmentation.

        Returns
        -------
        dict
            ``image`` uint8 [h, w, 3] RGB and ``depth`` float32 [1, h', w'], metres, 0 where unknown.

        Raises
        ------
        ValueError
            If the images are not of the camera's size.
        """
        if self.augmentation is None:
            image, stored = self.cropped(image, stored)
            # Sampled before it is converted: the same values, for less work.
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
        """Draw the augmentation of a frame: where it is seen from, its colours, and a generator for their noise."""
        rng = np.random.default_rng((self.seed, self.epoch, index))
        view = self.augmentation.view(self.viewed, rng)
        return view, self.augmentation.colours(*self.seen_size[::-1], rng), rng

    def prepared(self, image: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a pair as it is before its augmentation: cropped, the image halved if it is large."""
        self._check_size(stored)
        image, stored = self.cropped(image, stored)
        return (shrink(image, self.viewed.width, self.viewed.height) if self.halves else image), stored

    def cropped(self, image: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the part of a pair that is used; the image may have half the size of the depth."""
        if self._window is None:
            return image, stored
        self._check_size(stored)
        x, y, width, height = self._window
        times = stored.shape[1] // image.shape[1]
        part = image[y // times : (y + height) // times, x // times : (x + width) // times]
        return part, stored[y : y + height, x : x + width]

    def metres(self, stored: np.ndarray, scale: float) -> np.ndarray:
        """Return stored depth in metres, 0 where it is unknown, for the focal length that is asked for."""
        return self._metres(stored, scale) * self._canonical

    def _check_size(self, stored: np.ndarray) -> None:
        camera = self.camera
        if stored.shape != (camera.height, camera.width):
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
    """Return (x, y, width, height) of the largest window of an aspect about the centre, all even."""
    width = min(camera.width, 2 * round(camera.height * aspect / 2))
    height = min(camera.height, 2 * round(camera.width / aspect / 2))
    return (camera.width - width) // 4 * 2, (camera.height - height) // 4 * 2, width, height
