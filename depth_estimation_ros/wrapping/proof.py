"""Let a wrapped model look at rooms whose depth is known, and say what it made of them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.model_info import ModelInfo
from depth_estimation_ros.wrapping.preset import NORMALISATIONS, Preset

Infer = Callable[[np.ndarray], np.ndarray]
"""Takes uint8 [1, H, W, 3], gives float32 [1, 1, h, w]: a model's depth, at its own focal length."""

VIEWS = 4
_PIXELS = 20000
_ZEROS = 0.99
_FLAT = 1e-3  # of the mean
_FALLS = -0.5
_FOLLOWS = 0.3
_BETTER, _GOOD = 0.1, 0.5
_FACTOR = 3.0


@dataclass
class Proof:
    """
    What became of the rooms.

    Parameters
    ----------
    correlation : float
        Of ranks, of depth (inverse depth negated) with the truth, mean over the views; NaN where there is none.
    ratio : float
        Median of depth over truth; NaN for relative depth.
    milliseconds : float
        Of one inference here, median.
    failures : list of str
        Why the model is useless as it is.
    warnings : list of str
        What is probably wrong.
    """

    correlation: float = np.nan
    ratio: float = np.nan
    milliseconds: float = np.nan
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RenderedView:
    """
    A rendered image and its depth.

    Parameters
    ----------
    rgb : numpy.ndarray
        uint8 [h, w, 3].
    depth : numpy.ndarray
        float32 [h, w], metres.
    """

    rgb: np.ndarray
    depth: np.ndarray


def rooms(info: ModelInfo, count: int = VIEWS) -> list[RenderedView]:
    """Render views of synthetic rooms by the camera for which a model's depth is metric."""
    width, height = info.input_width, info.input_height
    camera = PinholeCamera(width, height, *info.focal_lengths, 0.5 * (width - 1), 0.5 * (height - 1))
    seconds = np.linspace(0.0, 40.0, count, endpoint=False)  # of a walk that comes back to its start
    return [RenderedView(*_room(i % 2).render(camera, _room(i % 2).trajectory(t))) for i, t in enumerate(seconds)]


@functools.cache
def _room(seed: int):
    from depth_estimation_ros.synthetic import Room

    return Room(seed)


def prove(
    infer: Infer, preset: Preset, seen: Sequence[RenderedView], variants: Callable[[str], Infer] | None = None
) -> Proof:
    """
    Hold a model against rendered rooms.

    Parameters
    ----------
    infer : callable
        Runs the model.
    preset : Preset
        What it was made with.
    seen : sequence of RenderedView
        From `rooms`.
    variants : callable, optional
        Takes the name of a normalisation, and gives what runs the model with that instead.

    Returns
    -------
    Proof
    """
    proof = Proof()
    depths, times = [], []
    for view in seen:
        start = time.perf_counter()
        depths.append(infer(view.rgb[None])[0, 0])
        times.append(1e3 * (time.perf_counter() - start))
    grey = infer(np.full_like(seen[0].rgb[None], 128))[0, 0]
    proof.milliseconds = float(np.median(times))
    proof.failures += _useless(np.stack(depths), grey, preset)
    if proof.failures:
        return proof
    proof.correlation = _correlation(depths, seen, preset)
    if proof.correlation < _FALLS:
        proof.failures.append(_upside_down(preset, proof.correlation))
        return proof
    if variants is not None:
        proof.warnings += _normalised_otherwise(variants, seen[:2], depths[:2], preset)
    if proof.correlation < _FOLLOWS and not proof.warnings:
        proof.warnings.append(
            f"its depth hardly follows the truth in rooms (rank correlation {proof.correlation:+.2f}): another preset, "
            "or --channels, --depth or --input, unless it knows no rooms"
        )
    if not preset.is_relative:
        proof.ratio = float(np.median(np.concatenate([d / t for d, t in map(_pixels, depths, seen)])))
        proof.warnings += _out_of_scale(proof.ratio, preset)
    return proof


def _useless(depths: np.ndarray, grey: np.ndarray, preset: Preset) -> list[str]:
    """Name what makes maps worthless: [n, h, w] of rooms, and that of a grey image."""
    known = np.isfinite(depths)
    masked = preset.mask is not None
    if not known.any():
        cause = "its mask hides every pixel" if masked else "half precision, or values out of range"
        return [f"none of its depth is a number ({cause}): take the float32 file, or another --normalisation"]
    if not masked and not (known.all() and np.isfinite(grey).all()):
        share = 1 - known.mean()
        return [
            f"{share:.1%} of its depth in rooms is not a number: take the float32 file, or another --normalisation"
            if share
            else "its depth of a grey image is not a number: take the float32 file, or another --normalisation"
        ]
    values = depths[known]
    zeros = (values <= 0).mean()
    if zeros > _ZEROS:
        return [
            f"{zeros:.1%} of its depth is zero: the export is broken (early metric files of Depth Anything V2 are: "
            "take a newer one), or it wants another --normalisation"
        ]
    if np.ptp(values) <= _FLAT * abs(values.mean()):
        return ["its depth is the same everywhere: it wants another --normalisation, or --depth names another output"]
    return []


def _upside_down(preset: Preset, correlation: float) -> str:
    if preset.kind == "inverse_relative":
        return (
            f"its values rise with the distance (rank correlation {-correlation:+.2f}), so they are no inverse depth: "
            "--kind depth_relative, or metric"
        )
    if preset.kind == "canonical_inverse":
        return f"its depth falls where the truth rises (rank correlation {correlation:+.2f}): --kind canonical"
    return (
        f"its depth falls where the truth rises (rank correlation {correlation:+.2f}), so it is inverse depth: "
        "--kind inverse_relative, or canonical_inverse if it is in 1/metres"
    )


def _normalised_otherwise(
    variants: Callable[[str], Infer], views: Sequence[RenderedView], depths: list[np.ndarray], preset: Preset
) -> list[str]:
    """Compare with what the network makes of images that are normalised in the other ways."""
    have, best, found = _correlation(depths, views, preset), preset.normalisation, -1.0
    for name in NORMALISATIONS:
        if name == preset.normalisation:
            continue
        infer = variants(name)
        other = [infer(view.rgb[None])[0, 0] for view in views]
        if not np.isfinite(np.stack(other)).any():
            continue
        correlation = _correlation(other, views, preset)
        if correlation > found:
            best, found = name, correlation
    if found > max(have + _BETTER, _GOOD):
        inside = " (the network probably normalises its image itself)" if best in ("raw", "unit") else ""
        return [
            f"normalised by {best} its depth follows the truth better than by {preset.normalisation} (rank correlation "
            f"{found:+.2f}, not {have:+.2f}): --normalisation {best}{inside}"
        ]
    return []


def _out_of_scale(ratio: float, preset: Preset) -> list[str]:
    if 1 / _FACTOR <= ratio <= _FACTOR:
        return []
    if preset.kind == "canonical" or (preset.focal is not None and not preset.focal.width):
        option = "--focal-length, of its canonical camera, or --kind metric if it needs none"
    elif 300 < ratio < 3000:
        option = "it is probably in millimetres; give it another --depth, or scale it before"
    else:
        option = "--focal-length, of its training camera, or --kind canonical; or it knows no rooms"
    return [f"its depth is {ratio:.2g} times the truth in rooms: {option}"]


def _correlation(depths: Sequence[np.ndarray], views: Sequence[RenderedView], preset: Preset) -> float:
    """Return the mean rank correlation with the truth, of what rises with distance."""
    sign = -1.0 if preset.kind == "inverse_relative" else 1.0
    found = []
    for depth, view in zip(depths, views, strict=True):
        mine, true = _pixels(depth, view, positive=not preset.is_relative)
        if len(mine) > 10 and np.ptp(mine) > 0 and np.ptp(true) > 0:
            found.append(sign * np.corrcoef(_ranks(mine), _ranks(true))[0, 1])
    return float(np.mean(found)) if found else 0.0


def _pixels(depth: np.ndarray, view: RenderedView, positive: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return depth and truth of some pixels that have both, [n] each."""
    rows, columns = (
        ((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(depth.shape, view.depth.shape, strict=True)
    )
    true = view.depth[np.ix_(rows, columns)]
    known = np.isfinite(depth) & np.isfinite(true) & (true > 0)
    if positive:
        known &= depth > 0
    step = max(1, int(known.sum()) // _PIXELS)
    return depth[known][::step], true[known][::step]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks, the same for the same values."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - 0.5 * counts)[inverse]
