"""Boxes, of which furniture is made: faces for rendering, and ray intersection for lighting."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Material = Callable[[np.random.Generator, float, float, float], np.ndarray]


@dataclass(frozen=True)
class Face:
    """Rectangle without a texture: corner, edges (u right, v down when seen from the front), material, glow."""

    origin: np.ndarray
    u: np.ndarray
    v: np.ndarray
    material: Material
    glows: bool = False
    texels_per_metre: float = 240.0


@dataclass(frozen=True)
class Box:
    """
    Upright box, rotated about the vertical axis.

    Parameters
    ----------
    centre, size : numpy.ndarray
        float64 [3], metres; size along its own x (width), y (depth) and z (height).
    yaw : float
        Rotation about z in radians; at 0 the front looks towards -y.
    material : callable
        See ``textures``.
    faces : dict
        Other materials by face: front, back, left, right, top, bottom; None omits a face.
    glows : bool
        Whether it emits light: it is then rendered unshaded and casts no shadow.
    """

    centre: np.ndarray
    size: np.ndarray
    yaw: float
    material: Material
    faces: dict = field(default_factory=dict)
    glows: bool = False

    @property
    def rotation(self) -> np.ndarray:
        """Rotation matrix from box to world, float64 [3, 3]."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])

    def surfaces(self) -> list[Face]:
        """Return the visible faces, without one that lies on the floor."""
        x, y, z = np.eye(3)
        layout = {  # outward direction, right, down
            "front": (-y, x, -z),
            "back": (y, -x, -z),
            "left": (-x, -y, -z),
            "right": (x, y, -z),
            "top": (z, x, -y),
            "bottom": (-z, x, y),
        }
        found = []
        for name, (outward, right, down) in layout.items():
            material = self.faces.get(name, self.material)
            if material is None or (name == "bottom" and self.centre[2] - self.size[2] / 2 < 1e-3):
                continue
            corner = (outward - right - down) * self.size / 2
            u, v = right * abs(right @ self.size), down * abs(down @ self.size)
            R = self.rotation
            found.append(Face(self.centre + R @ corner, R @ u, R @ v, material, self.glows))
        return found

    def hit(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """
        Return the distance along rays to the box, by the slab method (Kay and Kajiya 1986).

        Parameters
        ----------
        origin, direction : numpy.ndarray
            [..., 3], metres; shapes broadcast. The direction's length is the unit of distance.

        Returns
        -------
        numpy.ndarray
            [...], distance to the first intersection ahead; 0 inside the box, inf if the ray misses it.
        """
        kind = direction.dtype
        local, along = (origin - self.centre.astype(kind)), direction
        enter, leave = np.asarray(0, kind), np.asarray(np.inf, kind)
        # Looping over axes is several times faster than reducing over a last axis of length 3.
        for axis, half in zip(self.rotation.T.astype(kind), self.size / 2, strict=True):
            inverse = 1 / np.where((speed := _dot(along, axis)) == 0, kind.type(1e-12), speed)
            middle, reach = _dot(local, axis) * -inverse, np.abs(inverse) * kind.type(half)
            enter, leave = np.maximum(enter, middle - reach), np.minimum(leave, middle + reach)
        return np.where(enter <= leave, enter, kind.type(np.inf))

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return the distance in metres from points [..., 3] to the box, [...]; 0 inside."""
        local = np.abs((points - self.centre) @ self.rotation) - self.size / 2
        return np.linalg.norm(np.maximum(local, 0), axis=-1)


def _dot(vectors: np.ndarray, axis: np.ndarray) -> np.ndarray:
    return vectors[..., 0] * axis[0] + vectors[..., 1] * axis[1] + vectors[..., 2] * axis[2]


class Corner:
    """
    Place for furniture: adds boxes given in its own coordinates to a list in room coordinates.

    Facing the wall, x points right and y into the wall (0 at the wall, negative in the room).
    """

    def __init__(self, boxes: list[Box], x: float, y: float, yaw: float):
        self.boxes, self.yaw = boxes, yaw
        self._origin = np.array([x, y])

    def at(self, x: float, y: float, turn: float = 0.0) -> Corner:
        """Return a place relative to this one, turned by ``turn`` radians."""
        place = self._world(x, y)
        return Corner(self.boxes, place[0], place[1], self.yaw + turn)

    def _world(self, x: float, y: float) -> np.ndarray:
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return self._origin + np.array([c * x - s * y, s * x + c * y])

    def add(self, x, y, z, material: Material, glows: bool = False, **faces) -> None:
        """Add a box that spans x, y and z = (from, to) in metres."""
        spans = np.array([x, y, z], float)
        centre, size = spans.mean(axis=1), spans[:, 1] - spans[:, 0]
        place = self._world(centre[0], centre[1])
        self.boxes.append(Box(np.array([*place, centre[2]]), size, self.yaw, material, faces, glows))
