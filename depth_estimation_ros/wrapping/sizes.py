"""Sizes: of the network's input, of the image in it, and the focal lengths there. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from depth_estimation_ros.wrapping.errors import WrapError
from depth_estimation_ros.wrapping.preset import Preset

LARGEST_SIDE = 8192


@dataclass(frozen=True)
class Frame:
    """
    An image in a network's input.

    Parameters
    ----------
    width, height : int
        Of the image.
    network_width, network_height : int
        Of the input.
    stretched : bool
        Whether the image got its size without regard to its aspect.
    """

    width: int
    height: int
    network_width: int
    network_height: int
    stretched: bool = False

    @property
    def left(self) -> int:
        """Columns of the border on the left; there are as many on the right, or one more."""
        return (self.network_width - self.width) // 2

    @property
    def top(self) -> int:
        """Rows of the border at the top; there are as many at the bottom, or one more."""
        return (self.network_height - self.height) // 2


def frame_of(
    preset: Preset,
    fixed: tuple[int | None, int | None],
    image: tuple[int, int],
    wanted: tuple[int, int] | None = None,
) -> Frame:
    """
    Choose the size at which a network sees images.

    Parameters
    ----------
    preset : Preset
        Has the rule.
    fixed : tuple of int or None
        (width, height) of the network's input, as far as the file has them fixed.
    image : tuple of int
        (width, height) of the camera's images, for their aspect.
    wanted : tuple of int, optional
        (width, height) that the user wants a free input to have.

    Raises
    ------
    WrapError
        If the size wanted is none that the network takes.
    """
    width, height = fixed
    if width is not None and height is not None:
        if wanted is not None and wanted != (width, height):
            raise WrapError(
                f"the network takes images of {width}x{height} only, not of {_text(wanted)}: leave --size out"
            )
        if preset.fit == "stretch":
            return Frame(width, height, width, height, stretched=True)
        scale = min(width / image[0], height / image[1])
        # Even borders, so that an output of half the size can be cut, too.
        across = min(width, 2 * max(1, round(image[0] * scale / 2)))
        down = min(height, 2 * max(1, round(image[1] * scale / 2)))
        return Frame(across, down, width, height)
    if wanted is None:
        which, pixels = preset.side
        scale = pixels / (min(image) if which == "short" else max(image))
        across, down = (preset.multiple * max(1, round(side * scale / preset.multiple)) for side in image)
        wanted = across, down
    size = width or wanted[0], height or wanted[1]
    if any(side % preset.multiple or not 0 < side <= LARGEST_SIDE for side in size):
        across, down = (preset.multiple * max(1, round(side / preset.multiple)) for side in size)
        raise WrapError(
            f"{preset.name} takes sides that are multiples of {preset.multiple}, not {_text(size)}: the next is --size "
            f"{_text((across, down))}"
        )
    return Frame(size[0], size[1], size[0], size[1])


def focal_lengths(preset: Preset, frame: Frame, image: tuple[int, int], horizontal_fov: float) -> tuple[float, float]:
    """
    Return the focal lengths (x, y), in pixels of the image in the network's input, for which depth is metres.

    A canonical camera has its pixels at every size. A training camera's grow with the image: with its short side where
    the aspect is kept, else with each side. Without either they are those of the user's camera.

    Parameters
    ----------
    preset : Preset
        Has the training camera.
    frame : Frame
        The size.
    image : tuple of int
        (width, height) of the user's camera.
    horizontal_fov : float
        Of the user's camera, radians.
    """
    focal = preset.focal
    if focal is None:
        pixels = 0.5 * image[0] / math.tan(0.5 * horizontal_fov)
        return pixels * frame.width / image[0], pixels * frame.height / image[1]
    if not focal.width:
        return focal.pixels, focal.pixels_y or focal.pixels
    if frame.stretched:
        return focal.pixels * frame.width / focal.width, focal.pixels * frame.height / focal.height
    pixels = focal.pixels * min(frame.width, frame.height) / min(focal.width, focal.height)
    return pixels, pixels


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
