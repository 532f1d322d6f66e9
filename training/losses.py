"""Losses on depth maps; pixels whose target is 0 are unknown and do not count."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def berhu(depth: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """
    Reverse Huber loss (Laina et al. 2016, eq. 1): L1 below c, (x^2 + c^2) / 2c above, c a fifth of the largest error.

    Parameters
    ----------
    depth, target : torch.Tensor
        [N, 1, h, w], metres; target 0 where unknown.
    """
    error = (depth - target).abs()[target > 0]
    c = (0.2 * error.max()).detach().clamp(min=1e-6)
    return torch.where(error <= c, error, (error * error + c * c) / (2 * c)).mean()


def log_l1(depth: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the logarithms: the relative error, for small errors."""
    return _log_difference(depth, target).abs().sum() / (target > 0).sum().clamp(min=1)


def log_gradient(depth: torch.Tensor, target: torch.Tensor, scales: int = 3) -> torch.Tensor:
    """
    Mean absolute gradient of the log difference over several scales (Li and Snavely, MegaDepth, CVPR 2018).

    Keeps edges and slopes, and is blind to the overall scale.
    """
    difference = _log_difference(depth, target)
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


def _log_difference(depth: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    known = target > 0
    log_target = target.clamp(min=1e-3).log()
    return torch.where(known, depth.clamp(min=1e-3).log() - log_target, torch.zeros_like(log_target))


LOSSES = {"berhu": berhu, "log_l1": log_l1, "log_gradient": log_gradient}
