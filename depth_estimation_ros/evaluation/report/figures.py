"""Figures of a report, drawn with matplotlib in one style with a colour-blind safe palette."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from depth_estimation_ros.evaluation.report.picture import Picture

# Colour-blind safe palette of Okabe and Ito (2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"
_STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "axes.edgecolor": "#888888",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 10,
    "image.cmap": "viridis",
    "text.parse_math": False,  # a name may contain dollar signs
}
_DPI = 130
_UNKNOWN = "#303030"
_MANY = 200  # above this number of frames, single frames are drawn faintly under their running mean
_DRAWN = 2000  # maximum number of points in a line


def draw_distances(models: dict[str, Any]) -> bytes:
    """Draw AbsRel, bias and the share of pixels against distance; returns a PNG."""
    rows = [row for figures in models.values() for row in figures["by_distance"]]
    starts = sorted({row["from"] for row in rows})
    place = {start: i for i, start in enumerate(starts)}
    ends = {row["from"]: row["to"] for row in rows}
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 6.0), layout="constrained")
        error, bias, share = figure.subplots(3, sharex=True, height_ratios=(3, 2, 1))
        for number, (name, figures) in enumerate(models.items()):
            style = {"color": _colour(number), "marker": _MARKERS[number % len(_MARKERS)], "label": _short(name)}
            x = [place[row["from"]] for row in figures["by_distance"]]
            error.plot(x, [row["abs_rel"] for row in figures["by_distance"]], **style)
            bias.plot(x, [row["bias"] for row in figures["by_distance"]], **style)
        first = next(iter(models.values()))["by_distance"]
        share.bar([place[row["from"]] for row in first], [row["share"] for row in first], 0.9, color="#aaaaaa")
        error.set(ylabel="AbsRel")
        error.set_ylim(bottom=0)
        bias.axhline(0, color="#888888", linewidth=1)
        bias.set(ylabel="too near     too far")
        share.set(ylabel="pixels", xlabel="ground truth distance, m")
        labels = [f"{a:g}+" if ends[a] is None else f"{a:g}–{ends[a]:g}" for a in starts]
        share.set_xticks(range(len(starts)), labels, rotation=45 if len(starts) > 7 else 0)
        for axes in (error, bias, share):
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        _legend(error, len(models))
        return _png(figure)


def draw_regions(figures: dict[str, Any], worst: float, bias: float) -> bytes:
    """Draw AbsRel and bias over the image, with colour scales that end at ``worst`` and ``bias``; returns a PNG."""
    with matplotlib.rc_context({**_STYLE, "axes.grid": False}):
        figure = Figure(figsize=(6.4, 2.3), layout="constrained")
        for axes, key, title, options in zip(
            figure.subplots(1, 2),
            ("abs_rel", "bias"),
            ("AbsRel", "too near (−) or too far (+)"),
            ({"vmin": 0, "vmax": worst, "cmap": "YlOrBr"}, {"vmin": -bias, "vmax": bias, "cmap": "RdBu_r"}),
            strict=True,
        ):
            cells = np.array(figures["by_region"][key], np.float64)
            axes.set_facecolor(_UNKNOWN)
            drawn = axes.imshow(cells, aspect="equal", **options)
            axes.set(title=title, xticks=[], yticks=[])
            figure.colorbar(drawn, ax=axes, format=PercentFormatter(1, decimals=0), shrink=0.8)
        return _png(figure)


def draw_time(frames: dict[str, list[np.ndarray]]) -> bytes:
    """Draw AbsRel and scale of each model over time; ``frames`` has stamps in ns, AbsRel and scale; returns a PNG."""
    start = min(stamps.min() for stamps, _, _ in frames.values())
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        error, scale = figure.subplots(2, sharex=True, height_ratios=(3, 2))
        for number, (name, (stamps, errors, scales)) in enumerate(frames.items()):
            x = (stamps - start) * 1e-9
            for axes, values in ((error, errors), (scale, scales)):
                _draw_series(axes, x, values, number, _short(name))
        error.set(ylabel="AbsRel")
        error.set_ylim(bottom=0)
        error.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        scale.axhline(1, color="#888888", linewidth=1)
        scale.set(ylabel="truth / estimate", xlabel="time, s")
        _legend(error, len(frames))
        return _png(figure)


def draw_picture(picture: Picture) -> bytes:
    """Draw a frame as image, estimate, ground truth and error, with colour bars in metres; returns a PNG."""
    both = np.concatenate([values[np.isfinite(values)] for values in (picture.depth, picture.truth)])
    near, far = np.percentile(both, (1, 99)) if both.size else (0.0, 1.0)
    error = picture.depth - picture.truth
    known = np.isfinite(error)
    largest = max(float(np.percentile(np.abs(error[known]), 98)) if known.any() else 0.0, 0.1)
    height = picture.rgb.shape[0] / picture.rgb.shape[1]
    # The ground truth of a laser has isolated pixels; they are drawn large enough to be visible.
    sparse = np.isfinite(picture.truth).mean() < 0.2
    with matplotlib.rc_context({**_STYLE, "axes.grid": False, "axes.titlesize": 11}):
        figure = Figure(figsize=(5.6, 4.7 * height + 0.6), layout="constrained")
        (image, estimate), (truth, wrong) = figure.subplots(2, 2)
        image.imshow(picture.rgb)
        depth_scale = {"cmap": "viridis_r", "vmin": near, "vmax": far}
        error_scale = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
        drawn = estimate.imshow(picture.depth, **depth_scale)
        _draw_known(truth, picture.truth, sparse, **depth_scale)
        wrong_drawn = _draw_known(wrong, error, sparse, **error_scale)
        figure.colorbar(drawn, ax=[image, estimate], shrink=0.9, aspect=14, label="depth, m")
        figure.colorbar(wrong_drawn, ax=[truth, wrong], shrink=0.9, aspect=14, label="error, m")
        titles = ("image", "estimate", "ground truth", "error (red: too far)")
        for axes, title in zip((image, estimate, truth, wrong), titles, strict=True):
            axes.set_facecolor("#d0d0d0")
            axes.set(xticks=[], yticks=[])
            axes.set_title(title, loc="left", pad=3)
        return _png(figure, 120)


def _draw_known(axes: Axes, values: np.ndarray, sparse: bool, **options: Any) -> Any:
    if not sparse:
        return axes.imshow(values, **options)
    v, u = np.nonzero(np.isfinite(values))
    drawn = axes.scatter(u, v, c=values[v, u], s=3, linewidths=0, **options)
    height, width = values.shape
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
    return drawn


def _draw_series(axes: Axes, x: np.ndarray, values: np.ndarray, number: int, label: str) -> None:
    colour = _colour(number)
    if len(x) <= _MANY:
        axes.plot(x, values, color=colour, marker=_MARKERS[number % len(_MARKERS)], markersize=3, label=label)
        return
    axes.plot(*_thinned(x, values), color=colour, alpha=0.25, linewidth=0.8)
    width = max(3, len(x) // 60)
    running = np.cumsum(np.concatenate([[0.0], values]))
    smooth = (running[width:] - running[:-width]) / width
    middle, step = (width - 1) // 2, max(1, len(smooth) // _DRAWN)
    drawn = x[middle : middle + len(smooth) : step], smooth[::step]
    axes.plot(*drawn, color=colour, label=f"{label}, mean of {width}")


def _thinned(x: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the minimum and maximum of each group of values if there are too many points to draw."""
    step = len(x) // _DRAWN
    if step < 4:
        return x, values
    groups = values[: len(values) // step * step].reshape(-1, step)
    return np.repeat(x[::step][: len(groups)], 2), np.stack([groups.min(axis=1), groups.max(axis=1)], axis=1).ravel()


def _legend(axes: Axes, count: int) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=min(count, 3))


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:15]}…{name[-16:]}"


def _png(figure: Figure, dpi: int = _DPI) -> bytes:
    file = io.BytesIO()
    # The version of matplotlib is left out so that the same figures give the same bytes.
    figure.savefig(file, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return file.getvalue()
