"""Image sources that OpenCV reads: image files, videos and webcams."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.bags.losses import Losses
from depth_estimation_ros.bags.storage import natural
from depth_estimation_ros.imaging import quiet, read_file
from depth_estimation_ros.sources.frame import Frame

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


def read_image(path: Path) -> np.ndarray:
    """
    Read an image file.

    Returns
    -------
    numpy.ndarray
        uint8 [height, width, 3] RGB.

    Raises
    ------
    ValueError
        If it is not a readable image.
    """
    return cv2.cvtColor(_read(path, cv2.IMREAD_COLOR, "image"), cv2.COLOR_BGR2RGB)


def read_depth(path: Path, scale: float) -> np.ndarray:
    """
    Read a depth image file; 0, and 65535 in 16 bits, are invalid.

    Parameters
    ----------
    path : pathlib.Path
        PNG with one channel of 8 or 16 bits.
    scale : float
        Metres per unit.

    Returns
    -------
    numpy.ndarray
        float32 [h, w], metres, NaN invalid.

    Raises
    ------
    ValueError
        If it is not a readable image with one channel.
    """
    stored = _read(path, cv2.IMREAD_UNCHANGED, "depth image")
    if stored.ndim != 2:
        raise ValueError(f"'{path}' is not a readable depth image; a PNG of one channel is expected")
    invalid = (stored == 0) | ((stored == 65535) & (stored.dtype == np.uint16))
    return np.where(invalid, np.float32(np.nan), stored * np.float32(scale))


def _read(path: Path, flags: int, what: str) -> np.ndarray:
    try:
        return read_file(path, flags)
    except ValueError as error:
        raise ValueError(f"'{path}' is not a readable {what}: it {error}") from None
    except OSError as error:
        raise ValueError(f"'{path}' is not a readable {what}: {error.strerror}") from None


class SingleImage:
    """Source with one image file."""

    def __init__(self, path: Path):
        self._rgb = read_image(path)
        self.description, self.live, self.losses = f"image {path}", False, Losses()
        self.notes: list[str] = []
        self.rate = None

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the one frame."""
        yield Frame(self._rgb)


class Folder:
    """
    Images of a folder in natural order (2 before 10), with depth if there is any.

    Depth is a PNG with the same stem in ``depth/`` next to ``rgb/`` (or ``color/``, ``colour/``), or ``X.depth.png``
    next to ``X.color.jpg``.
    """

    def __init__(self, path: Path, depth_scale: float):
        if not (math.isfinite(depth_scale) and depth_scale > 0):
            raise ValueError(f"depth_scale must be positive metres per unit, got {depth_scale}")
        inner = next((path / name for name in ("rgb", "color", "colour") if (path / name).is_dir()), path)
        # Other systems leave hidden files on USB sticks, such as ._1.jpg next to 1.jpg.
        images = [f for f in inner.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith(".")]
        files = sorted(images, key=natural)
        self._files = [file for file in files if not file.stem.endswith(".depth")]
        if not self._files:
            raise ValueError(f"folder '{path}' holds no images ({', '.join(IMAGE_SUFFIXES)})")
        self._scale = depth_scale
        self._depth = {file: found for file in self._files if (found := self._depth_of(file, inner, path))}
        self.description = f"{len(self._files)} images of {inner}"
        self.notes = [f"{len(self._depth)} of them have ground truth depth"] if self._depth else []
        self.rate, self.live, self.losses = None, False, Losses()

    @staticmethod
    def _depth_of(file: Path, inner: Path, path: Path) -> Path | None:
        if inner != path:
            found = path / "depth" / f"{file.stem}.png"
        elif file.stem.endswith(".color"):
            found = file.with_name(file.stem.removesuffix(".color") + ".depth.png")
        else:
            return None
        return found if found.exists() else None

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the images that can be read."""
        self.losses.clear()
        for file in self._files:
            image = self.losses.tried("images", read_image, file)
            if image is None:
                continue
            path, depth = self._depth.get(file), None
            if path is not None:
                depth = self.losses.tried("depth images", read_depth, path, self._scale)
            yield Frame(image, depth=depth)


def _next_image(capture: cv2.VideoCapture) -> np.ndarray | None:
    """Return the next image of a video or webcam, BGR, or None at the end; raise ValueError if it is damaged."""
    try:
        with quiet:
            readable, image = capture.read()
    except cv2.error as error:
        raise ValueError(f"the rest of the video is damaged: {error.err or error}") from None
    return image if readable else None


class Video:
    """Video file. The time of a frame is counted from the beginning; the rate may vary."""

    def __init__(self, path: Path):
        self._path = str(path)
        with quiet:
            capture = cv2.VideoCapture(self._path)
        try:
            first = _next_image(capture)
        except ValueError:
            first = None
        rate = capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        if first is None:
            raise ValueError(f"'{path}' is neither a readable video nor an image or bag")
        self.rate = rate if 0 < rate < 1000 else 30.0
        self.description, self.live = f"video {path} ({self.rate:g} images a second)", False
        self.notes: list[str] = []
        self.losses = Losses()

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames from the beginning, up to damage that OpenCV cannot skip."""
        self.losses.clear()
        with quiet:
            capture, last = cv2.VideoCapture(self._path), -1
        try:
            for number in itertools.count():
                image = self.losses.tried("images", _next_image, capture)
                if image is None:
                    return
                time = round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
                if not last < time:  # not every format has times
                    time = max(last + 1, round(number * 1e9 / self.rate))
                last = time
                yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), time)
        finally:
            capture.release()


class Webcam:
    """Camera of this computer, by its number."""

    def __init__(self, index: int):
        self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            raise ValueError(f"webcam {index} cannot be opened; is it plugged in and free, and may you read it?")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest image, not the oldest waiting
        self.description, self.live, self.losses = f"webcam {index}", True, Losses()
        self.notes: list[str] = []
        self.rate = None

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over new images until the camera returns none."""
        while (image := self.losses.tried("images", _next_image, self._capture)) is not None:
            yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
