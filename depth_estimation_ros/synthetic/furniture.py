"""Furniture for a wall or the middle of a room, made of boxes. Every function takes a place and a random generator."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from depth_estimation_ros.synthetic import textures
from depth_estimation_ros.synthetic.solids import Corner

WOODS = ((176, 128, 84), (142, 96, 60), (104, 70, 46), (206, 172, 128), (226, 222, 214))
CLOTHS = (
    (70, 92, 112),
    (122, 66, 58),
    (96, 104, 84),
    (150, 132, 110),
    (88, 88, 96),
    (176, 140, 72),
    (52, 78, 92),
)


def _wood(rng):
    return partial(textures.wood, rng.choice(np.array(WOODS)))


def _cloth(rng):
    return partial(textures.fabric, rng.choice(np.array(CLOTHS)))


def _plain(*colour):
    return partial(textures.paint, colour)


def sofa(place: Corner, rng, width: float = 2.0) -> None:
    """Sofa against the wall, with seat and back cushions and two pillows."""
    cloth, half = _cloth(rng), width / 2
    place.add((-half, half), (-0.90, -0.05), (0.06, 0.30), cloth)
    place.add((-half + 0.18, half - 0.18), (-0.24, -0.05), (0.30, 0.84), cloth)
    for side in (-1, 1):
        place.add(sorted((side * half, side * (half - 0.18))), (-0.92, -0.05), (0.06, 0.60), cloth)
        seat = sorted((side * 0.005, side * (half - 0.185)))
        place.add(seat, (-0.92, -0.24), (0.30, 0.45), cloth)
        place.add(seat, (-0.40, -0.24), (0.45, 0.78), cloth)
        pillow = place.at(side * (half - 0.46), -0.48, side * rng.uniform(0.1, 0.5))
        pillow.add((-0.21, 0.21), (-0.07, 0.07), (0.45, 0.84), _cloth(rng))


def table(place: Corner, rng, width: float, depth: float, height: float) -> None:
    """Table with four legs, centred on its place."""
    wood = _wood(rng)
    place.add((-width / 2, width / 2), (-depth / 2, depth / 2), (height - 0.035, height), wood)
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = sx * (width / 2 - 0.06), sy * (depth / 2 - 0.06)
            place.add((x - 0.03, x + 0.03), (y - 0.03, y + 0.03), (0, height - 0.035), wood, top=None)
    for _ in range(2):  # add a book and a box
        x, y = rng.uniform(-0.3, 0.3) * width, rng.uniform(-0.2, 0.2) * depth
        thing = place.at(x, y, rng.uniform(-0.6, 0.6))
        thing.add((-0.12, 0.12), (-0.08, 0.08), (height, height + rng.uniform(0.02, 0.10)), _cloth(rng), bottom=None)


def chair(place: Corner, rng, wood=None) -> None:
    """Chair whose front looks towards -y."""
    wood = wood or _wood(rng)
    place.add((-0.21, 0.21), (-0.21, 0.21), (0.42, 0.46), wood)
    for x in (-0.19, 0.19):
        place.add((x - 0.018, x + 0.018), (-0.21, -0.174), (0, 0.42), wood, top=None)
        place.add((x - 0.018, x + 0.018), (0.174, 0.21), (0, 0.90), wood)
    place.add((-0.172, 0.172), (0.18, 0.204), (0.62, 0.88), wood)


def bookshelf(place: Corner, rng, width: float = 1.2, height: float = 2.0) -> None:
    """Open shelf full of books."""
    wood, half = _wood(rng), width / 2
    place.add((-half, half), (-0.02, 0.0), (0, height), wood)
    for x in (-half, half - 0.025):
        place.add((x, x + 0.025), (-0.30, -0.02), (0, height), wood)
    boards = np.linspace(0.06, height - 0.025, 6)
    for z in boards:
        place.add((-half + 0.025, half - 0.025), (-0.30, -0.02), (z, z + 0.025), wood)
    for low, high in zip(boards[:-1] + 0.025, boards[1:], strict=True):
        split = rng.uniform(-0.2, 0.2) * width
        for a, b in ((-half + 0.03, split), (split + rng.uniform(0, 0.2) * width, half - 0.03)):
            if rng.random() < 0.15:
                continue
            z = low + (high - low) * rng.uniform(0.68, 0.88)
            place.add(
                (a, b),
                (-rng.uniform(0.20, 0.27), -0.04),
                (low, z),
                _cloth(rng),
                front=textures.books,
                bottom=None,
            )


def cabinet(place: Corner, rng, width: float = 1.6, height: float = 0.62, across: int = 3, down: int = 1) -> None:
    """Cabinet with closed, panelled doors on a plinth."""
    colour = rng.choice(np.array(WOODS))
    wood, half = partial(textures.wood, colour), width / 2
    front = partial(textures.panels, colour, across=across, down=down)
    place.add((-half + 0.03, half - 0.03), (-0.40, -0.01), (0, 0.07), _plain(60, 54, 48), top=None)
    place.add((-half, half), (-0.44, 0.0), (0.07, height), wood, front=front)


def wardrobe(place: Corner, rng) -> None:
    """Tall cabinet with two doors."""
    cabinet(place, rng, 1.1, 1.95, across=2, down=1)


def television(place: Corner, rng, z: float) -> None:
    """Television on its foot, standing at height z."""
    place.add((-0.22, 0.22), (-0.30, -0.14), (z, z + 0.02), _plain(28, 28, 30))
    place.add((-0.05, 0.05), (-0.24, -0.21), (z + 0.02, z + 0.10), _plain(28, 28, 30))
    place.add((-0.52, 0.52), (-0.245, -0.205), (z + 0.07, z + 0.68), _plain(22, 22, 24), front=textures.screen)


def pictures(place: Corner, rng, span: float, z: float = 1.55) -> None:
    """One to three framed pictures side by side."""
    count = int(rng.integers(1, 4)) if span > 1.4 else 1
    for k in range(count):
        x = (k + 0.5 - count / 2) * span / count
        w, h = rng.uniform(0.38, min(0.7, 0.9 * span / count)), rng.uniform(0.36, 0.6)
        dz = rng.uniform(-0.05, 0.05)
        frame = _plain(64, 52, 42)
        place.add(
            (x - w / 2, x + w / 2),
            (-0.028, 0),
            (z + dz - h / 2, z + dz + h / 2),
            frame,
            front=textures.picture,
        )


def window(place: Corner, rng, width: float, low: float = 0.92, high: float = 2.12) -> None:
    """Window with sill and curtains; its glass glows."""
    half = width / 2
    place.add((-half, half), (-0.03, 0), (low, high), textures.window, glows=True)
    place.add((-half - 0.05, half + 0.05), (-0.16, 0), (low - 0.035, low), _plain(228, 226, 220))
    cloth = partial(
        textures.curtain,
        rng.choice(np.array(((196, 178, 148), (176, 92, 78), (128, 148, 150), (206, 200, 188)))),
    )
    for side in (-1, 1):
        span = sorted((side * (half - 0.10), side * (half + 0.30)))
        place.add(span, (-0.15, -0.07), (0.10, high + 0.10), cloth)
    place.add((-half - 0.4, half + 0.4), (-0.125, -0.10), (high + 0.10, high + 0.125), _plain(74, 62, 52))


def radiator(place: Corner, rng, width: float = 1.2) -> None:
    """Radiator under the window."""
    ribs = partial(textures.panels, (232, 230, 224), across=int(width / 0.08), down=1, knob=(232, 230, 224))
    place.add((-width / 2, width / 2), (-0.13, -0.04), (0.14, 0.74), _plain(232, 230, 224), front=ribs)


def door(place: Corner, rng) -> None:
    """Room door with its frame."""
    colour = rng.choice(np.array(((232, 228, 220), (176, 128, 84), (142, 96, 60))))
    frame = partial(textures.wood, colour)
    place.add((-0.44, 0.44), (-0.02, 0), (0.0, 2.02), frame, front=partial(textures.door, colour))
    for x in (-0.52, 0.44):
        place.add((x, x + 0.08), (-0.045, 0), (0, 2.02), frame)
    place.add((-0.52, 0.52), (-0.045, 0), (2.02, 2.10), frame)


def floor_lamp(place: Corner, rng) -> None:
    """Standing lamp; its shade glows."""
    place.add((-0.14, 0.14), (-0.14, 0.14), (0, 0.025), _plain(50, 48, 46))
    place.add((-0.012, 0.012), (-0.012, 0.012), (0.025, 1.30), _plain(50, 48, 46))
    shade = partial(textures.glow, (1.05, 0.80, 0.48))
    place.add((-0.19, 0.19), (-0.19, 0.19), (1.30, 1.62), shade, glows=True)


def plant(place: Corner, rng) -> None:
    """Pot with a bushy plant made of turned leaves."""
    place.add((-0.15, 0.15), (-0.15, 0.15), (0, 0.32), partial(textures.paint, (150, 86, 62)))
    green = partial(textures.fabric, (74, 104, 56))
    for k in range(7):
        leaf = place.at(0, 0, 2 * math.pi * k / 7 + rng.uniform(-0.3, 0.3))
        x, z = rng.uniform(0.02, 0.10), rng.uniform(0.30, 0.5)
        leaf.add((x, x + rng.uniform(0.12, 0.22)), (-0.012, 0.012), (z, z + rng.uniform(0.3, 0.55)), green)


def dining(place: Corner, rng) -> None:
    """Dining table with four chairs, more or less pushed in."""
    table(place, rng, 1.35, 0.8, 0.75)
    wood = _wood(rng)
    for x, y, turn in ((-0.33, -0.55, math.pi), (0.33, -0.5, math.pi), (-0.33, 0.52, 0.0), (0.33, 0.6, 0.0)):
        chair(place.at(x, y, turn + rng.uniform(-0.25, 0.25)), rng, wood)


def lounge(place: Corner, rng) -> None:
    """Rug with a low table."""
    colour = rng.choice(np.array(((128, 44, 40), (44, 58, 88), (92, 84, 70), (60, 84, 72))))
    place.add((-1.15, 1.15), (-0.8, 0.8), (0, 0.008), partial(textures.rug, colour))
    table(place.at(0, 0, rng.uniform(-0.15, 0.15)), rng, 1.05, 0.6, 0.42)


def desk(place: Corner, rng) -> None:
    """Desk against the wall with a screen and a chair."""
    table(place.at(0, -0.36), rng, 1.3, 0.68, 0.74)
    television_at = place.at(rng.uniform(-0.2, 0.2), -0.02)
    television_at.add((-0.27, 0.27), (-0.235, -0.21), (0.84, 1.16), _plain(30, 30, 32), front=textures.screen)
    television_at.add((-0.03, 0.03), (-0.21, -0.19), (0.75, 0.95), _plain(30, 30, 32))
    chair(place.at(rng.uniform(-0.15, 0.15), -0.85, math.pi + rng.uniform(-0.5, 0.5)), rng)


def things(place: Corner, rng, z: float, span: float) -> None:
    """Vase, small lamp and lying books on a cabinet of height z."""
    place.at(-span / 3, -0.2, 0.4).add((-0.07, 0.07), (-0.07, 0.07), (z, z + rng.uniform(0.2, 0.32)), _cloth(rng))
    for k in range(int(rng.integers(1, 4))):
        book = place.at(rng.uniform(0.0, 0.15), -0.2, rng.uniform(-0.3, 0.3))
        book.add((-0.13, 0.13), (-0.09, 0.09), (z + 0.03 * k, z + 0.03 * (k + 1) - 0.001), _cloth(rng))
    foot = place.at(span / 3, -0.2)
    foot.add((-0.05, 0.05), (-0.05, 0.05), (z, z + 0.16), _plain(196, 160, 110))
    foot.add((-0.11, 0.11), (-0.11, 0.11), (z + 0.16, z + 0.34), _plain(236, 228, 210))
