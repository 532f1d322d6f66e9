"""The two protocols by which results on NYU Depth v2 are published. Figures of one do not compare with the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.evaluation.metrics import DepthMetrics, eigen_crop_mask

# Metres. Predictions below NEAR would be infinitely wrong in a logarithm; from FAR on a Kinect's depth is saturated.
NEAR, FAR = 1e-3, 10.0


@dataclass(frozen=True)
class Protocol:
    """
    Which pixels count, and how images are put together. Nothing is scaled to fit in either.

    Parameters
    ----------
    name, title : str
        For the command line, and for a reader.
    truth : {"depths", "rawDepths"}
        Which depth of ``nyu_depth_v2_labeled.mat`` is the truth: in-painted or as measured.
    crop : bool
        Count the Eigen crop only (rows 45 to 470, columns 41 to 600 of 640x480) and truth below `FAR`, and clamp
        predictions to at most `FAR`.
    pooled : bool
        Metrics over all pixels of all images, instead of the mean of every image's.
    """

    name: str
    title: str
    truth: str
    crop: bool
    pooled: bool

    @property
    def truth_limit(self) -> float:
        """Depth from which the truth is unknown, metres."""
        return FAR if self.crop else float("inf")

    def compared(self, depth: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Prepare an estimate for comparison.

        Parameters
        ----------
        depth, truth : numpy.ndarray
            [h, w] metres; the estimate NaN where it is invalid, the truth 0 where it is unknown.

        Returns
        -------
        depth : numpy.ndarray
            Positive and finite.
        mask : numpy.ndarray of bool
            Pixels that count.
        """
        far = FAR if self.crop else None
        depth = np.nan_to_num(depth, nan=NEAR, posinf=FAR).clip(NEAR, far)
        return depth, eigen_crop_mask(truth, NEAR, FAR) if self.crop else truth > 0

    def figures(self, metrics: DepthMetrics) -> dict[str, float]:
        """Return the metrics as this protocol averages them."""
        return metrics.pooled() if self.pooled else metrics.mean()


PROTOCOLS = {
    "eigen": Protocol("eigen", "Eigen crop, mean of per-image values", "rawDepths", crop=True, pooled=False),
    "fcrn": Protocol("fcrn", "FCRN (Laina 2016): whole image, pooled pixels", "depths", crop=False, pooled=True),
}
