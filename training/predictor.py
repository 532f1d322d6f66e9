"""A model as it is evaluated: through the robot's pipeline, with its certainty where it gives one."""

from __future__ import annotations

import math

import cv2
import numpy as np
import onnxruntime
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
        # The pipeline asks its backend for depth only.
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        path, providers = str(estimator.model.path), ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(path, options, providers=providers)
        self._session = session if "log_variance" in [o.name for o in session.get_outputs()] else None

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
            [h, w], logarithm of the error's variance in square metres, from models that give it; with ``flip`` of
            the two estimates' mean variance.
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
        size = (camera.width, camera.height)
        depth = self.estimator.estimate(rgb, camera).resized(*size).depth
        if self._session is None:
            return depth, None
        log_variance = self._session.run(["log_variance"], {"image": self.estimator.preprocess(rgb)})[0][0, 0]
        # Depth is multiplied by the ratio of the focal lengths, so its variance is by that squared.
        info = self.estimator.model.info
        ratio = camera.resized(info.input_width, info.input_height).focal_length / info.focal_length
        return depth, cv2.resize(log_variance, size, interpolation=cv2.INTER_LINEAR) + np.float32(2 * math.log(ratio))


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
