"""What has to be known of a published network to make a model of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

KINDS = ("metric", "canonical", "canonical_inverse", "points", "inverse_relative", "depth_relative")
"""Kinds of output, see `Preset`."""

NORMALISATIONS = {
    "raw": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "unit": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "half": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
"""By name, mean and standard deviation (R, G, B; of 0 to 255) with which a network wants its image normalised."""

RELATIVE = "metres by an anchor only: near is large, scale and shift unknown"
"""What to expect of inverse_relative networks."""

FITS = ("stretch", "pad")
LAYOUTS = ("nchw", "nhwc")
CHANNELS = ("rgb", "bgr")


@dataclass(frozen=True)
class Focal:
    """
    The focal length for which a network's depths are metres.

    Parameters
    ----------
    pixels : float
        In pixels of the network's input; of the image, if that has a size.
    width, height : int
        Size of the training camera's image; 0 for a canonical camera, whose focal length is the same at every size.
    horizontal_only : bool
        Whether depth depends on the horizontal focal length alone: of networks for which images of every aspect are
        stretched to one size.
    pixels_y : float, optional
        The vertical one, where that is another.
    """

    pixels: float
    width: int = 0
    height: int = 0
    horizontal_only: bool = False
    pixels_y: float | None = None


@dataclass(frozen=True)
class Mask:
    """
    An output that says where there is no depth.

    Parameters
    ----------
    outputs : tuple of str
        Names that it has.
    threshold : float
        Between the values of valid and of invalid pixels.
    valid : {"above", "below"}
        The side of the threshold on which a pixel has depth; the threshold itself is not above, nor below.
    """

    outputs: tuple[str, ...]
    threshold: float
    valid: str


@dataclass(frozen=True)
class Preset:
    """
    A published network.

    Parameters
    ----------
    name : str
        As the user calls it.
    title : str
        Its own name.
    kind : str
        One of `KINDS`: metres as one camera saw them (metric) or as a canonical camera does (canonical); the inverse
        of the latter (canonical_inverse); points in metres (points); inverse depth, near is large, of unknown scale
        and shift (inverse_relative); depth, far is large, of unknown scale, or scale and shift (depth_relative).
    licence : str
        Of the weights.
    commercial_use : bool or None
        Whether that allows commercial use; None where it is not clear.
    source : str
        Where the file comes from.
    training_data : str
        What it was trained on.
    expect : str
        What is known of its accuracy and its traps.
    inputs, outputs : tuple of str
        Names of the image and of the depth in published files. Where none is there, a file's only input or output is
        taken.
    normalisation : str
        One of `NORMALISATIONS`: what comes before the network, not what it does itself.
    channels, layout : str
        One of `CHANNELS` and of `LAYOUTS`, of the network's input.
    fit : {"stretch", "pad"}
        How an image is brought to the size of a network that has one size only.
    pad_colour : tuple of float
        R, G, B, 0 to 255, of the border.
    side : tuple of str and int
        Which side of the image, ``"short"`` or ``"long"``, has how many pixels, if the network takes every size.
    multiple : int
        Of which both sides are multiples then.
    focal : Focal or None
        None where the network is told the camera, or is indifferent to it: it is made for the user's camera then.
    min_depth, max_depth : float
        Range of its depths, metres.
    clip : float
        Depths beyond are set to it, in metres; 0 keeps all.
    freeze : mapping
        Values of further inputs, where a file has them; ``"rays"`` for viewing rays of the user's camera.
    mask : Mask, optional
        Where there is no depth; pixels there become NaN.
    scale : tuple of str
        Names of an output that multiplies depth.
    solve_shift : bool
        Whether points lack a shift along the optical axis, which the camera's focal length decides.
    own_focal : tuple of str
        Names of an output with the focal length, or the camera matrix, in pixels, that depth is metric for.
    files : str
        Regular expression that names of published files match, in lower case.
    """

    name: str
    title: str
    kind: str
    licence: str
    commercial_use: bool | None
    source: str
    training_data: str
    expect: str
    inputs: tuple[str, ...] = ("image", "pixel_values", "input")
    outputs: tuple[str, ...] = ("depth", "predicted_depth", "output")
    normalisation: str = "imagenet"
    channels: str = "rgb"
    layout: str = "nchw"
    fit: str = "stretch"
    pad_colour: tuple[float, float, float] = (123.675, 116.28, 103.53)
    side: tuple[str, int] = ("short", 518)
    multiple: int = 14
    focal: Focal | None = None
    min_depth: float = 0.1
    max_depth: float = 100.0
    clip: float = 0.0
    freeze: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    mask: Mask | None = None
    scale: tuple[str, ...] = ()
    solve_shift: bool = False
    own_focal: tuple[str, ...] = ()
    files: str = "(?!)"

    def __post_init__(self):
        """Refuse what no preset can be."""
        for name, allowed in (
            ("kind", KINDS),
            ("normalisation", NORMALISATIONS),
            ("channels", CHANNELS),
            ("layout", LAYOUTS),
            ("fit", FITS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")

    @property
    def is_relative(self) -> bool:
        """Whether its depth has no metres."""
        return self.kind.endswith("_relative")
