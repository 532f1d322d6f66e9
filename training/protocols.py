"""The two protocols of published results on NYU Depth v2. Figures of one cannot be compared with the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.evaluation.metrics import DepthMetrics, eigen_crop_mask

# Metres. Below NEAR, the logarithm of a prediction would go to infinity. From FAR on, the depth of a Kinect is
# saturated.
NEAR, FAR = 1e-3, 10.0


@dataclass(frozen=True)
class Protocol:
    """
    Protocol: which pixels count, and how metrics are averaged. Neither protocol scales the estimates.

    Parameters
    ----------
    name, title : str
        Name on the command line, and title for reports.
    truth : {"depths", "rawDepths"}
        Which depth of ``nyu_depth_v2_labeled.mat`` is the ground truth: with filled holes, or as measured.
    crop : bool
        Count only the Eigen crop (rows 45 to 470, columns 41 to 600 of 640x480) and ground truth below `FAR`, and clamp
        predictions to at most `FAR`.
    pooled : bool
        Compute metrics over all pixels of all images, instead of the mean over images.
    """

    name: str
    title: str
    truth: str
    crop: bool
    pooled: bool

    @property
    def truth_limit(self) -> float:
        """Depth in metres from which the ground truth counts as unknown."""
        return FAR if self.crop else float("inf")

    def compared(self, depth: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Prepare an estimate for comparison.

        Parameters
        ----------
        depth, truth : numpy.ndarray
            [h, w] metres. The estimate is NaN where invalid, the ground truth 0 where unknown.

        Returns
        -------
        depth : numpy.ndarray
            Estimate, positive and finite.
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
