"""Predictors to evaluate: a model with the same estimator as on the robot, and the median as a baseline."""

from __future__ import annotations

import math

import numpy as np
from torch.utils.data import Dataset

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.estimator import DepthEstimator, DepthMap


class Predictor:
    """
    Model whose estimates are resized to the image.

    Parameters
    ----------
    estimator : DepthEstimator
        Estimator of the model.
    flip : bool
        Average each estimate with that of the mirrored image.
    """

    def __init__(self, estimator: DepthEstimator, flip: bool = False):
        self.estimator, self.flip = estimator, flip
        self.name = estimator.model.info.name

    def __call__(self, rgb: np.ndarray, camera: PinholeCamera) -> DepthMap:
        """
        Estimate the depth of an image.

        Parameters
        ----------
        rgb : numpy.ndarray
            uint8 [h, w, 3].
        camera : PinholeCamera
            Its intrinsics.

        Returns
        -------
        DepthMap
            Depth at the size of the image. With ``flip``, the deviation is the root of the mean variance of both
            estimates.
        """
        once = self._once(rgb, camera)
        if not self.flip:
            return once
        mirrored = self._once(np.ascontiguousarray(rgb[:, ::-1]), camera)
        depth, deviation = 0.5 * (once.depth + mirrored.depth[:, ::-1]), once.deviation
        if deviation is not None and mirrored.deviation is not None:
            deviation = np.hypot(deviation, mirrored.deviation[:, ::-1]) * np.float32(math.sqrt(0.5))
        return DepthMap(depth, camera, deviation, once.kind)

    def _once(self, rgb: np.ndarray, camera: PinholeCamera) -> DepthMap:
        return self.estimator.estimate(rgb, camera).resized(camera.width, camera.height)


class MedianPredictor:
    """
    Baseline that ignores the image: the median depth of each pixel over the training frames.

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

    def __call__(self, rgb: np.ndarray, camera: PinholeCamera) -> DepthMap:
        """Return the median depth, independent of the image."""
        return DepthMap(self._median, camera)
