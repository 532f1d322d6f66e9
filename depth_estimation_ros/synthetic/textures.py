"""
Procedural materials: each function returns the reflectance of a surface.

A material is called as ``material(rng, width, height, density)`` with the surface's size in metres and the
texels per metre, and returns float32 [rows, columns, 3], linear RGB in 0..1. Options come first, through
``functools.partial``.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np


def _shape(width: float, height: float, density: float) -> tuple[int, int]:
    return max(4, round(height * density)), max(4, round(width * density))


def _noise(rng, shape, cell_x: float, cell_y: float | None = None) -> np.ndarray:
    """Return smooth noise of unit deviation with cells of the given size in texels, float32 [rows, columns]."""
    cell_y = cell_x if cell_y is None else cell_y
    small = rng.standard_normal((int(shape[0] / cell_y) + 3, int(shape[1] / cell_x) + 3)).astype(np.float32)
    size = (max(shape[1], round(small.shape[1] * cell_x)), max(shape[0], round(small.shape[0] * cell_y)))
    return cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)[: shape[0], : shape[1]]


def linear(colour) -> np.ndarray:
    """Convert an sRGB colour (0..255) to linear reflectance, float32 [3]."""
    return (np.asarray(colour, np.float32) / 255.0) ** 2.2


def _tint(colour, tone: np.ndarray) -> np.ndarray:
    return np.clip(linear(colour) * tone[..., None], 0.0, 1.0).astype(np.float32)


def paint(colour, rng, width, height, density) -> np.ndarray:
    """Painted plaster: a plain colour with slight unevenness."""
    shape = _shape(width, height, density)
    tone = 1 + 0.012 * _noise(rng, shape, 0.35 * density) + 0.012 * _noise(rng, shape, 0.02 * density)
    return _tint(colour, tone)


def stripes(colour, rng, width, height, density) -> np.ndarray:
    """Wallpaper with soft vertical stripes."""
    shape = _shape(width, height, density)
    x = np.arange(shape[1]) / density
    tone = 1 + 0.09 * np.tanh(4 * np.sin(2 * np.pi * x / 0.24))[None] + 0.015 * _noise(rng, shape, 0.015 * density)
    return _tint(colour, tone.astype(np.float32))


def wood(colour, rng, width, height, density) -> np.ndarray:
    """Wood with the grain along the longer side."""
    shape = _shape(width, height, density)
    turned = shape[0] > shape[1]
    if turned:
        shape = shape[::-1]
    warp = _noise(rng, shape, 0.5 * density, 0.08 * density)
    rings = np.sin((np.arange(shape[0])[:, None] / density / 0.018) + 2.2 * warp)
    fibre = _noise(rng, shape, 0.15 * density, max(1.5, 0.003 * density))
    grain = 0.10 * rings + 0.07 * fibre + 0.08 * _noise(rng, shape, 0.6 * density, 0.2 * density)
    tone = 1 + (0.2 if min(colour) > 200 else 1.0) * grain  # white wood is painted
    return _tint(colour, tone.T if turned else tone)


def planks(colour, rng, width, height, density, plank: float = 0.14) -> np.ndarray:
    """Floor boards along the width, each with its own tone, grain and joints."""
    shape = _shape(width, height, density)
    rows = max(1, round(height / plank))
    edges = np.linspace(0, shape[0], rows + 1).round().astype(int)
    tone = np.empty(shape, np.float32)
    for top, bottom in pairwise(edges):
        x = -rng.uniform(0, 1.2) * density
        while x < shape[1]:
            end = x + rng.uniform(0.9, 1.7) * density
            a, b = max(0, round(x)), min(shape[1], round(end))
            tone[top:bottom, a:b] = rng.normal(1.0, 0.10)
            if b < shape[1]:
                tone[top:bottom, b - 1 : b + 1] = 0.45
            x = end
        tone[top : top + max(1, round(0.004 * density))] *= 0.5
    fibre = _noise(rng, shape, 0.25 * density, max(1.5, 0.006 * density))
    streak = _noise(rng, shape, 0.7 * density, 0.03 * density)
    return _tint(colour, tone * (1 + 0.08 * fibre + 0.07 * streak))


def tiles(colour, rng, width, height, density, tile: float = 0.33) -> np.ndarray:
    """Square tiles with pale joints."""
    shape = _shape(width, height, density)
    y, x = np.arange(shape[0]) / density / tile, np.arange(shape[1]) / density / tile
    tone = rng.normal(1.0, 0.06, (int(y[-1]) + 1, int(x[-1]) + 1)).astype(np.float32)
    tone = tone[y.astype(int)][:, x.astype(int)]
    tone *= 1 + 0.05 * _noise(rng, shape, 0.06 * density) + 0.03 * _noise(rng, shape, 0.012 * density)
    joint = ((y % 1) < 0.02)[:, None] | ((x % 1) < 0.02)[None]
    return np.where(joint[..., None], linear((168, 164, 156)), _tint(colour, tone)).astype(np.float32)


def fabric(colour, rng, width, height, density) -> np.ndarray:
    """Woven cloth with wrinkles."""
    shape = _shape(width, height, density)
    tone = 1 + 0.07 * _noise(rng, shape, 0.12 * density) + 0.06 * _noise(rng, shape, max(1.2, 0.006 * density))
    return _tint(colour, tone + 0.05 * _noise(rng, shape, 0.03 * density, 0.1 * density))


def curtain(colour, rng, width, height, density) -> np.ndarray:
    """Cloth in vertical folds."""
    shape = _shape(width, height, density)
    x = np.arange(shape[1])[None] / density
    sway = 0.25 * _noise(rng, shape, 0.2 * density, 1.0 * density)
    folds = np.sin(2 * np.pi * x / 0.095 + sway + rng.uniform(0, 6))
    return _tint(colour, 0.86 + 0.22 * folds + 0.03 * _noise(rng, shape, max(1.2, 0.01 * density)))


def rug(colour, rng, width, height, density) -> np.ndarray:
    """Rug with borders and rows of lozenges."""
    shape = _shape(width, height, density)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / density
    inset = np.minimum(np.minimum(x, width - x), np.minimum(y, height - y))
    second, pale = linear(rng.choice(_RUG_COLOURS)), linear((214, 200, 176))
    image = np.broadcast_to(linear(colour), (*shape, 3)).copy()
    lozenge = np.abs((x / 0.30) % 1 - 0.5) + np.abs((y / 0.40) % 1 - 0.5)
    image[lozenge < 0.34] = second
    image[(lozenge < 0.22) | ((lozenge > 0.42) & (lozenge < 0.46))] = pale
    for near, far, tint in ((0.16, 0.19, pale), (0.06, 0.16, second), (0.09, 0.12, pale), (0.0, 0.03, pale)):
        image[(inset >= near) & (inset < far)] = tint
    tone = 1 + 0.12 * _noise(rng, shape, max(1.2, 0.008 * density)) + 0.05 * _noise(rng, shape, 0.2 * density)
    return np.clip(image * tone[..., None], 0, 1).astype(np.float32)


_RUG_COLOURS = np.array([(40, 52, 84), (150, 112, 58), (96, 40, 38), (70, 74, 78), (128, 110, 90)])


def books(rng, width, height, density) -> np.ndarray:
    """Book spines in a row, with the dark shelf above the shorter ones."""
    shape = _shape(width, height, density)
    image = np.full((*shape, 3), 0.02, np.float32)
    x = 0.0
    while x < shape[1]:
        thick = rng.uniform(0.018, 0.05) * density
        a, b = round(x), max(round(x) + 2, round(x + thick))
        top = round(shape[0] * rng.uniform(0.0, 0.28))
        hue = linear(rng.choice(_SPINES) + rng.normal(0, 12, 3).clip(-25, 25))
        image[top:, a:b] = hue
        title = round(shape[0] * rng.uniform(0.35, 0.5))
        ink = linear((225, 205, 150)) if hue.mean() < 0.25 else linear((60, 40, 40))
        inner = slice(a + max(1, (b - a) // 4), b - max(1, (b - a) // 4))
        image[title : title + round(shape[0] * rng.uniform(0.12, 0.3)), inner] = 0.5 * (ink + hue)
        image[top + 3 : top + 5, a:b] = ink
        image[:, b - 1 : b] *= 0.3
        x += thick
    return image


_SPINES = np.array(
    [
        (122, 38, 36),
        (32, 58, 92),
        (38, 78, 58),
        (196, 176, 138),
        (92, 66, 46),
        (64, 64, 68),
        (168, 112, 52),
        (216, 208, 196),
    ]
)


def panels(colour, rng, width, height, density, across: int = 2, down: int = 1, knob=(60, 56, 52)) -> np.ndarray:
    """Door or cupboard front: raised panels, gaps between the leaves, and knobs."""
    image = wood(colour, rng, width, height, density)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    cell_w, cell_h = image.shape[1] / across, image.shape[0] / down
    u, v = (x % cell_w) / density, (y % cell_h) / density
    w, h = cell_w / density, cell_h / density
    inset = np.minimum(np.minimum(u, w - u), np.minimum(v, h - v))
    image[inset < max(0.003, 1.0 / density)] *= 0.25
    rim = min(0.055, 0.22 * min(w, h))
    groove = np.abs(inset - rim) < 0.007
    lit = (v - h / 2 > np.abs(u - w / 2) - (w - h) / 2) & (v > h / 2)
    image[groove & lit] *= 1.3
    image[groove & ~lit] *= 0.6
    side = np.where((x // cell_w) % 2 == 0, w - 0.028, 0.028)
    image[np.hypot(u - side, v - 0.5 * h) < 0.012] = linear(knob)
    return np.clip(image, 0, 1)


def door(colour, rng, width, height, density) -> np.ndarray:
    """Room door with four panels and a handle."""
    image = panels(colour, rng, width, height, density, across=2, down=2, knob=colour)
    centre = image.shape[1] // 2
    image[:, centre - 2 : centre + 2] = image[:, centre + 4 : centre + 5]
    middle = image.shape[0] // 2
    image[middle - 2 : middle + 2] = image[middle + 4 : middle + 5]
    row, column = round(0.5 * image.shape[0]), round(0.07 * density)
    image[row - round(0.09 * density) : row + round(0.05 * density), column - 4 : column + 5] = linear((150, 148, 140))
    image[row - 4 : row + 4, column : column + round(0.11 * density)] = linear((110, 108, 102))
    return image


def picture(rng, width, height, density) -> np.ndarray:
    """Framed print: a landscape of hills, or colour fields, on a mount."""
    shape = _shape(width, height, density)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y / shape[0], x / shape[1]
    if rng.random() < 0.6:
        sky, low = (
            linear(rng.uniform((120, 150, 180), (200, 210, 235))),
            linear(rng.uniform((225, 170, 110), (250, 225, 190))),
        )
        image = sky + (low - sky) * np.clip(y / 0.6, 0, 1)[..., None]
        image[np.hypot((x - rng.uniform(0.3, 0.7)) * width / height, y - 0.34) < 0.07] = linear((250, 240, 205))
        for k in range(4):
            ridge = (
                0.42 + 0.12 * k + 0.06 * np.sin(x * rng.uniform(4, 9) + rng.uniform(0, 6)) + 0.02 * np.sin(x * 23 + k)
            )
            image[y > ridge] = linear(np.array((110, 135, 140)) * (1 - 0.2 * k) + rng.normal(0, 8, 3))
    else:
        image = np.broadcast_to(linear((228, 220, 204)), (*shape, 3)).copy()
        for _ in range(6):
            cx, cy, rx, ry = rng.uniform(0.15, 0.85, 2).tolist() + rng.uniform(0.06, 0.28, 2).tolist()
            field = (np.abs(x - cx) < rx) & (np.abs(y - cy) < ry)
            if rng.random() < 0.5:
                field = np.hypot((x - cx) * width / height, y - cy) < rx
            image[field] = linear(rng.choice(_SPINES))
    inset = np.minimum(np.minimum(x, 1 - x) * width, np.minimum(y, 1 - y) * height)
    image[inset < 0.075] = linear((232, 229, 220))
    image[inset < 0.028] = linear(rng.choice(np.array([(48, 40, 34), (122, 84, 50), (190, 160, 100)])))
    return np.clip(image, 0, 1).astype(np.float32)


def window(rng, width, height, density) -> np.ndarray:
    """Panes with a blurred garden under a bright sky behind white bars. It emits light: values may exceed 1."""
    shape = _shape(width, height, density)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y / shape[0], x / shape[1]
    image = np.array((1.5, 1.75, 2.1), np.float32) + np.array((0.6, 0.45, 0.1), np.float32) * y[..., None]
    for k, green in enumerate(((150, 172, 140), (112, 142, 92), (84, 120, 64))):
        crowns = 0.52 + 0.14 * k + 0.05 * _noise(rng, (1, shape[1]), 0.14 * density * (3 - k), 1)
        leaves = 1 + 0.12 * _noise(rng, shape, 0.03 * density)
        image = np.where((y > crowns)[..., None], 2.2 * linear(green) * leaves[..., None], image)
    image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), max(1.0, 0.008 * density))
    bars = (np.abs(x - 0.5) * width < 0.03) | (np.abs(y - 0.3) * height < 0.02)
    rim = np.minimum(np.minimum(x, 1 - x) * width, np.minimum(y, 1 - y) * height) < 0.06
    image[bars | rim] = linear((226, 224, 218)) * 0.9
    return image


def screen(rng, width, height, density) -> np.ndarray:
    """Switched-off television: nearly black, with a soft reflection."""
    shape = _shape(width, height, density)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    glow = np.exp(-((x / shape[1] - 0.3) ** 2 + (y / shape[0] - 0.3) ** 2) / 0.08)
    return (0.012 + 0.03 * glow[..., None] * np.array((0.8, 0.9, 1.0))).astype(np.float32)


def glow(colour, rng, width, height, density) -> np.ndarray:
    """Shade of a lamp that is on: brightest in the middle."""
    shape = _shape(width, height, density)
    y = np.abs(np.linspace(-1, 1, shape[0], dtype=np.float32))[:, None, None]
    return np.broadcast_to(np.asarray(colour, np.float32), (*shape, 3)) * (1 - 0.45 * y**2)
