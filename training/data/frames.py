"""From a decoded pair of images to a network's input and target: the same for every kind of storage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.imaging.resample import shrink
from training.data.augment import Augmentation


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
    """

    depth_limit: float = 10.0
    camera: PinholeCamera | None = None
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    augmentation: Augmentation | None = None
    seed: int = 0
    epoch: int = 0

    def __post_init__(self):
        """Refuse an augmentation without a camera."""
        self.halves = False
        if self.augmentation is None:
            return
        if self.camera is None:
            raise ValueError("augmentation needs the camera's intrinsics")
        stored = self.camera.height, self.camera.width
        if self.input_size:
            self.halves = all(s > 2 * i and s % 2 == 0 for s, i in zip(stored, self.input_size, strict=True))
        height, width = (s // 2 for s in stored) if self.halves else stored
        self._augmented = self.camera.resized(width, height)
        h, w = self.input_size or (height, width)
        # As `shrink` does it: to the size times a power of two, by a factor below two, and then halved.
        power = max(0, math.floor(math.log2(min(height / h, width / w))))
        self._seen = w << power, h << power

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
            # Sampled before it is converted: the same values, for less work.
            depth = self._metres(self._resampled(stored), scale)
        else:
            self._check_size(stored)
            if self.halves:
                image = shrink(image, self._augmented.width, self._augmented.height)
            rng = np.random.default_rng((self.seed, self.epoch, index))
            view = self.augmentation.view(self._augmented, rng)
            size = (self.output_size or stored.shape)[::-1]
            depth = self._metres(view.sample(stored, *size), scale) / view.factor(*size)
            image = self.augmentation.recolour(view.image(image, *self._seen), rng)
        if self.input_size is not None:
            image = shrink(image, *self.input_size[::-1])  # as on the robot
        return {"image": torch.from_numpy(np.ascontiguousarray(image)), "depth": torch.from_numpy(depth)[None]}

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
