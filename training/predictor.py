"""A model as it is evaluated: through the robot's pipeline, with its certainty where it gives one."""

from __future__ import annotations

import math

import numpy as np
from torch.utils.data import Dataset

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.estimator import DepthEstimator


class Predictor:
    """
    A model whose estimates have the size of the image.

    Parameters
    ----------
    estimator : DepthEstimator
        The pipeline.
    flip : bool
        Average each estimate with that of the mirrored image.
    """

    def __init__(self, estimator: DepthEstimator, flip: bool = False):
        self.estimator, self.flip = estimator, flip
        self.name = estimator.model.info.name

    def __call__(self, rgb: np.ndarray, camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray | None]:
        """
        Estimate an image.

        Parameters
        ----------
        rgb : numpy.ndarray
            uint8 [h, w, 3].
        camera : PinholeCamera
            Its intrinsics.

        Returns
        -------
        depth : numpy.ndarray
            [h, w] metres, NaN where invalid.
        log_variance : numpy.ndarray or None
            [h, w], logarithm of the error's variance in square metres, NaN where depth is, from models that give it;
            with ``flip`` of the two estimates' mean variance.
        """
        depth, log_variance = self._once(rgb, camera)
        if not self.flip:
            return depth, log_variance
        mirrored, other = (
            a if a is None else a[:, ::-1] for a in self._once(np.ascontiguousarray(rgb[:, ::-1]), camera)
        )
        if log_variance is not None:
            log_variance = np.logaddexp(log_variance, other) - np.float32(math.log(2))
        return 0.5 * (depth + mirrored), log_variance

    def _once(self, rgb: np.ndarray, camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray | None]:
        found = self.estimator.estimate(rgb, camera).resized(camera.width, camera.height)
        return found.depth, None if found.deviation is None else 2 * np.log(found.deviation)


class MedianPredictor:
    """
    What can be had without looking at the image: the median depth of each pixel over the training frames.

    Parameters
    ----------
    frames : torch.utils.data.Dataset
        Items with ``depth``, [1, h, w] metres, 0 where unknown.
    """

    name = "median of the training depths"

    def __init__(self, frames: Dataset):
        depths = np.concatenate([frames[i]["depth"].numpy() for i in range(len(frames))])
        depths[depths == 0] = np.nan
        self._median = np.nanmedian(depths, axis=0)

    def __call__(self, rgb: np.ndarray, camera: PinholeCamera) -> tuple[np.ndarray, None]:
        """Return the median map, [h, w] metres, whatever the image."""
        return self._median, None
