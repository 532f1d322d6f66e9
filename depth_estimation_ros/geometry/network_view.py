"""The way of a camera's image to the network, and of depth back: rectified, turned upright, cut, shrunk, in one go."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.focal_crop import MAX_ZOOM, Window, training_window
from depth_estimation_ros.geometry.rectify import Lens, Rectifier
from depth_estimation_ros.geometry.rotation import turned
from depth_estimation_ros.imaging.resample import shrink


class NetworkView:
    """
    What the network sees of one camera; made once, used for every frame.

    Depth that comes back is always that of a pinhole camera mounted as the real one is: its frame is the image's.

    Parameters
    ----------
    source : PinholeCamera or Lens
        Of the images.
    width, height : int
        Input size of the network.
    focal_length : float, optional
        Of the training camera at that size, pixels: cut out the view of that camera (`focal_crop.training_window`).
        Without it the network sees the whole image.
    turn : int
        Degrees by which images must be turned clockwise to be upright.
    max_zoom, focal_length_y : float
        See `focal_crop.training_window`.

    Attributes
    ----------
    seen : PinholeCamera
        The upright camera of what `prepare` returns, at the input size: what depth has to be normalised for.
    whole : PinholeCamera
        The pinhole camera of the (rectified) image, as mounted.
    window : Window
        The part of the upright image that is seen.
    """

    def __init__(
        self,
        source: PinholeCamera | Lens,
        width: int,
        height: int,
        focal_length: float | None = None,
        turn: int = 0,
        max_zoom: float = MAX_ZOOM,
        focal_length_y: float | None = None,
    ):
        self._lens = source if isinstance(source, Lens) and source.distorts else None
        camera = source.camera if isinstance(source, Lens) else source
        self.whole = self._lens.rectified if self._lens else camera
        self._turn, upright = turn, self.whole.turned(turn)
        if focal_length is None:
            self.window = Window(upright, 0, 0, upright.width, upright.height)
        else:
            self.window = training_window(upright, width, height, focal_length, max_zoom, focal_length_y)
        self.seen = self.window.view.resized(width, height)
        # Rectified in the image's own orientation, and turned when it is small.
        self._rectify = Rectifier(self._lens, self.seen.turned(-turn)) if self._lens else None
        self._shown: dict[PinholeCamera, np.ndarray | None] = {}

    def prepare(self, rgb: np.ndarray) -> np.ndarray:
        """
        Return what the network sees of an image.

        Parameters
        ----------
        rgb : numpy.ndarray
            uint8 [h, w, 3].

        Returns
        -------
        numpy.ndarray
            uint8 [height, width, 3] of the input size.

        Raises
        ------
        ValueError
            If the image is not of the camera's size.
        """
        if self._rectify:
            return turned(self._rectify(rgb), self._turn)
        return shrink(self.window.cut(turned(rgb, self._turn)), self.seen.width, self.seen.height)

    def restore(self, depth: np.ndarray) -> tuple[np.ndarray, PinholeCamera]:
        """
        Return the network's depth as the mounted camera has it, at the network's size.

        Parameters
        ----------
        depth : numpy.ndarray
            float32 [h, w] of `seen` at any size, metres, NaN invalid; or a deviation.

        Returns
        -------
        depth : numpy.ndarray
            float32; NaN where the image shows nothing.
        camera : PinholeCamera
            Its pinhole camera.
        """
        camera = self.seen.resized(*depth.shape[::-1]).turned(-self._turn)
        return self._masked(turned(self.window.blank(depth), -self._turn), camera), camera

    def as_mounted(self, prepared: np.ndarray) -> np.ndarray:
        """Return what `prepare` made in the orientation of the camera, as `restore` gives depth."""
        return turned(prepared, -self._turn)

    def enlarged(self, depth: np.ndarray) -> np.ndarray:
        """
        Return depth as `restore` gave it at the image's size, interpolated; NaN outside of what the network saw.

        Parameters
        ----------
        depth : numpy.ndarray
            float32 [h, w], metres, or a deviation.

        Returns
        -------
        numpy.ndarray
            float32 [whole.height, whole.width].
        """
        return self._masked(turned(self.window.paste(turned(depth, self._turn)), -self._turn), self.whole)

    @cached_property
    def is_whole(self) -> bool:
        """Whether the network sees all of a rectified image, so that enlarging depth is resampling it."""
        return self._lens is None and self.window.view == self.window.camera

    def picture(self, rgb: np.ndarray) -> np.ndarray:
        """Return the image as `whole` has it, for colours and previews: rectified where there is a lens."""
        return self._rectify_whole(rgb) if self._lens else rgb

    @cached_property
    def _rectify_whole(self) -> Rectifier:
        return Rectifier(self._lens, self.whole)

    def _masked(self, depth: np.ndarray, camera: PinholeCamera) -> np.ndarray:
        """Depth without what the lens does not show."""
        if self._lens is None:
            return depth
        if camera not in self._shown:
            self._shown[camera] = self._lens.shows(camera)
        shown = self._shown[camera]
        return depth if shown is None else np.where(shown, depth, np.float32(np.nan))
