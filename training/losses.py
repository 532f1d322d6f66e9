"""
Losses by name. Each takes the output of a network and the ground truth depth, and returns a scalar.

The output is the dictionary that a network of `training.models` returns: ``depth`` [N, 1, h, w] in metres, and for some
networks further maps. The target is [N, 1, h, w] in metres. Pixels where the target is 0 are unknown and do not count.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

Output = dict[str, torch.Tensor]


def mse(output: Output, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error, square metres."""
    return _mean((output["depth"] - target).square(), target)


def l1(output: Output, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute error, metres."""
    return _mean((output["depth"] - target).abs(), target)


def berhu(output: Output, target: torch.Tensor) -> torch.Tensor:
    """Reverse Huber (Laina et al. 2016, eq. 1): L1 below c, (x^2 + c^2) / 2c above, c a fifth of the largest error."""
    error = (output["depth"] - target).abs()[target > 0]
    if not error.numel():
        return output["depth"].sum() * 0
    c = (0.2 * error.max()).detach().clamp(min=1e-6)
    return torch.where(error <= c, error, (error * error + c * c) / (2 * c)).mean()


def silog(output: Output, target: torch.Tensor, weight: float = 0.5) -> torch.Tensor:
    """
    Scale-invariant logarithmic error (Eigen et al. 2014, eq. 4): mean d^2 - weight (mean d)^2 of each image.

    With weight 1, a factor common to all depths does not change the loss. The paper trains with 0.5.
    """
    difference = _log_difference(output["depth"], target)
    n = (target > 0).sum(dim=(1, 2, 3))
    count = n.clamp(min=1)
    square, mean = difference.square().sum(dim=(1, 2, 3)) / count, difference.sum(dim=(1, 2, 3)) / count
    return (square - weight * mean.square()).sum() / (n > 0).sum().clamp(min=1)


def laplace_nll(output: Output, target: torch.Tensor) -> torch.Tensor:
    """
    Negative log-likelihood of a Laplace distribution around the depth, with the variance that the network estimates.

    With s the logarithm of the variance 2 b^2, -ln p = ln 2b + |e| / b = (s + ln 2) / 2 + sqrt(2) |e| exp(-s / 2)
    (Kendall and Gal, "What Uncertainties Do We Need in Bayesian Deep Learning", NIPS 2017).

    Raises
    ------
    ValueError
        If the network estimates no variance.
    """
    if "log_variance" not in output:
        raise ValueError("the loss laplace_nll needs a network with log_variance: true")
    s, error = output["log_variance"], (output["depth"] - target).abs()
    return _mean(0.5 * (s + math.log(2)) + math.sqrt(2) * error * torch.exp(-0.5 * s), target)


def log_l1(output: Output, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the logarithms; equals the relative error for small errors."""
    return _mean(_log_difference(output["depth"], target).abs(), target)


def log_gradient(output: Output, target: torch.Tensor, scales: int = 3) -> torch.Tensor:
    """
    Mean absolute gradient of the log difference over several scales (Li and Snavely, MegaDepth, CVPR 2018).

    It preserves edges and slopes, and does not depend on the overall scale.
    """
    difference = _log_difference(output["depth"], target)
    known = (target > 0).to(difference.dtype)
    total = difference.new_zeros(())
    for _ in range(scales):
        for axis in (2, 3):
            n = difference.shape[axis] - 1
            both = known.narrow(axis, 1, n) * known.narrow(axis, 0, n)
            step = difference.narrow(axis, 1, n) - difference.narrow(axis, 0, n)
            total = total + (step.abs() * both).sum() / both.sum().clamp(min=1)
        difference, known = F.avg_pool2d(difference, 2), (F.avg_pool2d(known, 2) == 1).to(difference.dtype)
    return total / scales


def bin_cross_entropy(output: Output, target: torch.Tensor) -> torch.Tensor:
    """
    Cross entropy of the bins with a soft target.

    The target is a normal distribution around the true bin with a standard deviation of two bins (after Diaz and
    Marathe, "Soft Labels for Ordinal Regression", CVPR 2019).

    Raises
    ------
    ValueError
        If the network has no bins.
    """
    if "bin_scores" not in output:
        raise ValueError("the loss bin_cross_entropy needs a network with output: bins")
    centres = output["log_bins"]
    sigma = 2 * (centres[:, 1:2] - centres[:, :1])
    soft = torch.softmax(-0.5 * ((target.clamp(min=1e-3).log() - centres) / sigma) ** 2, dim=1)
    return _mean(-(soft * output["bin_scores"].log_softmax(dim=1)).sum(dim=1, keepdim=True), target)


def _mean(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean over pixels with ground truth, or 0 if there are none."""
    known = target > 0
    return torch.where(known, value, torch.zeros_like(value)).sum() / known.sum().clamp(min=1)


def _log_difference(depth: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    known = target > 0
    log_target = target.clamp(min=1e-3).log()
    return torch.where(known, depth.clamp(min=1e-3).log() - log_target, torch.zeros_like(log_target))


LOSSES = {
    "berhu": berhu,
    "l1": l1,
    "laplace_nll": laplace_nll,
    "mse": mse,
    "silog": silog,
    "bin_cross_entropy": bin_cross_entropy,
    "log_gradient": log_gradient,
    "log_l1": log_l1,
}
