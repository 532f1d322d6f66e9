"""Preview image of depth: colours with a scale bar."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

COLOUR_MAPS = (
    "turbo",
    "viridis",
    "magma",
    "inferno",
    "plasma",
    "cividis",
    "jet",
    "parula",
    "bone",
    "hot",
    "gray",
)
"""Names of the colour maps: those of OpenCV, and ``gray``."""

INVALID_COLOUR = (48, 48, 48)
"""RGB of pixels without depth."""

_BACKGROUND = (24, 24, 24)
_INK = (240, 240, 240)
_MIN_HEIGHT = 240  # pixels; labels are not readable in smaller previews


def render_preview(
    rgb: np.ndarray | None, depth: np.ndarray, colour_map: str = "turbo", near: float = 0.0, far: float = 10.0
) -> np.ndarray:
    """
    Render depth in colours with a scale bar in metres, next to the image if given.

    `near` maps to the upper end of the colour map (warm or bright), `far` to its lower end. Depth outside the range is
    clamped; invalid pixels get `INVALID_COLOUR`.

    Parameters
    ----------
    rgb : numpy.ndarray or None
        uint8 [h', w', 3], shown on the left, resized to the depth's size.
    depth : numpy.ndarray
        float32 [h, w], metres, NaN invalid.
    colour_map : str
        One of `COLOUR_MAPS`.
    near, far : float
        Range of the scale in metres, 0 <= near < far.

    Returns
    -------
    numpy.ndarray
        uint8 [H, W, 3], RGB: image (if given), depth, scale bar from left to right. H is h, or the
        smallest whole multiple of it that is at least 240.

    Raises
    ------
    ValueError
        If the colour map is unknown or the range is empty.
    """
    if not (math.isfinite(near) and math.isfinite(far) and 0.0 <= near < far):
        raise ValueError(f"the preview's range must be 0 <= near < far in metres, got near={near}, far={far}")
    height, width = depth.shape
    zoom = math.ceil(_MIN_HEIGHT / height)
    size = (width * zoom, height * zoom)
    panels = [cv2.resize(colour_depth(depth, colour_map, near, far), size, interpolation=cv2.INTER_NEAREST)]
    if rgb is not None:
        panels.insert(0, cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
    return np.hstack([*panels, scale_bar(size[1], colour_map, near, far)])


def colour_depth(depth: np.ndarray, colour_map: str, near: float, far: float) -> np.ndarray:
    """Return a depth image [h, w] (metres) in colours: uint8 [h, w, 3] RGB, invalid pixels `INVALID_COLOUR`."""
    valid = np.isfinite(depth)
    nearness = (far - np.where(valid, depth, far)) * (255.0 / (far - near))
    levels = np.clip(np.rint(nearness), 0, 255).astype(np.uint8)
    coloured = cv2.applyColorMap(levels, _palette(colour_map))
    coloured[~valid] = INVALID_COLOUR
    return coloured


@lru_cache
def _palette(colour_map: str) -> np.ndarray:
    """Return the RGB colours of the 256 levels, uint8 [256, 1, 3]."""
    if colour_map not in COLOUR_MAPS:
        raise ValueError(f"unknown colour map '{colour_map}'; choose one of {', '.join(COLOUR_MAPS)}")
    levels = np.arange(256, dtype=np.uint8)[:, None]
    if colour_map == "gray":
        return cv2.cvtColor(levels, cv2.COLOR_GRAY2RGB)
    bgr = cv2.applyColorMap(levels, getattr(cv2, f"COLORMAP_{colour_map.upper()}"))
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


@lru_cache(maxsize=8)
def scale_bar(height: int, colour_map: str, near: float, far: float) -> np.ndarray:
    """Return a vertical scale bar with labels, uint8 [height, w, 3]; near is at the bottom, as most floors are."""
    scale = height / 480.0 + 0.2
    thickness = max(1, round(1.5 * scale))
    ticks = _ticks(near, far)
    labels = [f"{tick:g} m" for tick in ticks]
    sizes = [cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, thickness)[0] for label in labels]
    margin, bar = round(14 * scale), round(20 * scale)
    left, right = margin, margin + bar
    top, bottom = 2 * margin, height - 2 * margin
    panel = np.full((height, right + 2 * margin + max(w for w, _ in sizes), 3), _BACKGROUND, np.uint8)
    shades = np.linspace(far, near, bottom - top, dtype=np.float32)[:, None]
    panel[top:bottom, left:right] = colour_depth(shades, colour_map, near, far)
    cv2.rectangle(panel, (left, top), (right, bottom), _INK, 1)
    for tick, label, (_, label_height) in zip(ticks, labels, sizes, strict=True):
        y = round(bottom - (tick - near) / (far - near) * (bottom - top))
        cv2.line(panel, (right, y), (right + margin // 3, y), _INK, thickness)
        origin = (right + margin // 2 + 2, y + label_height // 2)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(panel, label, origin, font, 0.6 * scale, _INK, thickness, cv2.LINE_AA)
    panel.flags.writeable = False
    return panel


def _ticks(near: float, far: float) -> list[float]:
    """Return three to seven round numbers from near to far, spaced by 1, 2 or 5 times a power of ten."""
    decade = 10.0 ** math.floor(math.log10(far - near))
    step = next(s for s in (0.2 * decade, 0.5 * decade, decade, 2.0 * decade) if (far - near) / s <= 6.0)
    first, last = math.ceil(near / step - 1e-6), math.floor(far / step + 1e-6)
    return [round(n * step, 6) for n in range(first, last + 1)]
