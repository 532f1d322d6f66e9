"""Convert a camera's image to the network's input and depth back: rectify, rotate upright, crop and resize."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.focal_crop import MAX_ZOOM, Window, training_window
from depth_estimation_ros.geometry.lens import Lens
from depth_estimation_ros.geometry.rectify import Rectifier
from depth_estimation_ros.geometry.rotation import turned
from depth_estimation_ros.imaging.resample import shrink


class NetworkView:
    """
    View that the network gets of one camera; created once, used for every frame.

    `restore` returns depth for a pinhole camera in the pose of the real camera, so it has the image's TF frame.

    Parameters
    ----------
    source : PinholeCamera or Lens
        Camera of the images.
    width, height : int
        Input size of the network.
    focal_length : float, optional
        Focal length of the training camera at that size, pixels. If given, the image is cropped to that camera's view
        (`focal_crop.training_window`); otherwise the network sees the whole image.
    turn : int
        Clockwise rotation in degrees that makes the images upright.
    max_zoom, focal_length_y : float
        See `focal_crop.training_window`.

    Attributes
    ----------
    seen : PinholeCamera
        Camera of the upright image that `prepare` returns, at the input size. Depth must be normalised for this camera.
    whole : PinholeCamera
        Pinhole camera of the (rectified) image, in the mounted orientation.
    window : Window
        Part of the upright image that the network sees.
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
        # Rectify in the image's own orientation and rotate afterwards, when the image is small.
        self._rectify = Rectifier(self._lens, self.seen.turned(-turn)) if self._lens else None
        self._shown: dict[PinholeCamera, np.ndarray | None] = {}

    def prepare(self, rgb: np.ndarray) -> np.ndarray:
        """
        Return the network's input for an image.

        Parameters
        ----------
        rgb : numpy.ndarray
            uint8 [h, w, 3].

        Returns
        -------
        numpy.ndarray
            uint8 [height, width, 3], at the input size.

        Raises
        ------
        ValueError
            If the image does not have the camera's size.
        """
        if self._rectify:
            return turned(self._rectify(rgb), self._turn)
        return shrink(self.window.cut(turned(rgb, self._turn)), self.seen.width, self.seen.height)

    def restore(self, depth: np.ndarray) -> tuple[np.ndarray, PinholeCamera]:
        """
        Convert the network's depth to the mounted orientation, at the network's size.

        Parameters
        ----------
        depth : numpy.ndarray
            Depth or deviation, float32 [h, w], metres, NaN invalid; of the view `seen`, at any size.

        Returns
        -------
        depth : numpy.ndarray
            float32 [h', w'], metres; NaN where the image has no pixels.
        camera : PinholeCamera
            Pinhole camera of the depth.
        """
        camera = self.seen.resized(*depth.shape[::-1]).turned(-self._turn)
        return self._masked(turned(self.window.blank(depth), -self._turn), camera), camera

    def as_mounted(self, prepared: np.ndarray) -> np.ndarray:
        """Rotate the result of `prepare` to the mounted orientation, to match the depth from `restore`."""
        return turned(prepared, -self._turn)

    def enlarged(self, depth: np.ndarray) -> np.ndarray:
        """
        Interpolate depth from `restore` to the image's size; NaN outside the network's view.

        Parameters
        ----------
        depth : numpy.ndarray
            Depth or deviation from `restore`, float32 [h, w], metres.

        Returns
        -------
        numpy.ndarray
            float32 [whole.height, whole.width], metres.
        """
        return self._masked(turned(self.window.paste(turned(depth, self._turn)), -self._turn), self.whole)

    @cached_property
    def is_whole(self) -> bool:
        """Whether the network sees the whole of a rectified image; `enlarged` is then plain resampling."""
        return self._lens is None and self.window.view == self.window.camera

    def rectified(self, rgb: np.ndarray) -> np.ndarray:
        """Return the image of camera `whole`, for point colours and previews; rectified if the lens has distortion."""
        return self._rectify_whole(rgb) if self._rectify_whole else rgb

    @cached_property
    def _rectify_whole(self) -> Rectifier | None:
        return Rectifier(self._lens, self.whole) if self._lens else None

    def _masked(self, depth: np.ndarray, camera: PinholeCamera) -> np.ndarray:
        """Set depth to NaN where the lens does not show the view."""
        if self._lens is None:
            return depth
        if camera not in self._shown:
            self._shown[camera] = self._lens.shows(camera)
        shown = self._shown[camera]
        return depth if shown is None else np.where(shown, depth, np.float32(np.nan))
