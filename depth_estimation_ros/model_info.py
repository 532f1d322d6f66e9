"""Metadata of a model: JSON in the metadata of its ONNX file."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, asdict, dataclass, fields

from depth_estimation_ros.support.sentences import shortened

METADATA_KEY = "depth_estimation_ros"
SCHEMA_VERSION = 2
KINDS = ("metric", "inverse_relative", "depth_relative")
"""Kinds of depth that a model may output, see `ModelInfo`."""


class ModelError(ValueError):
    """Error for a model that cannot be used; the message says why and what to do."""


_LARGEST_SIDE = 8192  # pixels
_LARGEST_DEPTH = 1e6  # metres
_LONGEST_NAME = 100
# Focal length over image width: 0.01 is a field of view of 179 degrees, 1000 one of 3 minutes of arc.
_FOCAL_LENGTHS = (0.01, 1000.0)


@dataclass(frozen=True)
class ModelInfo:
    """
    Metadata of a model.

    Parameters
    ----------
    name : str
        Short name of 1 to 100 printable characters, e.g. ``nyu_resnet18_small``.
    input_width, input_height : int
        Size of the input image in pixels, 1 to 8192.
    focal_length : float
        Horizontal focal length of the training camera, in pixels at the input size. Depth is in metres for this focal
        length; for other cameras it is multiplied by `depth_ratio`.
    min_depth, max_depth : float
        Range of depths in the training data, metres; 0 < min_depth < max_depth <= 1e6.
    training_data : str
        Data that the model was trained on.
    licence : str
        Licence of the weights.
    source_sha256 : str
        SHA-256 of the file that the model was made from: the training checkpoint, the float model of an int8 model, or
        the network that was wrapped.
    focal_length_y : float, optional
        Vertical focal length, in pixels at the input size, if it differs because images are stretched to the input
        size. None: equal to `focal_length`.
    horizontal_only : bool
        Whether depth scales with the horizontal focal length only, even if images are stretched.
    kind : str
        One of `KINDS`. ``metric``: depth in metres. ``inverse_relative``: inverse depth of unknown scale and shift,
        larger is nearer. ``depth_relative``: depth of unknown scale, or of unknown scale and shift.
    source_name : str
        Name of the file that the model was made from, if it is a published network; else empty.
    commercial_use : bool, optional
        Whether the licence of the weights allows commercial use; None if unknown.

    Raises
    ------
    ModelError
        If a value has the wrong type or is out of range.
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
        """Check types and ranges."""
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
        """Whether depth is relative, so not in metres."""
        return self.kind != "metric"

    @property
    def terms(self) -> str:
        """Licence, with a note if it forbids commercial use."""
        return f"{self.licence}; no commercial use" if self.commercial_use is False else self.licence

    def depth_ratio(self, fx: float, fy: float) -> float:
        """
        Return the factor by which to multiply depth for a camera.

        The model assumes its training camera. With a focal length k times as long, every object looks k times nearer
        than it is, so the factor is k. If k differs between the two directions, the factor is their geometric mean.
        With `horizontal_only`, only the horizontal one counts. For relative depth the factor is 1.

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
        """Return the metadata entry as JSON, in the oldest schema version that has all fields in use."""
        values = asdict(self)
        later = {f.name: f.default for f in fields(self) if f.default is not MISSING}
        if all(values[name] == default for name, default in later.items()):
            return json.dumps({"schema_version": 1, **{n: v for n, v in values.items() if n not in later}})
        return json.dumps({"schema_version": SCHEMA_VERSION, **values})

    @classmethod
    def from_json(cls, text: str) -> ModelInfo:
        """
        Read the metadata entry from JSON.

        Raises
        ------
        ModelError
            If the text is not JSON, has an unknown schema version, lacks a field, gives a field twice, or a value is
            out of range.
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
    """Return whether a text can be encoded; JSON may contain half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build a dict from a JSON object, and refuse duplicate names: `json` would keep only the last one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ModelError("its metadata gives a value twice; export the model again")
    return found
