"""Plot of the spectra of `training.experiments.grid`. A grid pattern shows as evenly spaced peaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.experiments.grid import PERIODS
from training.pictures import empty_figure


def draw_spectra(spectra: dict[str, np.ndarray], output: Path) -> None:
    """
    Plot several spectra.

    Parameters
    ----------
    spectra : dict
        Mean power by name, see `training.experiments.grid.spectrum`.
    output : pathlib.Path
        Picture to write.
    """
    figure = empty_figure(8, 4)
    axes = figure.subplots()
    for name, power in spectra.items():
        axes.semilogy(np.linspace(0, 0.5, len(power)), np.sqrt(power), label=name)
    for period in PERIODS:
        axes.axvline(1 / period, color="0.8", zorder=0)
        axes.text(1 / period, 0.9, f"period {period} ", rotation=90, ha="right", va="top")
    axes.set(xlabel="cycles a pixel", ylabel="amplitude relative to depth", xlim=(0, 0.5), ylim=(None, 1))
    axes.legend(loc="lower left")
    figure.savefig(output, dpi=100)
