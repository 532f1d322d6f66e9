"""Confidence intervals of means over frames: percentile bootstrap (Efron 1979), in blocks for frames of a video."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
_AT_ONCE = 500_000  # numbers held in memory
# More blocks do not improve the interval but take longer, for example an hour of frames drawn one by one.
_MOST_BLOCKS = 20_000


@dataclass(frozen=True)
class Interval:
    """Mean over frames with its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether the interval excludes zero, so that the sign is significant."""
        return not self.low <= 0 <= self.high

    def __str__(self) -> str:
        """Return the mean and its interval."""
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def mean_interval(recordings: Sequence[np.ndarray], blocks: Sequence[int] | None = None) -> list[Interval]:
    """
    Return the means over all frames with their 95 % intervals.

    Each resample draws as many frames from each recording as the recording has, in circular blocks (Politis and Romano
    1992).

    Parameters
    ----------
    recordings : sequence of numpy.ndarray
        [frames, values] each, frames in order of time.
    blocks : sequence of int, optional
        Number of frames in a block for each recording, see `block_length`. Without it, frames are drawn one by one,
        which is correct for independent frames.

    Returns
    -------
    list of Interval
        One interval for each value, all from the same resamples.
    """
    rng = np.random.default_rng(0)
    parts = [
        np.concatenate(list(_resampled_sums(values, block, rng)))
        for values, block in zip(recordings, blocks or [1] * len(recordings), strict=True)
    ]
    low, high = np.percentile(sum(parts) / sum(map(len, recordings)), (2.5, 97.5), axis=0)
    means = np.concatenate(recordings).mean(axis=0)
    return [Interval(*map(float, three)) for three in zip(means, low, high, strict=True)]


def block_length(series: np.ndarray) -> int:
    """
    Return the block length for a value that is correlated between consecutive frames.

    Parameters
    ----------
    series : numpy.ndarray
        [n], the value in every frame of one recording, in order of time.

    Returns
    -------
    int
        Number of frames in a block; 1 for frames without correlation. The choice of Politis and White (2004) for
        circular blocks, as corrected by Patton, Politis and White (2009), at most a third of the frames. Longer if
        there would be more than `_MOST_BLOCKS` blocks.
    """
    return max(_correlated(series), math.ceil(len(series) / _MOST_BLOCKS))


def _correlated(series: np.ndarray) -> int:
    n = len(series)
    apart = np.asarray(series, np.float64) - np.mean(series)
    if n < 9 or np.ptp(series) == 0:
        return 1
    lags = min(n - 1, math.ceil(math.sqrt(n)) + 5)
    covariance = np.array([apart[: n - lag] @ apart[lag:] for lag in range(lags + 1)]) / n
    # Correlations are taken as zero from the first lag that begins a run of several within the noise.
    small = np.abs(covariance[1:] / covariance[0]) < 2 * math.sqrt(math.log10(n) / n)
    run = min(max(5, math.ceil(math.sqrt(math.log10(n)))), lags)
    last = next((lag for lag in range(lags - run + 1) if small[lag : lag + run].all()), lags)
    lag = np.arange(min(2 * max(last, 1), lags) + 1)
    window = np.clip(2 * (1 - lag / lag[-1]), 0, 1) * np.where(lag, 2, 1)  # flat top; both signs of a lag
    spectrum = window @ covariance[lag]
    slope = (window * lag) @ covariance[lag]
    # A spectrum of zero or less comes from alternating values, which need no blocks.
    best = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3) if spectrum > 0 and last else 1
    return max(1, min(math.ceil(best), math.ceil(3 * math.sqrt(n)), n // 3))


def _resampled_sums(values: np.ndarray, block: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the sums of all `RESAMPLES` resamples in arrays of shape [some, values]."""
    n = len(values)
    sizes = np.full(-(-n // block), block)
    sizes[-1] = n - block * (len(sizes) - 1)
    # The sum of a block is the difference of two cumulative sums, at the same cost for any length.
    running = np.cumsum(np.concatenate([np.zeros((1, values.shape[1])), values, values]), axis=0)
    step = max(1, _AT_ONCE // (len(sizes) * values.shape[1]))
    for start in range(0, RESAMPLES, step):
        begin = rng.integers(0, n, (min(step, RESAMPLES - start), len(sizes)))
        yield (running[begin + sizes] - running[begin]).sum(axis=1)
