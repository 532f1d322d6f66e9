"""
Static lighting: each surface's texture is its reflectance, lit by the room's lamps and window.

Direct light comes from points spread over each lamp (Lambert's cosine law at both ends, inverse square,
shadows by ray casting). In addition there is uniform ambient light, dimmed near other surfaces (ambient occlusion).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_estimation_ros.synthetic.renderer import Quad
from depth_estimation_ros.synthetic.solids import Box, Face

_TEXELS_PER_METRE = 9.0
_AMBIENT = np.array((0.32, 0.315, 0.31), np.float32)
_OCCLUSION_RANGE = 0.55  # metres; distance scale (1/e) over which a near surface dims the ambient light
_AMBIENT_RAYS = 16


@dataclass(frozen=True)
class Lamp:
    """Rectangular lamp: centre and half edges in metres, normal, and power as linear RGB."""

    centre: np.ndarray
    half_u: np.ndarray
    half_v: np.ndarray
    normal: np.ndarray
    power: np.ndarray
    samples: int = 3  # per direction

    def points(self) -> np.ndarray:
        """Return points spread evenly over the lamp, float64 [samples * samples, 3]."""
        grid = (np.arange(self.samples) + 0.5) / self.samples * 2 - 1
        return np.array([self.centre + a * self.half_u + b * self.half_v for a in grid for b in grid])


def paint_faces(faces: list[Face], boxes: list[Box], lamps: list[Lamp], room: np.ndarray, rng) -> list[Quad]:
    """
    Return the faces with lit textures.

    Parameters
    ----------
    faces : list of Face
        Surfaces to paint.
    boxes : list of Box
        Objects that cast shadows.
    lamps : list of Lamp
        Light sources.
    room : numpy.ndarray
        float64 [3], size of the room in metres; the room spans from 0 to it.
    rng : numpy.random.Generator
        Random generator for the materials.
    """
    grids = [_grid(face) for face in faces]
    points = np.concatenate([grid[0].reshape(-1, 3) for grid in grids])
    normals = np.concatenate([np.broadcast_to(grid[1], grid[0].shape).reshape(-1, 3) for grid in grids])
    shadows = [box for box in boxes if not box.glows]
    light = _light(points.astype(np.float32), normals.astype(np.float32), shadows, lamps, room, rng)
    quads, start = [], 0
    for face, (grid, _) in zip(faces, grids, strict=True):
        rows, columns = grid.shape[:2]
        part = light[start : start + rows * columns].reshape(rows, columns, 3)
        start += rows * columns
        quads.append(Quad(face.origin, face.u, face.v, _texture(face, part, rng)))
    return quads


def _grid(face: Face) -> tuple[np.ndarray, np.ndarray]:
    """Return sample points of a face [rows, columns, 3], 4 mm in front of it, and its normal."""
    normal = np.cross(face.v, face.u)
    normal /= np.linalg.norm(normal)
    columns, rows = (max(2, round(np.linalg.norm(edge) * _TEXELS_PER_METRE)) for edge in (face.u, face.v))
    a, b = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
    points = face.origin + a[None, :, None] * face.u + b[:, None, None] * face.v + 0.004 * normal
    return points, normal


def _light(points, normals, boxes, lamps, room, rng) -> np.ndarray:
    """Return the irradiance at points [n, 3] with normals [n, 3]: linear RGB, float32 [n, 3]."""
    total = _ambient(points, normals, boxes, room, rng)[:, None] * _AMBIENT
    for lamp in lamps:
        sources = lamp.points().astype(np.float32)
        ray = sources[:, None] - points  # [s, n, 3]
        square = np.maximum(np.einsum("sni,sni->sn", ray, ray), 0.05)
        towards = np.einsum("sni,ni->sn", ray, normals)
        leaving = -(ray @ lamp.normal.astype(np.float32))
        share = np.clip(towards, 0, None) * np.clip(leaving, 0, None) / (square * square)
        lit = np.flatnonzero(share.max(axis=0) > 1e-4)
        for box in boxes:
            # A box can shade only points that have a part of it above their surface.
            reach = (box.centre.astype(np.float32) - points[lit]) * normals[lit]
            near = lit[reach.sum(axis=1) > -0.5 * np.linalg.norm(box.size)]
            share[:, near] *= box.hit(points[near], ray[:, near]) > 1.0
        total += share.mean(axis=0)[:, None] * lamp.power.astype(np.float32)
    return total


def _ambient(points, normals, boxes, room, rng) -> np.ndarray:
    """Return the share of ambient light that reaches each point, float32 [n]."""
    side = np.where(np.abs(normals[:, 2:]) > 0.9, np.array((1, 0, 0), np.float32), np.array((0, 0, 1), np.float32))
    tangent = np.cross(normals, side)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    other = np.cross(normals, tangent)
    start = rng.uniform(0, 2 * np.pi, len(points)).astype(np.float32)
    directions = []
    for k in range(_AMBIENT_RAYS):  # cosine-weighted directions on a spiral
        radius = np.sqrt((k + 0.5) / _AMBIENT_RAYS)
        angle = start + np.float32(2.399963 * k)
        x, y = np.float32(radius) * np.cos(angle)[:, None], np.float32(radius) * np.sin(angle)[:, None]
        directions.append(x * tangent + y * other + np.float32(np.sqrt(1 - radius * radius)) * normals)
    rays = np.stack(directions)  # [k, n, 3]
    inverse = 1 / np.where(np.abs(rays) < 1e-9, np.float32(1e-9), rays)
    nearest = np.maximum(-points * inverse, (room.astype(np.float32) - points) * inverse).min(axis=2)
    for box in boxes:
        near = np.flatnonzero(box.distance(points) < 2 * _OCCLUSION_RANGE)
        nearest[:, near] = np.minimum(nearest[:, near], box.hit(points[near], rays[:, near]))
    return 1 - 0.85 * np.exp(-nearest / _OCCLUSION_RANGE).mean(axis=0)


def _texture(face: Face, light: np.ndarray, rng) -> np.ndarray:
    width, height = float(np.linalg.norm(face.u)), float(np.linalg.norm(face.v))
    reflectance = face.material(rng, width, height, face.texels_per_metre)
    if face.glows:
        radiance = reflectance
    else:
        light = cv2.GaussianBlur(light, (3, 3), 0.8, borderType=cv2.BORDER_REPLICATE)
        size = (reflectance.shape[1], reflectance.shape[0])
        radiance = reflectance * cv2.resize(light, size, interpolation=cv2.INTER_LINEAR)
    exposed = 1 - np.exp(-1.9 * radiance)
    return np.round(255 * exposed ** (1 / 2.2)).astype(np.uint8)
