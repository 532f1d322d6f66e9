"""Frames to train on, in the units of a model: depth as its training camera would see it, at its output size."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.imaging.resample import shrink
from depth_estimation_ros.model import ModelInfo
from training.data.augment import Augmentation, Light, Sharpness

# Images are kept at up to this many times the input size, so that a zoomed view is as sharp as any other.
KEPT = 1.5

AUGMENTATION = Augmentation(
    zoom=(1.0, 1.3),
    roll=4.0,
    pitch=3.0,
    yaw=3.0,
    brightness=0.2,
    contrast=0.2,
    saturation=0.3,
    gamma=0.2,
    noise=4.0,
    erase=0.2,
    sharpness=Sharpness(),
    light=Light(bright=0.15, dark=0.15, sun=0.15, grey=0.05),
)
"""The same for all frames. The site's own camera needs less zoom and light than the cameras of all sites."""


@dataclass(frozen=True)
class Frame:
    """
    Image with its depth.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 [h, w, 3], RGB.
    camera : PinholeCamera
        Intrinsics at the size of the image.
    truth : numpy.ndarray
        float32 [h', w'] of the model's output size, metres for its training camera, 0 where unknown.
    before : numpy.ndarray
        Depth that the model estimated before the training, as `truth`; 0 where it is not needed.
    """

    image: np.ndarray = field(repr=False)
    camera: PinholeCamera
    truth: np.ndarray = field(repr=False)
    before: np.ndarray = field(repr=False)

    def view(self, info: ModelInfo, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a random view: image uint8 [h, w, 3] of the input size, and truth and earlier depth [1, h', w']."""
        view = AUGMENTATION.view(self.camera, rng)
        image = AUGMENTATION.recolour(view.image(self.image, info.input_width, info.input_height), rng)
        height, width = self.truth.shape
        factor = view.factor(width, height)
        truth, before = (view.sample(depth, width, height)[None] / factor for depth in (self.truth, self.before))
        return image, truth, before

    def plain(self, info: ModelInfo) -> np.ndarray:
        """Return the image as the node on the robot prepares it, uint8 [h, w, 3] of the model's input size."""
        return shrink(self.image, info.input_width, info.input_height)


class FrameMaker:
    """
    Maker of frames for a model.

    Parameters
    ----------
    estimator : DepthEstimator
        The model before the training.
    """

    def __init__(self, estimator: DepthEstimator):
        self._estimator, self.info = estimator, estimator.model.info
        self._input = self.info.input_width, self.info.input_height
        self.output_size = self._estimate(np.zeros((self._input[1], self._input[0], 3), np.uint8)).shape

    def of_truth(self, rgb: np.ndarray, camera: PinholeCamera | None, truth: np.ndarray, remember: bool) -> Frame:
        """
        Make a frame of an image with ground truth.

        Parameters
        ----------
        rgb : numpy.ndarray
            uint8 [h, w, 3].
        camera : PinholeCamera or None
            Its intrinsics; None takes those of the training camera, as the estimator does.
        truth : numpy.ndarray
            float32 [h', w'], metres, NaN or 0 where unknown.
        remember : bool
            Whether to estimate ``before``.
        """
        camera = camera or self._training_camera()
        seen = camera.resized(*self._input)
        depth = on_grid(truth, self.output_size) / np.float32(self.info.depth_ratio(seen.fx, seen.fy))
        depth[depth >= self.info.max_depth] = 0
        return self._frame(rgb, camera, depth, self._estimate(rgb) if remember else np.zeros_like(depth))

    def of_estimate(self, rgb: np.ndarray, camera: PinholeCamera) -> Frame:
        """Make a frame of an image without ground truth, which takes what the model estimates."""
        before = self._estimate(rgb)
        return self._frame(rgb, camera, before, before)

    def _frame(self, rgb: np.ndarray, camera: PinholeCamera, truth: np.ndarray, before: np.ndarray) -> Frame:
        size = [min(side, round(KEPT * least)) for side, least in zip(rgb.shape[1::-1], self._input, strict=True)]
        return Frame(shrink(rgb, *size), camera.resized(*size), truth, before)

    def _estimate(self, rgb: np.ndarray) -> np.ndarray:
        return self._estimator.backend.infer(self._estimator.preprocess(rgb))["depth"][0, 0]

    def _training_camera(self) -> PinholeCamera:
        width, height = self._input
        return PinholeCamera(width, height, *self.info.focal_lengths, (width - 1) / 2, (height - 1) / 2)


def on_grid(truth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """
    Reduce ground truth to the size of a network's output without losing sparse points.

    Parameters
    ----------
    truth : numpy.ndarray
        float32 [h, w], metres, NaN or 0 where unknown.
    size : tuple of int
        (height, width) of the output.

    Returns
    -------
    numpy.ndarray
        float32 of that size, 0 where no pixel of the cell is known. A cell takes the pixel at its centre, or if that is
        unknown, another one of its pixels.
    """
    height, width = size
    known = np.isfinite(truth) & (truth > 0)
    centres = cv2.resize(np.where(known, truth, np.float32(0)), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    rows, columns = np.nonzero(known)
    others = np.zeros_like(centres)
    others[rows * height // truth.shape[0], columns * width // truth.shape[1]] = truth[rows, columns]
    return np.where(centres > 0, centres, others)
