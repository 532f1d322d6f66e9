"""
The grid that unpooling with zeros leaves in a depth map, as amplitudes in its spectrum.

Each of the four up-projection blocks treats even and odd rows and columns differently, so that what it leaves repeats
every 2, 4, 8 or 16 pixels (Odena et al., "Deconvolution and Checkerboard Artifacts", Distill 2016). Scenes do not:
their spectrum is smooth, and a peak above its neighbours is the network's.
"""

from __future__ import annotations

import numpy as np

# Pixels. A period of 16 has few cycles in a map of 80 pixels and cannot be told from the scene.
PERIODS = (2, 4, 8)


def spectrum(depth: np.ndarray) -> np.ndarray:
    """
    Return the mean power of a depth map's rows and columns.

    Parameters
    ----------
    depth : numpy.ndarray
        [h, w] metres, all valid; cropped around the middle to a square whose side is a multiple of 16.

    Returns
    -------
    numpy.ndarray
        [side / 2 + 1], squared amplitude of ln depth, which is the relative amplitude of depth, at 0 to 1/2 cycles
        a pixel.
    """
    side = min(depth.shape) // 16 * 16
    if not side:
        raise ValueError(f"the depth map must be at least 16 pixels a side, got {depth.shape[1]}x{depth.shape[0]}")
    top, left = ((n - side) // 2 // 2 * 2 for n in depth.shape)
    square = np.log(np.maximum(depth[top : top + side, left : left + side].astype(np.float64), 1e-3))
    window = np.hanning(side + 1)[:-1]
    power = np.zeros(side // 2 + 1)
    for lines in (square, square.T):
        waves = np.fft.rfft((lines - lines.mean(axis=1, keepdims=True)) * window, axis=1)
        amplitude = 2 * np.abs(waves) / window.sum()
        amplitude[:, -1] /= 2  # the highest frequency has no mirror image
        power += (amplitude**2).mean(axis=0) / 2
    return power


def grid_amplitude(power: np.ndarray) -> dict[int, float]:
    """
    Return the amplitude of the grid, relative to depth, by its period.

    Parameters
    ----------
    power : numpy.ndarray
        Mean of `spectrum` over many maps of one size.

    Returns
    -------
    dict
        Of each of `PERIODS`: root of the power above that of the neighbouring frequencies, 0 where there is none.
    """
    last = len(power) - 1
    found = {}
    for period in PERIODS:
        peak = 2 * last // period
        # The window spreads a peak over its two neighbours.
        beside = [peak + k for k in (-4, -3, -2, 2, 3, 4) if 0 < peak + k <= last]
        background = np.exp(np.log(power[beside] + 1e-30).mean())
        found[period] = float(np.sqrt(max(power[peak] - background, 0)))
    return found
