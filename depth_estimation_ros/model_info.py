"""What a model says of itself: the JSON in the metadata of its ONNX file."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, asdict, dataclass, fields

from depth_estimation_ros.support.sentences import shortened

METADATA_KEY = "depth_estimation_ros"
SCHEMA_VERSION = 2
KINDS = ("metric", "inverse_relative", "depth_relative")
"""Kinds of depth, see `ModelInfo`."""


class ModelError(ValueError):
    """A model that cannot be used; the message says why and what to do."""


_LARGEST_SIDE = 8192  # pixels
_LARGEST_DEPTH = 1e6  # metres
_LONGEST_NAME = 100
# Focal length over width: 0.01 is a view of 179 degrees, 1000 of 3 minutes of arc.
_FOCAL_LENGTHS = (0.01, 1000.0)


@dataclass(frozen=True)
class ModelInfo:
    """
    What a model says of itself.

    Parameters
    ----------
    name : str
        Short name, e.g. ``nyu_resnet18_small``: at most 100 printable characters.
    input_width, input_height : int
        Size of the input image in pixels, at most 8192.
    focal_length : float
        Horizontal focal length in pixels, at the input size, for which the model's depths are metres.
    min_depth, max_depth : float
        Range of depths the model was trained on, metres.
    training_data : str
        What it was trained on.
    licence : str
        Licence of the weights.
    source_sha256 : str
        sha256 of the file the model was made from: the training's checkpoint, the float model of an int8 one, or the
        network that was wrapped.
    focal_length_y : float, optional
        Vertical focal length, where that is another: the network sees images stretched.
    horizontal_only : bool
        Whether depth depends on the horizontal focal length alone, however images are stretched.
    kind : str
        One of `KINDS`: metres (metric), inverse depth of unknown scale and shift, near is large (inverse_relative), or
        depth of unknown scale, or scale and shift (depth_relative).
    source_name : str
        Name of the file that the model was made from, where it is a network from elsewhere.
    commercial_use : bool, optional
        Whether the licence of the weights allows commercial use; None where that is not known.

    Raises
    ------
    ModelError
        If a value is of another type, or impossible.
    """

    name: str
    input_width: int
    input_height: int
    focal_length: float
    min_depth: float
    max_depth: float
    training_data: str
    licence: str
    source_sha256: str
    focal_length_y: float | None = None
    horizontal_only: bool = False
    kind: str = "metric"
    source_name: str = ""
    commercial_use: bool | None = None

    def __post_init__(self):
        """Refuse what no model can say of itself."""
        for name in ("name", "training_data", "licence", "source_sha256", "source_name"):
            text = getattr(self, name)
            self._must(isinstance(text, str) and _is_unicode(text), name, "Unicode text")
        printable = 0 < len(self.name) <= _LONGEST_NAME and self.name.isprintable()
        self._must(printable, "name", f"1 to {_LONGEST_NAME} printable characters")
        for name in ("input_width", "input_height"):
            side = getattr(self, name)
            fits = type(side) is int and 1 <= side <= _LARGEST_SIDE
            self._must(fits, name, f"a whole number from 1 to {_LARGEST_SIDE}")
        focal_lengths = ("focal_length", "focal_length_y")[: 1 if self.focal_length_y is None else 2]
        for name in (*focal_lengths, "min_depth", "max_depth"):
            number = getattr(self, name)
            self._must(isinstance(number, int | float) and not isinstance(number, bool), name, "a number")
        for name, side in zip(focal_lengths, (self.input_width, self.input_height), strict=False):
            near, far = (factor * side for factor in _FOCAL_LENGTHS)
            self._must(near <= getattr(self, name) <= far, name, f"pixels at the input size, {near:g} to {far:g}")
        self._must(0 < self.max_depth <= _LARGEST_DEPTH, "max_depth", f"metres, at most {_LARGEST_DEPTH:g}")
        self._must(0 < self.min_depth < self.max_depth, "min_depth", f"metres, more than 0 and below {self.max_depth}")
        self._must(type(self.horizontal_only) is bool, "horizontal_only", "true or false")
        self._must(self.kind in KINDS, "kind", f"one of {', '.join(KINDS)}")
        self._must(
            self.commercial_use is None or type(self.commercial_use) is bool, "commercial_use", "true, false or null"
        )

    @property
    def focal_lengths(self) -> tuple[float, float]:
        """Horizontal and vertical focal length, in pixels at the input size."""
        return self.focal_length, self.focal_length if self.focal_length_y is None else self.focal_length_y

    @property
    def is_relative(self) -> bool:
        """Whether its depth is not in metres."""
        return self.kind != "metric"

    @property
    def terms(self) -> str:
        """The licence, and whether it forbids commercial use, where that is known."""
        return f"{self.licence}; no commercial use" if self.commercial_use is False else self.licence

    def depth_ratio(self, fx: float, fy: float) -> float:
        """
        Return by what depth is to be multiplied for a camera.

        The network knows its training camera only: seen through a focal length k times as long, everything looks k
        times nearer than it is. Of a stretched image k is the geometric mean of both directions.

        Parameters
        ----------
        fx, fy : float
            Focal lengths of the camera in pixels, at the input size.
        """
        x, y = fx / self.focal_lengths[0], fy / self.focal_lengths[1]
        return 1.0 if self.is_relative else x if self.horizontal_only else math.sqrt(x * y)

    def _must(self, holds: bool, name: str, wanted: str) -> None:
        if not holds:
            value = shortened(ascii(getattr(self, name)), 40)
            raise ModelError(f"its {name} must be {wanted}, got {value}; export the model again")

    def to_json(self) -> str:
        """Return the metadata entry, of the oldest schema version that can say it all."""
        values = asdict(self)
        later = {f.name: f.default for f in fields(self) if f.default is not MISSING}
        if all(values[name] == default for name, default in later.items()):
            return json.dumps({"schema_version": 1, **{n: v for n, v in values.items() if n not in later}})
        return json.dumps({"schema_version": SCHEMA_VERSION, **values})

    @classmethod
    def from_json(cls, text: str) -> ModelInfo:
        """
        Read a metadata entry.

        Raises
        ------
        ModelError
            If it is not JSON, of another schema version, incomplete, or holds impossible values.
        """
        try:
            values = json.loads(text, object_pairs_hook=_unique)
            version = values.pop("schema_version")
        except ModelError:
            raise
        except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
            raise ModelError("its depth_estimation_ros metadata cannot be read; export the model again") from None
        if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
            version = shortened(ascii(version), 40)
            raise ModelError(
                f"its metadata has schema version {version}, this package reads 1 to {SCHEMA_VERSION}; export the "
                "model again, or install the version of this package that it was exported with"
            )
        known = [f.name for f in fields(cls) if version > 1 or f.default is MISSING]
        if missing := sorted(set(known) - set(values)):
            raise ModelError(f"its metadata lacks {', '.join(missing)}; export the model again")
        return cls(**{name: values[name] for name in known})


def _is_unicode(text: str) -> bool:
    """Whether a text can be encoded: JSON can hold half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of JSON, in which the second of two equal names would win without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ModelError("its metadata gives a value twice; export the model again")
    return found
