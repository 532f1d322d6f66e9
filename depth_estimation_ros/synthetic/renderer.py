"""
Render textured parallelograms with exact depth, fast enough for a live camera.

Every surface is a parallelogram ``o + a u + b v`` with a and b in [0, 1]. In the camera's frame, with
intrinsics K and a pixel p = (x, y, 1), the matrix ``G = (K [u v o])^-1`` gives ``G p = (a, b, 1) / z``:
its rows are affine in the pixel, the third one is the inverse depth itself, and the surface covers the pixel
where ``0 <= a/z <= 1/z`` and ``0 <= b/z <= 1/z``. So one matrix per surface yields coverage, depth and the
texture's homography (Hartley and Zisserman, Multiple View Geometry, section 8.1.1), also for surfaces that
pass behind the camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from depth_estimation_ros.camera import PinholeCamera

_NEAR = 0.02  # metres; nearer surface points are not drawn
_EDGE = 1e-4  # pixels by which a surface is extended, so that rounding leaves no gap to the next one


_CORNERS = np.array([[0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]])  # of a quad: a, b, 1
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)  # a pixel and its four neighbours


@dataclass(frozen=True)
class Quad:
    """
    Textured parallelogram, visible from the side where u points right and v points down.

    Parameters
    ----------
    origin, u, v : numpy.ndarray
        Corner and the two edges that start at it, float64 [3], metres in the world frame.
    texture : numpy.ndarray
        uint8 [h, w, 3] RGB; columns are along u, rows along v.
    """

    origin: np.ndarray
    u: np.ndarray
    v: np.ndarray
    texture: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        """Unit normal towards the visible side, float64 [3]."""
        normal = np.cross(self.v, self.u)
        return normal / np.linalg.norm(normal)


class QuadRenderer:
    """
    Z-buffer renderer of a fixed set of quads.

    Parameters
    ----------
    quads : list of Quad
        Quads of the scene; together they should enclose the camera, as a room does.
    """

    def __init__(self, quads: list[Quad]):
        self._origin = np.stack([q.origin for q in quads])
        self._axes = np.stack([np.stack([q.u, q.v], axis=1) for q in quads])  # [n, 3, 2]
        self._normal = np.stack([q.normal for q in quads])
        self._texels_per_metre = np.array([q.texture.shape[1] / np.linalg.norm(q.u) for q in quads])
        self._pyramids = [_pyramid(q.texture) for q in quads]

    def render(self, camera: PinholeCamera, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Render the scene.

        Parameters
        ----------
        camera : PinholeCamera
            Intrinsics.
        pose : numpy.ndarray
            Camera-to-world, float [4, 4]; the camera frame is the optical one (x right, y down, z forward).

        Returns
        -------
        rgb : numpy.ndarray
            uint8 [height, width, 3]; black where nothing is seen.
        depth : numpy.ndarray
            float32 [height, width], metres along the optical axis (REP 118), NaN where nothing is seen.
        """
        rotation, position = pose[:3, :3], pose[:3, 3]
        distance = np.einsum("ni,ni->n", self._normal, position - self._origin)
        facing = np.flatnonzero(distance > 1e-6)
        frames = np.concatenate([self._axes[facing], (self._origin[facing] - position)[:, :, None]], axis=2)
        projected = camera.k @ rotation.T @ frames
        seen = _in_view(projected, camera)
        facing, G = facing[seen], np.linalg.inv(projected[seen])
        first, last = _row_spans(G, camera)

        inverse_depth = np.zeros((camera.height, camera.width), np.float32)
        owner = np.full((camera.height, camera.width), -1, np.int16)
        boxes = _boxes(first, last)
        drawn = [i for i, (top, bottom, _, _) in enumerate(boxes) if top < bottom]
        for i in drawn:
            _draw_depth(inverse_depth, owner, i, G[i, 2], first[i], last[i], boxes[i])

        rgba = np.zeros((camera.height, camera.width, 4), np.uint8)
        for i in drawn:
            quad = facing[i]
            # Texels per pixel, the geometric mean of both directions (slant stretches one of them):
            # density z / (f sqrt(cos)), where cos ~ distance / z.
            footprint = self._texels_per_metre[quad] / (camera.focal_length * np.sqrt(distance[quad]))
            _draw_texture(rgba, inverse_depth, owner, i, G[i], self._pyramids[quad], footprint, boxes[i])
        _soften_edges(rgba, owner)
        with np.errstate(divide="ignore"):
            depth = np.reciprocal(inverse_depth)
        if owner.min() < 0:
            depth[owner < 0] = np.nan
        return cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), depth


def _pyramid(texture: np.ndarray) -> list[np.ndarray]:
    # OpenCV vectorises four channels but not three: the same values in less time.
    levels = [cv2.cvtColor(np.ascontiguousarray(texture), cv2.COLOR_RGB2RGBA)]
    while min(levels[-1].shape[:2]) > 8:
        height, width = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return levels


def _in_view(projected: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """
    Return the quads of which a part may be in view.

    A quad is out of view if all its corners are beyond one side of the view, or behind the camera.

    Parameters
    ----------
    projected : numpy.ndarray
        K [u v o] of each quad, [n, 3, 3].
    camera : PinholeCamera
        Intrinsics.

    Returns
    -------
    numpy.ndarray
        Indices, ascending.
    """
    x, y, z = np.moveaxis(projected @ _CORNERS, 1, 0)  # homogeneous pixels of the corners, [n, 4] each
    reach = np.stack([x + z, camera.width * z - x, y + z, camera.height * z - y, z])  # a pixel more than the view
    return np.flatnonzero((reach > 0).any(axis=2).all(axis=0))


def _row_spans(G: np.ndarray, camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and last column of each quad in each image row, int32 [n, height]; first > last if empty."""
    a, b, w = G[:, 0], G[:, 1], G[:, 2]
    inequalities = np.stack([a, b, w - a, w - b, w], axis=1)  # each A x + B y + C >= 0; [n, 5, 3]
    A, B, C = (inequalities[..., k, None] for k in range(3))
    rest = B * np.arange(camera.height) + C
    flat = np.abs(A) < 1e-15
    bound = -rest / np.where(flat, 1.0, A)
    lower = np.where((A > 0) & ~flat, bound, -np.inf).max(axis=1)
    upper = np.where((A < 0) & ~flat, bound, np.inf).min(axis=1)
    upper[((rest < 0) & flat).any(axis=1)] = -np.inf
    first = np.clip(np.ceil(lower - _EDGE), 0, camera.width).astype(np.int32)
    last = np.clip(np.floor(upper + _EDGE), -1, camera.width - 1).astype(np.int32)
    return first, last


def _boxes(first: np.ndarray, last: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Return the bounding box of the spans of each quad (top, bottom, left, right; half open), empty if it has none."""
    covered, height = first <= last, first.shape[1]
    top, bottom = covered.argmax(axis=1), height - covered[:, ::-1].argmax(axis=1)
    left, right = np.where(covered, first, np.iinfo(np.int32).max).min(axis=1), np.where(covered, last, -1).max(axis=1)
    bottom[~covered.any(axis=1)] = 0
    return np.column_stack([top, bottom, left, right + 1]).tolist()


def _draw_depth(inverse_depth, owner, index, plane, first, last, box) -> None:
    top, bottom, left, right = box
    columns = np.arange(left, right, dtype=np.int32)
    rows = np.arange(top, bottom)
    values = (plane[0] * columns).astype(np.float32) + (plane[1] * rows + plane[2]).astype(np.float32)[:, None]
    window = inverse_depth[top:bottom, left:right]
    nearer = values > window
    nearer &= values < 1.0 / _NEAR
    nearer &= columns >= first[top:bottom, None]
    nearer &= columns <= last[top:bottom, None]
    np.copyto(window, values, where=nearer)
    np.copyto(owner[top:bottom, left:right], np.int16(index), where=nearer)


def _draw_texture(rgba, inverse_depth, owner, index, G, pyramid, footprint, box) -> None:
    top, bottom, left, right = box
    mask = (owner[top:bottom, left:right] == index).view(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    if width == 0:
        return
    left, top, mask = left + x, top + y, mask[y : y + height, x : x + width]
    window = inverse_depth[top : top + height, left : left + width]
    nearest, farthest = cv2.minMaxLoc(window, mask)[1::-1]
    # Level l is for 0.75 to 1.5 times 2^l texels per pixel. Texels per pixel grow as z^1.5, so a level is a band of
    # depth.
    levels = [_level(footprint, z, len(pyramid)) for z in (nearest, farthest)]
    for level in range(levels[0], levels[1] + 1):
        part, window_part, px, py = mask, rgba[top : top + height, left : left + width], left, top
        if levels[0] != levels[1]:
            part = mask.copy()
            if level > levels[0]:
                part &= window < _inverse_depth_of(footprint, level)
            if level < levels[1]:
                part &= window >= _inverse_depth_of(footprint, level + 1)
            x, y, w, h = cv2.boundingRect(part)
            if w == 0:
                continue
            part, window_part = part[y : y + h, x : x + w], window_part[y : y + h, x : x + w]
            px, py = left + x, top + y
        texture = pyramid[level]
        rows, columns = texture.shape[:2]
        to_texel = np.array([[columns, 0, -0.5], [0, rows, -0.5], [0, 0, 1.0]])
        shift = np.array([[1.0, 0, px], [0, 1.0, py], [0, 0, 1.0]])
        size = (part.shape[1], part.shape[0])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpPerspective(texture, to_texel @ G @ shift, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        cv2.copyTo(warped, part, window_part)


def _level(footprint: float, inverse_depth: float, count: int) -> int:
    texels = footprint * max(inverse_depth, 1e-3) ** -1.5
    return min(max(math.floor(math.log2(texels / 0.75)), 0), count - 1)


def _inverse_depth_of(footprint: float, level: int) -> np.float32:
    """Return the inverse depth below which ``level`` (1 or more) is used."""
    return np.float32((0.75 * 2.0**level / footprint) ** (-2.0 / 3.0))


def _soften_edges(rgba: np.ndarray, owner: np.ndarray) -> None:
    """Blend pixels at a border between surfaces with their neighbours, against aliasing."""
    edge = cv2.dilate(owner, _CROSS) != cv2.erode(owner, _CROSS)
    cv2.copyTo(cv2.GaussianBlur(rgba, (3, 3), 0.9), edge.view(np.uint8), rgba)
