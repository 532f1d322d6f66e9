"""
Sparse true depth from the known poses of a moving camera: corners are tracked to other images and triangulated.

Linear triangulation with known cameras, epipolar geometry and the growth of the error with a small parallax are in
Hartley and Zisserman, Multiple View Geometry (2nd ed. 2004), chapters 9 and 12; the tracker is that of Lucas and Kanade
in pyramids (Bouguet 2000), checked forward and backward.

What is not handled: things that move, where they move along the epipolar lines; and a wrong length of the poses' steps
(the scale of a monocular SLAM), which no image shows and which all depths share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depth_estimation_ros.camera import PinholeCamera

MIN_PARALLAX = np.radians(1.0)
"""Between the rays of a point that are furthest apart; less leaves its depth to chance."""

MAX_DEVIATION = 0.1
"""Points whose estimated relative standard deviation is larger are left out."""

_CORNERS, _QUALITY, _APART = 800, 0.005, 0.011  # how many, of what strength, and how far apart (of the image's width)
_STEPS = (1.0, 0.4, 0.16, 0.064)  # distances of the images to track to, as shares of the longest on either side
_SHORTEST = 0.15  # share of the longest distance of all
_MOST_TURNED = np.radians(25.0)
_BACK = 0.3  # pixels by which a corner tracked there and back may miss itself
_BEST, _WORST = 0.5, 3.0  # px: no tracker is better; poses that leave more do not fit the images
_SIGMAS = 3.0
_SURE = 0.01  # relative deviation from which a point need not be tracked any further
_FEWEST = 12
_TRACKER = {
    "winSize": (11, 11),
    "maxLevel": 4,
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01),
    "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
}


@dataclass(frozen=True, eq=False)
class Posed:
    """
    An image with its camera's pose.

    Parameters
    ----------
    grey : numpy.ndarray
        uint8 [h, w], without distortion.
    camera : PinholeCamera
        Its intrinsics, of this size.
    pose : numpy.ndarray
        float64 [4, 4], from the optical frame to one that does not move.
    shown : numpy.ndarray, optional
        bool [h, w]: what the camera saw; all without.
    """

    grey: np.ndarray
    camera: PinholeCamera
    pose: np.ndarray
    shown: np.ndarray | None = None


def triangulate(target: Posed, before: Sequence[Posed], after: Sequence[Posed]) -> tuple[np.ndarray, float]:
    """
    Find the depth of corners of an image.

    Parameters
    ----------
    target : Posed
        The image.
    before, after : sequence of Posed
        Images of the same camera from around; which of them to track to is chosen by how far the camera has moved.

    Returns
    -------
    truth : numpy.ndarray
        float32 [h, w], metres along z, NaN where there is no point.
    deviation : float
        Relative standard deviation of a depth, estimated from what the images say of the errors of tracker, poses and
        intrinsics: how far corners lie beside their epipolar lines, and by how much the depths differ that the other
        images give one by one.

    Raises
    ------
    ValueError
        If there is no depth to be had; the reason.
    """
    apart = max(3.0, _APART * target.grey.shape[1])
    mask = None if target.shown is None else target.shown.astype(np.uint8)
    corners = cv2.goodFeaturesToTrack(target.grey, _CORNERS, _QUALITY, apart, mask=mask)
    if corners is None or len(corners) < _FEWEST:
        raise ValueError("too few corners to triangulate")
    points, misfits = _Points(target, corners[:, 0]), []
    for view in _choose(target, before, after):
        misfits.append(points.observe(view))
    if misfits and not points.views:
        raise ValueError("the poses do not fit the images: what is tracked does not lie on its epipolar lines")
    kept = points.reliable()
    if not kept.any():
        raise ValueError("the camera moved too little, or its view changed too much, to triangulate")
    truth = np.full(target.grey.shape, np.nan, np.float32)
    u, v = points.pixels[kept].astype(int).T
    truth[v, u] = 1 / points.inverse[kept]
    return truth, float(np.hypot(np.median(points.deviation[kept]), points.disagreement(kept)))


def _choose(target: Posed, before: Sequence[Posed], after: Sequence[Posed]) -> list[Posed]:
    """Return images from several distances on either side, the nearest first."""
    sides = [[(_distance(target, other), other) for other in others] for others in (before, after)]
    longest = max((distance or 0.0 for side in sides for distance, _ in side), default=0.0)
    chosen: dict[int, tuple[float, Posed]] = {}
    for side in sides:
        usable = [row for row in side if row[0] is not None and row[0] >= _SHORTEST * longest > 0]
        furthest = max((distance for distance, _ in usable), default=0.0)
        for share in _STEPS if usable else ():
            nearest = min(usable, key=lambda row: abs(row[0] - share * furthest))
            chosen[id(nearest[1])] = nearest
    return [other for _, other in sorted(chosen.values(), key=lambda row: row[0])]


def _distance(target: Posed, other: Posed) -> float | None:
    """Return how far the camera has moved, metres; None where too little of its view can be the same."""
    relative = np.linalg.inv(other.pose) @ target.pose
    turned = np.arccos(np.clip((np.trace(relative[:3, :3]) - 1) / 2, -1, 1))
    return float(np.linalg.norm(relative[:3, 3])) if turned < _MOST_TURNED and other.camera == target.camera else None


class _Points:
    """
    Corners of an image and where others see them; each has one unknown, its inverse depth along the pixel's ray.

    Attributes
    ----------
    pixels : numpy.ndarray
        float32 [n, 2].
    inverse, deviation : numpy.ndarray
        float64 [n]: 1 / metres, and the relative standard deviation of the depth.
    views : list of numpy.ndarray
        float64 [4, 4], from the image's camera to those of the others that saw them.
    """

    def __init__(self, image: Posed, pixels: np.ndarray):
        self._image, self._k, self.pixels, self.views = image, image.camera.k, pixels, []
        self._rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(self._k).T
        self._seen, self._sigmas = [], []  # [n, 2] with NaN where not, and pixels
        self.inverse, self.deviation = np.zeros(len(pixels)), np.full(len(pixels), np.inf)

    def observe(self, other: Posed) -> float:
        """Track the points that are not certain yet to another image; return how far they lie off, px."""
        relative = np.linalg.inv(other.pose) @ self._image.pose
        pending = np.flatnonzero(self.deviation > _SURE)
        if not len(pending):
            return 0.0
        seen = np.full(self.pixels.shape, np.nan)
        seen[pending] = _track(self._image.grey, other.grey, self.pixels[pending], self._project(relative)[0][pending])
        off = self._off_lines(relative, seen)
        tracked = np.isfinite(off)
        if tracked.sum() < _FEWEST:
            return 0.0
        sigma = 1.4826 * float(np.median(np.abs(off[tracked])))
        if sigma <= _WORST:
            sigma = max(sigma, _BEST)
            seen[~(np.abs(off) < _SIGMAS * sigma)] = np.nan
            self.views.append(relative)
            self._seen.append(seen)
            self._sigmas.append(sigma)
            self._solve()
        return sigma

    def reliable(self) -> np.ndarray:
        """Return which points are seen well enough: bool [n]."""
        if not self.views:
            return np.zeros(len(self.pixels), bool)
        seen, error = self._residuals()
        # From two other images at least: a single one cannot contradict.
        agree = (np.sum(seen, axis=0) >= 2) & np.all(error < _SIGMAS * np.reshape(self._sigmas, (-1, 1)), axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            places = self._rays / self.inverse[:, None]
            centres = [np.zeros(3), *(-view[:3, :3].T @ view[:3, 3] for view in self.views)]
            towards = places[:, None] - np.array(centres)
            towards /= np.linalg.norm(towards, axis=2, keepdims=True)
        used = np.column_stack([np.ones(len(places), bool), *seen])
        cosines = np.where(used[:, :, None] & used[:, None], towards @ towards.transpose(0, 2, 1), 1.0)
        wide = cosines.min(axis=(1, 2)) < np.cos(MIN_PARALLAX)
        return agree & wide & (self.inverse > 0) & (self.deviation < MAX_DEVIATION)

    def disagreement(self, kept: np.ndarray) -> float:
        """Return the relative standard deviation that the depths of a whole image have in common."""
        apart, weights = [], []
        for relative, seen, sigma in zip(self.views, self._seen, self._sigmas, strict=True):
            place, slope = self._project(relative)
            both = kept & np.isfinite(seen[:, 0])
            if both.sum() < _FEWEST:
                continue
            steps = (slope * (seen - place)).sum(axis=1)[both] / (slope * slope).sum(axis=1)[both]
            apart.append(np.median(steps / self.inverse[both]))
            weights.append(np.sum((slope[both] * self.inverse[both, None]) ** 2) / sigma**2)
        if len(apart) < 2:
            return 0.0
        return float(np.sqrt(np.average(np.square(apart), weights=weights) / (len(apart) - 1)))

    def _solve(self) -> None:
        """Find the inverse depths with the least weighted squares of the distances in the images (Gauss-Newton)."""
        for _ in range(5):
            step, information = np.zeros(len(self.pixels)), np.zeros(len(self.pixels))
            for relative, seen, sigma in zip(self.views, self._seen, self._sigmas, strict=True):
                place, slope = self._project(relative)
                known = np.isfinite(seen[:, 0]) & np.isfinite(place[:, 0])
                off = np.where(known[:, None], seen - place, 0.0)
                slope = np.where(known[:, None], slope, 0.0)
                step += (slope * off).sum(axis=1) / sigma**2
                information += (slope * slope).sum(axis=1) / sigma**2
            found = information > 0
            self.inverse[found] += step[found] / information[found]
        with np.errstate(divide="ignore"):
            self.deviation = np.where(self.inverse > 0, 1 / (self.inverse * np.sqrt(information)), np.inf)

    def _residuals(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which views saw which points, bool [views, n], and the distances in the images, px (0 if unseen)."""
        seen = np.isfinite(np.array(self._seen)[..., 0])
        places = np.array([self._project(relative)[0] for relative in self.views])
        return seen, np.where(seen, np.linalg.norm(np.array(self._seen) - places, axis=2), 0.0)

    def _project(self, relative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where another camera sees the points, [n, 2], and how that moves with their inverse depth."""
        image = self._rays @ (self._k @ relative[:3, :3]).T
        shift = self._k @ relative[:3, 3]
        x, y, z = (image + self.inverse[:, None] * shift).T
        z = np.where(z > 1e-6, z, np.nan)
        place = np.column_stack([x / z, y / z])
        return place, (shift[:2] - place * shift[2]) / z[:, None]

    def _off_lines(self, relative: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Return how far points lie beside their epipolar lines in another image, px [n]."""
        inverse_k, t = np.linalg.inv(self._k), relative[:3, 3]
        cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
        lines = self._rays @ (inverse_k.T @ cross @ relative[:3, :3]).T
        return (np.column_stack([seen, np.ones(len(seen))]) * lines).sum(axis=1) / np.linalg.norm(lines[:, :2], axis=1)


def _track(image: np.ndarray, other: np.ndarray, pixels: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Return where pixels [n, 2] of an image are in another, NaN where lost."""
    guess = np.where(np.isfinite(guess), guess, pixels).astype(np.float32)
    there, found, _ = cv2.calcOpticalFlowPyrLK(image, other, pixels, guess.copy(), **_TRACKER)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(other, image, there, pixels.copy(), **_TRACKER)
    kept = (found[:, 0] > 0) & (returned[:, 0] > 0) & (np.linalg.norm(back - pixels, axis=1) < _BACK)
    return np.where(kept[:, None], there, np.nan)
