"""
Sparse ground truth from known poses of a moving camera: corners are tracked to other images and triangulated.

Triangulation with known cameras, epipolar geometry, and the growth of the error at small parallax are described in
Hartley and Zisserman, Multiple View Geometry (2nd ed. 2004), chapters 9 and 12. The tracker is the pyramidal one of
Lucas and Kanade (Bouguet 2000) with a forward-backward check.

Limitations: objects that move along the epipolar lines are not detected, and neither is a wrong scale of the poses (for
example of a monocular SLAM), which changes all depths by the same factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from depth_estimation_ros.camera import PinholeCamera

MIN_PARALLAX = np.radians(1.0)
"""Minimum angle between the rays to a point, radians; with a smaller angle its depth is not reliable."""

MAX_DEVIATION = 0.1
"""Maximum relative standard deviation of the depth of a point; other points are discarded."""

_CORNERS, _QUALITY, _APART = 800, 0.005, 0.011  # maximum number, quality level, minimum distance / image width
_STEPS = (1.0, 0.4, 0.16, 0.064)  # baselines of the images to track to, as shares of the longest on either side
_SHORTEST = 0.15  # minimum baseline, as a share of the longest of both sides
_MOST_TURNED = np.radians(25.0)
_BACK = 0.3  # maximum forward-backward error, pixels
_BEST, _WORST = 0.5, 3.0  # px: lower limit of the tracker's error; with a larger error the poses do not fit the images
_SIGMAS = 3.0
_SURE = 0.01  # relative deviation below which a point is not tracked any further
_FEWEST = 12
_TRACKER: dict[str, Any] = {
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
        Intrinsics at the size of `grey`.
    pose : numpy.ndarray
        float64 [4, 4], transform from the optical frame to a fixed frame.
    shown : numpy.ndarray, optional
        bool [h, w], pixels that the camera saw. All pixels without it.
    """

    grey: np.ndarray
    camera: PinholeCamera
    pose: np.ndarray
    shown: np.ndarray | None = None


def triangulate(target: Posed, before: Sequence[Posed], after: Sequence[Posed]) -> tuple[np.ndarray, float]:
    """
    Compute the depth of corners of an image.

    Parameters
    ----------
    target : Posed
        The image.
    before, after : sequence of Posed
        Images of the same camera before and after it. Those to track to are selected by their baseline.

    Returns
    -------
    truth : numpy.ndarray
        float32 [h, w], metres along z, NaN where there is no point.
    deviation : float
        Relative standard deviation of a depth. It covers errors of tracker, poses and intrinsics, and is estimated
        from the distances of corners to their epipolar lines and from the differences between the depths from single
        images.

    Raises
    ------
    ValueError
        If no depth can be computed; the message is the reason.
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
        raise ValueError("the poses do not fit the images: tracked corners are not on their epipolar lines")
    kept = points.reliable()
    if not kept.any():
        raise ValueError("the camera moved too little, or its view changed too much, to triangulate")
    truth = np.full(target.grey.shape, np.nan, np.float32)
    u, v = points.pixels[kept].astype(int).T
    truth[v, u] = 1 / points.inverse[kept]
    return truth, float(np.hypot(np.median(points.deviation[kept]), points.disagreement(kept)))


def _choose(target: Posed, before: Sequence[Posed], after: Sequence[Posed]) -> list[Posed]:
    """Select images with several baselines on either side, the shortest first."""
    # Images without a distance have another camera, or are turned too far.
    sides = [
        [(distance, other) for other in others if (distance := _distance(target, other)) is not None]
        for others in (before, after)
    ]
    longest = max((distance for side in sides for distance, _ in side), default=0.0)
    chosen: dict[int, tuple[float, Posed]] = {}
    for side in sides:
        usable = [row for row in side if row[0] >= _SHORTEST * longest > 0]
        furthest = max((distance for distance, _ in usable), default=0.0)
        for share in _STEPS if usable else ():
            nearest = min(usable, key=lambda row: abs(row[0] - share * furthest))
            chosen[id(nearest[1])] = nearest
    return [other for _, other in sorted(chosen.values(), key=lambda row: row[0])]


def _distance(target: Posed, other: Posed) -> float | None:
    """Return the baseline in metres; None if the views overlap too little."""
    relative = np.linalg.inv(other.pose) @ target.pose
    turned = np.arccos(np.clip((np.trace(relative[:3, :3]) - 1) / 2, -1, 1))
    return float(np.linalg.norm(relative[:3, 3])) if turned < _MOST_TURNED and other.camera == target.camera else None


class _Points:
    """
    Corners of an image with their observations; each has one unknown, the inverse depth along its ray.

    Attributes
    ----------
    pixels : numpy.ndarray
        float32 [n, 2].
    inverse, deviation : numpy.ndarray
        float64 [n]: 1 / metres, and the relative standard deviation of the depth.
    views : list of numpy.ndarray
        float64 [4, 4], transforms from the camera of the image to the cameras that observed the corners.
    """

    def __init__(self, image: Posed, pixels: np.ndarray):
        self._image, self._k, self.pixels = image, image.camera.k, pixels
        self.views: list[np.ndarray] = []
        self._rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(self._k).T
        self._seen: list[np.ndarray] = []  # [n, 2], NaN where not seen
        self._sigmas: list[float] = []  # pixels
        self.inverse: np.ndarray = np.zeros(len(pixels))
        self.deviation: np.ndarray = np.full(len(pixels), np.inf)

    def observe(self, other: Posed) -> float:
        """Track the points that are still uncertain to another image; return their epipolar error in pixels."""
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
        """Return which points are reliable, bool [n]."""
        if not self.views:
            return np.zeros(len(self.pixels), bool)
        seen, error = self._residuals()
        # At least two other images are needed: a single one cannot reveal an error.
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
        """Return the relative standard deviation of the error that all depths of an image share."""
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
        """Compute the inverse depths by weighted least squares of the reprojection errors (Gauss-Newton)."""
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
        """Return which views saw which points, bool [views, n], and the reprojection errors in px (0 if unseen)."""
        seen = np.isfinite(np.array(self._seen)[..., 0])
        places = np.array([self._project(relative)[0] for relative in self.views])
        return seen, np.where(seen, np.linalg.norm(np.array(self._seen) - places, axis=2), 0.0)

    def _project(self, relative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the projections of the points in another camera, [n, 2], and their derivatives by inverse depth."""
        image = self._rays @ (self._k @ relative[:3, :3]).T
        shift = self._k @ relative[:3, 3]
        x, y, z = (image + self.inverse[:, None] * shift).T
        z = np.where(z > 1e-6, z, np.nan)
        place = np.column_stack([x / z, y / z])
        return place, (shift[:2] - place * shift[2]) / z[:, None]

    def _off_lines(self, relative: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Return the signed distances of points from their epipolar lines in another image, px [n]."""
        inverse_k, t = np.linalg.inv(self._k), relative[:3, 3]
        cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
        lines = self._rays @ (inverse_k.T @ cross @ relative[:3, :3]).T
        return (np.column_stack([seen, np.ones(len(seen))]) * lines).sum(axis=1) / np.linalg.norm(lines[:, :2], axis=1)


def _track(image: np.ndarray, other: np.ndarray, pixels: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Track pixels [n, 2] of an image to another image; NaN where the track is lost."""
    guess = np.where(np.isfinite(guess), guess, pixels).astype(np.float32)
    there, found, _ = cv2.calcOpticalFlowPyrLK(image, other, pixels, guess.copy(), **_TRACKER)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(other, image, there, pixels.copy(), **_TRACKER)
    kept = (found[:, 0] > 0) & (returned[:, 0] > 0) & (np.linalg.norm(back - pixels, axis=1) < _BACK)
    return np.where(kept[:, None], there, np.nan)
