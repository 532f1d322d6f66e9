"""
Crop an image to the view the network was trained on: the training camera's field of view, with square pixels.

`DepthEstimator.postprocess` multiplies depth by the ratio of the focal lengths. This is accurate only for zooms seen in
training, and only if the zoom is the same in both directions. A wide camera, or one with another aspect ratio, violates
this; cropping its image to the training camera's view restores it. Pixels outside the window get no depth.
``python -m training.focal`` measures both ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from depth_estimation_ros.camera import PinholeCamera

# The packaged models were trained on zooms of 1 to 1.5 anywhere in the image. A view that needs more is padded with its
# mirrored borders.
MAX_ZOOM = 1.5

LARGEST_WINDOW = 4.0
"""Largest window in multiples of the image's width or height: larger ones are nearly all padding, and waste memory."""


@dataclass(frozen=True)
class Window:
    """
    Window of an image; it may extend beyond the image's borders.

    Parameters
    ----------
    camera : PinholeCamera
        Camera of the whole image.
    x, y : int
        Image coordinates of the window's top-left pixel; negative if outside the image.
    width, height : int
        Size of the window in pixels of the image.
    """

    camera: PinholeCamera
    x: int
    y: int
    width: int
    height: int

    @property
    def view(self) -> PinholeCamera:
        """Camera of the window."""
        return self.camera.cropped(self.x, self.y, self.width, self.height)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """
        Crop an image to the window.

        Parameters
        ----------
        image : numpy.ndarray
            [h, w] or [h, w, channels] of the camera's size.

        Returns
        -------
        numpy.ndarray
            [height, width, ...]: a view of the image if the window lies inside it, else a copy padded by mirroring at
            the borders.

        Raises
        ------
        ValueError
            If the image does not have the camera's size.
        """
        if image.shape[:2] != (self.camera.height, self.camera.width):
            raise ValueError(
                f"the image is {image.shape[1]}x{image.shape[0]}, its camera {self.camera.width}x{self.camera.height}: "
                "use the intrinsics of this image size"
            )
        rows, columns, (top, bottom, left, right) = self._overlap
        inside = image[rows, columns]
        if not (top or bottom or left or right):
            return inside
        return cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REFLECT)

    def paste(self, depth: np.ndarray) -> np.ndarray:
        """
        Place the window's depth in the full image.

        Parameters
        ----------
        depth : numpy.ndarray
            float32 [h, w], of the window at any size, NaN invalid.

        Returns
        -------
        numpy.ndarray
            float32 [camera.height, camera.width], interpolated; NaN outside the window.
        """
        rows, columns, (top, bottom, left, right) = self._overlap
        whole = np.full((self.camera.height, self.camera.width), np.nan, np.float32)
        resized = cv2.resize(depth, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        whole[rows, columns] = resized[top : self.height - bottom, left : self.width - right]
        return whole

    def blank(self, depth: np.ndarray) -> np.ndarray:
        """
        Set depth to NaN where the window shows mirrored padding instead of the image.

        Parameters
        ----------
        depth : numpy.ndarray
            float32 [h, w], of the window at any size.

        Returns
        -------
        numpy.ndarray
            float32 [h, w]; the same array if the window lies inside the image.
        """
        _, _, (top, bottom, left, right) = self._overlap
        if not (top or bottom or left or right):
            return depth
        height, width = depth.shape
        # A pixel is kept if its centre lies inside the image.
        v, u = (np.arange(height) + 0.5) * self.height / height, (np.arange(width) + 0.5) * self.width / width
        shown = ((v >= top) & (v <= self.height - bottom))[:, None] & ((u >= left) & (u <= self.width - right))
        return np.where(shown, depth, np.float32(np.nan))

    @cached_property
    def _overlap(self) -> tuple[slice, slice, tuple[int, int, int, int]]:
        """Rows and columns of the image inside the window, and the pixels of padding at top, bottom, left and right."""
        c = self.camera
        over = (
            max(0, -self.y),
            max(0, self.y + self.height - c.height),
            max(0, -self.x),
            max(0, self.x + self.width - c.width),
        )
        rows = slice(max(0, self.y), min(c.height, self.y + self.height))
        columns = slice(max(0, self.x), min(c.width, self.x + self.width))
        return rows, columns, over


def training_window(
    camera: PinholeCamera,
    width: int,
    height: int,
    focal_length: float,
    max_zoom: float = MAX_ZOOM,
    focal_length_y: float | None = None,
) -> Window:
    """
    Return the window of a camera's image that is closest to the training camera's view.

    The window has the aspect ratio of the training camera's view. If the camera sees at least that view, the window is
    that view, centred on the principal point. If the camera sees less, the window is the largest one with this aspect
    ratio inside the image, and the network sees the scene magnified by up to `max_zoom`. If that would need more than
    `max_zoom`, the window is larger than the image.

    Parameters
    ----------
    camera : PinholeCamera
        Camera of the image.
    width, height : int
        Input size of the model (`ModelInfo`), pixels.
    focal_length : float
        Focal length in pixels of the training camera at that size.
    max_zoom : float
        At least 1.
    focal_length_y : float, optional
        The vertical one, where the network sees images stretched.

    Returns
    -------
    Window
        Pass its `cut` and its `view` to `DepthEstimator.estimate`. The remaining zoom is the same in both directions.

    Raises
    ------
    ValueError
        If `max_zoom` is less than 1, or the camera's view is so narrow that the window would exceed `LARGEST_WINDOW`.
    """
    if not max_zoom >= 1.0:
        raise ValueError(f"max_zoom must be at least 1, got {max_zoom:g}")
    full = camera.fx * width / focal_length, camera.fy * height / (focal_length_y or focal_length)
    zoom = min(max(1.0, full[0] / camera.width, full[1] / camera.height), max_zoom)
    if full[0] > LARGEST_WINDOW * zoom * camera.width or full[1] > LARGEST_WINDOW * zoom * camera.height:
        raise ValueError(
            f"the camera's focal lengths of {camera.fx:g} and {camera.fy:g} pixels are so long that its image would be "
            f"less than {1 / LARGEST_WINDOW:g} of the training camera's view: set focal_normalisation to scale"
        )
    across, down = (max(1, round(side / zoom)) for side in full)
    return Window(camera, _place(camera.cx, across, camera.width), _place(camera.cy, down, camera.height), across, down)


def _place(centre: float, length: int, limit: int) -> int:
    """Return the start of a window around a centre, shifted so that it lies in the image, or the image lies in it."""
    start = round(centre + 0.5 - 0.5 * length)
    return min(max(start, min(0, limit - length)), max(0, limit - length))
