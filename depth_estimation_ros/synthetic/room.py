"""Furnished room, different for every seed, and a camera trajectory in it."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.synthetic import furniture, textures
from depth_estimation_ros.synthetic.lighting import Lamp, paint_faces
from depth_estimation_ros.synthetic.renderer import QuadRenderer
from depth_estimation_ros.synthetic.solids import Box, Corner, Face

_WALLS = (
    (226, 218, 202),
    (206, 212, 206),
    (214, 200, 178),
    (196, 206, 216),
    (218, 206, 206),
    (232, 228, 220),
)
_FLOORS = ((164, 116, 74), (128, 86, 54), (186, 148, 104), (150, 128, 106))
_WALK_SECONDS = 40.0


class Room:
    """
    Box-shaped room of about 6 x 5 x 2.7 m with furniture, lamps and a window.

    The world frame is right-handed with z up and its origin in a corner of the floor; the room spans
    ``0 .. size``.

    Parameters
    ----------
    seed : int
        Seed of size, colours, furniture and trajectory; the same seed gives the same room.

    Attributes
    ----------
    size : numpy.ndarray
        float64 [3], metres.
    boxes : list of Box
        All furniture.
    """

    def __init__(self, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.size = np.array([rng.uniform(5.4, 6.6), rng.uniform(4.7, 5.5), rng.uniform(2.5, 2.85)])
        self.boxes: list[Box] = []
        lamps = self._furnish(rng)
        faces = self._shell(rng) + [face for box in self.boxes for face in box.surfaces()]
        self._renderer = QuadRenderer(paint_faces(faces, self.boxes, lamps, self.size, rng))
        self._phase = rng.uniform(0, 2 * math.pi, 4)

    def render(self, camera: PinholeCamera, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Render an image with depth.

        Parameters
        ----------
        camera : PinholeCamera
            Intrinsics.
        pose : numpy.ndarray
            Camera-to-world, float [4, 4], optical frame (x right, y down, z forward).

        Returns
        -------
        rgb : numpy.ndarray
            uint8 [height, width, 3].
        depth : numpy.ndarray
            float32 [height, width], metres along the optical axis (REP 118).
        """
        return self._renderer.render(camera, pose)

    def cast(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """
        Return the distance along rays to the first surface, by ray casting.

        Parameters
        ----------
        origin : numpy.ndarray
            float [3], inside the room, metres.
        direction : numpy.ndarray
            float64 [..., 3]; its length is the unit of distance.

        Returns
        -------
        numpy.ndarray
            float64 [...].
        """
        along = np.where(direction == 0, 1e-12, direction)
        nearest = np.maximum(-origin / along, (self.size - origin) / along).min(axis=-1)
        for box in self.boxes:
            np.minimum(nearest, box.hit(origin, direction), out=nearest)
        return nearest

    def trajectory(self, t: float, height: float | None = None, pitch: float | None = None) -> np.ndarray:
        """
        Return the camera's pose on its trajectory, which is periodic with 40 s and continuous.

        The camera circles the middle of the room and looks across it: by default 1.2 to 1.45 m high and slightly
        downwards, like a hand-held camera; with `height` and `pitch`, like a camera mounted on a robot.

        Parameters
        ----------
        t : float
            Time in seconds.
        height, pitch : float, optional
            Pose of a mounted camera: height above the floor in metres, and upward pitch in radians.

        Returns
        -------
        numpy.ndarray
            Camera-to-world, float64 [4, 4].
        """
        turn = 2 * math.pi * t / _WALK_SECONDS
        a, b, c, d = self._phase
        angle = turn + a
        radius = 1.0 + 0.12 * math.sin(3 * turn + b)
        centre, reach = self.size[:2] / 2, self.size[:2] / 2 - 1.3
        x, y = centre + radius * reach * (math.cos(angle), math.sin(angle))
        z = 1.32 + 0.12 * math.sin(2 * turn + c) if height is None else height
        heading = math.atan2(centre[1] - y, centre[0] - x) + 0.30 * math.sin(2 * turn + d)
        pitch = -0.16 + 0.06 * math.sin(3 * turn + c) if pitch is None else pitch
        return look(np.array([x, y, z]), heading, pitch)

    def _shell(self, rng) -> list[Face]:
        """Return floor, ceiling and walls, visible from inside."""
        w, d, h = self.size
        wall_colour, floor_colour = rng.choice(np.array(_WALLS)), rng.choice(np.array(_FLOORS))
        floor = rng.choice(np.array([textures.planks, textures.planks, textures.tiles]))
        paper = partial(rng.choice(np.array([textures.paint, textures.paint, textures.stripes])), wall_colour)
        x, y, z = np.eye(3)
        faces = [
            Face(np.array([0, d, 0.0]), w * x, -d * y, partial(floor, floor_colour), texels_per_metre=260),
            Face(
                np.array([0, 0, h]),
                w * x,
                d * y,
                partial(textures.paint, (240, 238, 232)),
                texels_per_metre=100,
            ),
        ]
        for origin, along in (((0, d), w * x), ((w, d), -d * y), ((w, 0), -w * x), ((0, 0), d * y)):
            faces.append(Face(np.array([*origin, h]), along, -h * z, paper, texels_per_metre=180))
        return faces

    def _furnish(self, rng) -> list[Lamp]:
        """Fill ``boxes`` and return the lamps."""
        w, d, h = self.size
        first = int(rng.integers(4))
        mirror = int(rng.choice((-1, 1)))
        walls = []
        for k in range(4):
            side = (first + mirror * k) % 4
            origin, length = (((w / 2, d), w), ((w, d / 2), d), ((w / 2, 0), w), ((0, d / 2), d))[side]
            wall = Corner(self.boxes, origin[0], origin[1], -side * math.pi / 2)
            skirting = partial(textures.paint, (222, 218, 210))
            wall.add((-length / 2, length / 2), (-0.014, 0), (0, 0.08), skirting)
            walls.append((wall, length))
        lamps = [self._window_wall(*walls[0], rng)]
        self._shelf_wall(*walls[1], rng)
        lamps.append(self._sofa_wall(*walls[2], rng))
        self._door_wall(*walls[3], rng)
        middle = Corner(self.boxes, w / 2, d / 2, rng.choice((0.0, math.pi / 2)) + rng.uniform(-0.12, 0.12))
        (furniture.dining if rng.random() < 0.4 else furniture.lounge)(middle, rng)

        ceiling = Corner(self.boxes, w / 2, d / 2, 0.0)
        shade = partial(textures.glow, (1.6, 1.5, 1.3))
        ceiling.add((-0.28, 0.28), (-0.28, 0.28), (h - 0.07, h), shade, glows=True, top=None)
        down = np.array([0, 0, -1.0])
        half = np.array([0.3, 0, 0]), np.array([0, 0.3, 0])
        lamps.append(Lamp(np.array([w / 2, d / 2, h - 0.1]), *half, down, np.array([5.2, 4.7, 4.0])))
        return lamps

    def _window_wall(self, wall: Corner, length: float, rng) -> Lamp:
        width, x = rng.uniform(1.5, 2.2), rng.uniform(-0.5, 0.5)
        place = wall.at(x, 0)
        furniture.window(place, rng, width)
        furniture.radiator(place, rng, 0.75 * width)
        furniture.plant(wall.at(-length / 2 + 0.45, -0.45), rng)
        if length / 2 - (x + width / 2) > 1.1:
            furniture.pictures(wall.at((length / 2 + x + width / 2) / 2 + 0.1, 0), rng, 0.8)
        pane = self.boxes[[box.material for box in self.boxes].index(textures.window)]
        into = -pane.rotation[:, 1]
        u, v = pane.rotation[:, 0] * width / 2, np.array([0, 0, pane.size[2] / 2])
        return Lamp(pane.centre + 0.18 * into, u, v, into, np.array([7.0, 7.6, 8.6]))

    def _shelf_wall(self, wall: Corner, length: float, rng) -> None:
        side = rng.choice((-1, 1))
        width = rng.uniform(1.0, 1.5)
        furniture.bookshelf(wall.at(side * (length / 2 - width / 2 - 0.35), 0), rng, width, rng.uniform(1.8, 2.1))
        place = wall.at(-side * 0.75, 0)
        span = rng.uniform(1.4, 1.8)
        furniture.cabinet(place, rng, span)
        if rng.random() < 0.6:
            furniture.television(place, rng, 0.62)
        else:
            furniture.things(place, rng, 0.62, span)
            furniture.pictures(place, rng, 1.7, 1.6)

    def _sofa_wall(self, wall: Corner, length: float, rng) -> Lamp:
        side, x = rng.choice((-1, 1)), rng.uniform(-0.3, 0.3)
        furniture.sofa(wall.at(x, 0), rng, rng.uniform(1.8, 2.3))
        furniture.pictures(wall.at(x, 0), rng, 2.0, 1.6)
        lamp_at = wall.at(x + side * 1.55, -0.4)
        furniture.floor_lamp(lamp_at, rng)
        furniture.table(wall.at(x - side * 1.5, -0.35), rng, 0.5, 0.5, 0.5)
        shade = self.boxes[[box.glows and box.size[2] < 0.4 for box in self.boxes].index(True)]
        half = np.array([0.15, 0, 0]), np.array([0, 0.15, 0])
        return Lamp(
            shade.centre + np.array([0, 0, 0.2]),
            *half,
            np.array([0, 0, 1.0]),
            np.array([1.3, 0.9, 0.5]),
            samples=2,
        )

    def _door_wall(self, wall: Corner, length: float, rng) -> None:
        side = rng.choice((-1, 1))
        furniture.door(wall.at(side * (length / 2 - 0.9), 0), rng)
        place = wall.at(-side * (length / 2 - 1.1), 0)
        choice = rng.integers(3)
        if choice == 0:
            furniture.wardrobe(place, rng)
        else:
            furniture.desk(place, rng)
            furniture.pictures(place, rng, 1.0, 1.65)
        furniture.pictures(wall.at(side * (length / 2 - 2.1), 0), rng, 0.7)


def look(position: np.ndarray, heading: float, pitch: float) -> np.ndarray:
    """
    Return the pose of a camera without roll.

    Parameters
    ----------
    position : numpy.ndarray
        float [3], metres in the world frame.
    heading : float
        Direction of view about z in radians; 0 looks along x.
    pitch : float
        Upward angle in radians.

    Returns
    -------
    numpy.ndarray
        Camera-to-world of the optical frame, float64 [4, 4].
    """
    forward = np.array([math.cos(pitch) * math.cos(heading), math.cos(pitch) * math.sin(heading), math.sin(pitch)])
    right = np.array([math.sin(heading), -math.cos(heading), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose
