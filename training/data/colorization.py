"""Filling of holes in a depth map, guided by the image."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

_AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]


def fill_depth(grey: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """
    Fill the holes of a depth map by colorization (Levin et al., SIGGRAPH 2004), as the toolbox of NYU Depth v2 does.

    Every unknown depth is the mean of the depths in its 3x3 neighbourhood, weighted by
    ``exp(-difference of grey^2 / sigma^2)``. sigma^2 is the largest of 0.6 times the variance of grey in the window,
    ``-smallest difference^2 / ln 0.01`` and 2e-6. Measured depths do not change.

    Parameters
    ----------
    grey : numpy.ndarray
        uint8 or float in 0..1, [h, w].
    depth : numpy.ndarray
        float32 [h, w], metres, 0 where unknown.

    Returns
    -------
    numpy.ndarray
        float32 [h, w], metres, without holes.

    Raises
    ------
    ValueError
        If no depth is known.
    """
    unknown = depth == 0
    if unknown.all():
        raise ValueError("no depth is known in the image, so there is nothing to fill from")
    if not unknown.any():
        return depth
    grey = grey / 255.0 if grey.dtype == np.uint8 else grey.astype(np.float64)
    rows, columns = np.nonzero(unknown)
    weights, neighbours = _weights(grey, rows, columns)

    number = np.full(depth.size, -1)
    number[np.flatnonzero(unknown)] = np.arange(len(rows))
    equation = np.broadcast_to(np.arange(len(rows)), weights.shape)
    between = (number[neighbours] >= 0) & (weights > 0)
    shape = (len(rows), len(rows))
    links = scipy.sparse.csc_matrix((weights[between], (equation[between], number[neighbours][between])), shape)
    known = np.where(between, 0, weights * depth.ravel()[neighbours]).sum(axis=0)
    filled = depth.copy()
    filled[rows, columns] = scipy.sparse.linalg.spsolve(scipy.sparse.identity(len(rows), format="csc") - links, known)
    return filled


def _weights(grey: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights [8, n] of the eight neighbours of pixels (sum 1, 0 outside the image), and their flat indices."""
    h, w = grey.shape
    ys = np.stack([rows + dy for dy, _ in _AROUND])
    xs = np.stack([columns + dx for _, dx in _AROUND])
    inside = (ys >= 0) & (ys < h) & (xs >= 0) & (xs < w)
    neighbours = np.where(inside, ys * w + xs, rows * w + columns)
    centre, around = grey[rows, columns], grey.ravel()[neighbours]
    count = inside.sum(axis=0) + 1
    mean = (np.where(inside, around, 0).sum(axis=0) + centre) / count
    variance = (np.where(inside, (around - mean) ** 2, 0).sum(axis=0) + (centre - mean) ** 2) / count
    squared = np.where(inside, (around - centre) ** 2, np.inf)
    sigma2 = np.maximum(np.maximum(0.6 * variance, -squared.min(axis=0) / np.log(0.01)), 2e-6)
    # The minimum connects a region of very different grey to its surroundings, where exp() would underflow to zero.
    weights = np.where(inside, np.maximum(np.exp(-squared / sigma2), 1e-9), 0)
    return weights / weights.sum(axis=0), neighbours
