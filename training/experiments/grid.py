"""
Measurement of the grid pattern that unpooling with zeros leaves in a depth map, from the spectrum of the map.

Each of the four up-projection blocks treats even and odd rows and columns differently. The resulting pattern repeats
every 2, 4, 8 or 16 pixels (Odena et al., "Deconvolution and Checkerboard Artifacts", Distill 2016). The spectrum of a
scene is smooth, so a peak above the neighbouring frequencies comes from the network.
"""

from __future__ import annotations

import numpy as np

# Pixels. A period of 16 has too few cycles in a map of 80 pixels to be distinguished from the scene.
PERIODS = (2, 4, 8)


def spectrum(depth: np.ndarray) -> np.ndarray:
    """
    Return the mean power spectrum of the rows and columns of a depth map.

    Parameters
    ----------
    depth : numpy.ndarray
        [h, w] metres, all valid. It is cropped around the centre to a square whose side is a multiple of 16.

    Returns
    -------
    numpy.ndarray
        [side / 2 + 1], squared amplitude of ln depth (the relative amplitude of depth) at 0 to 1/2 cycles per pixel.
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
        amplitude[:, -1] /= 2  # the highest frequency has no negative counterpart
        power += (amplitude**2).mean(axis=0) / 2
    return power


def grid_amplitude(power: np.ndarray) -> dict[int, float]:
    """
    Return the amplitude of the grid relative to depth, by period.

    Parameters
    ----------
    power : numpy.ndarray
        Mean of `spectrum` over many maps of the same size.

    Returns
    -------
    dict
        For each of `PERIODS`: square root of the power above that of the neighbouring frequencies, or 0 if not above.
    """
    last = len(power) - 1
    found = {}
    for period in PERIODS:
        peak = 2 * last // period
        # The window spreads a peak to the frequencies next to it.
        beside = [peak + k for k in (-4, -3, -2, 2, 3, 4) if 0 < peak + k <= last]
        background = np.exp(np.log(power[beside] + 1e-30).mean())
        found[period] = float(np.sqrt(max(power[peak] - background, 0)))
    return found
