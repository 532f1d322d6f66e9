"""
The model contract: one ONNX file is the whole model.

Input ``image``: uint8 [N, H, W, 3], RGB. Output ``depth``: float32 [N, 1, h, w], metres along the optical axis. A model
may add an output ``log_variance`` of the same shape, the logarithm of the variance of its error in square metres. Cast,
normalisation and change of layout are part of the graph, so that every backend computes the same. What the graph cannot
say is JSON in the file's metadata (`ModelInfo`).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from depth_estimation_ros.support.installing import how_to_install
from depth_estimation_ros.support.sentences import choices, quoted, reason, shortened

# Newer versions of ONNX Runtime report to their makers unless this is set before they load. A robot reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

METADATA_KEY = "depth_estimation_ros"
SCHEMA_VERSION = 1
OUTPUTS = ("depth", "log_variance")

# Models that come with the package, by name.
_WEIGHTS = Path(__file__).parent / "weights"
PACKAGED = {"default": _WEIGHTS / "nyu_resnet18_small.onnx"}


class ModelError(ValueError):
    """A model that cannot be used; the message says why and what to do."""


_LARGEST_FILE = 2 << 30  # bytes: the limit of protobuf, which ONNX files are
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
        Focal length in pixels, at the input size, for which the model's depths are metres.
    min_depth, max_depth : float
        Range of depths the model was trained on, metres.
    training_data : str
        What it was trained on.
    licence : str
        Licence of the weights.
    source_sha256 : str
        sha256 of the file the model was made from: the training's checkpoint, or the float model of an int8 one.

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

    def __post_init__(self):
        """Refuse what no model can say of itself."""
        for name in ("name", "training_data", "licence", "source_sha256"):
            text = getattr(self, name)
            self._must(isinstance(text, str) and _is_unicode(text), name, "Unicode text")
        printable = 0 < len(self.name) <= _LONGEST_NAME and self.name.isprintable()
        self._must(printable, "name", f"1 to {_LONGEST_NAME} printable characters")
        for name in ("input_width", "input_height"):
            side = getattr(self, name)
            fits = type(side) is int and 1 <= side <= _LARGEST_SIDE
            self._must(fits, name, f"a whole number from 1 to {_LARGEST_SIDE}")
        for name in ("focal_length", "min_depth", "max_depth"):
            number = getattr(self, name)
            self._must(isinstance(number, int | float) and not isinstance(number, bool), name, "a number")
        near, far = (factor * self.input_width for factor in _FOCAL_LENGTHS)
        self._must(near <= self.focal_length <= far, "focal_length", f"pixels at the input size, {near:g} to {far:g}")
        self._must(0 < self.max_depth <= _LARGEST_DEPTH, "max_depth", f"metres, at most {_LARGEST_DEPTH:g}")
        self._must(0 < self.min_depth < self.max_depth, "min_depth", f"metres, more than 0 and below {self.max_depth}")

    def _must(self, holds: bool, name: str, wanted: str) -> None:
        if not holds:
            value = shortened(ascii(getattr(self, name)), 40)
            raise ModelError(f"its {name} must be {wanted}, got {value}; export the model again")

    def to_json(self) -> str:
        """Return the metadata entry."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)})

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
        if type(version) is not int or version != SCHEMA_VERSION:
            version = shortened(ascii(version), 40)
            raise ModelError(
                f"its metadata has schema version {version}, this package reads {SCHEMA_VERSION}; export the model "
                "again, or install the version of this package that it was exported with"
            )
        if missing := sorted({f.name for f in fields(cls)} - set(values)):
            raise ModelError(f"its metadata lacks {', '.join(missing)}; export the model again")
        return cls(**{f.name: values[f.name] for f in fields(cls)})


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


@dataclass(frozen=True)
class Model:
    """
    A checked model.

    Parameters
    ----------
    path : pathlib.Path
        Where it was read.
    info : ModelInfo
        What it says of itself.
    sha256 : str
        Of the content.
    outputs : tuple of str
        Those of the contract that it has.
    content : bytes or None
        The whole file as it was checked. Engines are made of it, not of the file, which may be another by then. None
        once the engine is made.
    """

    path: Path
    info: ModelInfo
    sha256: str
    outputs: tuple[str, ...] = ("depth",)
    content: bytes | None = field(default=None, repr=False, compare=False)


def load_model(name: str | os.PathLike[str]) -> Model:
    """
    Read a model and hold it against the contract.

    Parameters
    ----------
    name : str or path
        A name in `PACKAGED`, or the path of an ONNX file.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If the file is missing or cannot be read, is not a whole ONNX file, or does not keep the contract.
    """
    if not isinstance(name, str | os.PathLike):
        raise ModelError(f"a model is the path of an ONNX file, or one of: {choices(PACKAGED)}; not {quoted(name)}")
    try:
        path = os.path.expanduser(PACKAGED.get(os.fspath(name), name))
        content = _read(path)
    except ModelError as error:
        raise ModelError(f"model {quoted(name)} {error}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(
            f"model {quoted(name)} not found: give the path of an ONNX file, or one of: {choices(PACKAGED)}"
        ) from None
    except Exception as error:  # of the file system, of a path that is none, for want of memory
        raise ModelError(
            f"model {quoted(name)} cannot be read: {reason(error)}; give the path of an ONNX file that this user can "
            f"read, or one of: {choices(PACKAGED)}"
        ) from None
    try:
        info, outputs = _check(content)
    except ModelError as error:
        raise ModelError(f"model {quoted(path)} cannot be used: {error}") from None
    except Exception as error:  # whatever ONNX Runtime's bindings make of a file that is none of the contract's
        raise ModelError(f"model {quoted(path)} cannot be used: {reason(error)}; export it again") from None
    return Model(Path(path), info, hashlib.sha256(content).hexdigest(), outputs, content)


def _read(path: str) -> bytes:
    """Read a file, once."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise ModelError("is a folder: give the path of an ONNX file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ModelError("is not a file but a device or a pipe: give the path of an ONNX file")
    if status.st_size >= _LARGEST_FILE:
        raise ModelError(f"has {status.st_size / 1e9:.1f} GB, which no ONNX file has: give the path of an ONNX file")
    return Path(path).read_bytes()


def _check(content: bytes) -> tuple[ModelInfo, tuple[str, ...]]:
    """Return the metadata of a model that keeps the contract, and the names of its outputs."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"models are read with the package onnxruntime ({error}); install it: {how_to_install('onnxruntime')}"
        ) from None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Nothing runs here: weights need not be laid out for speed.
    options.add_session_config_entry("session.disable_prepacking", "1")
    # One file is the whole model, and all that sha256 covers: weights in a second file, which ONNX Runtime looks for in
    # the working folder, are not found there.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.log_severity_level = 4
    providers = ["CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime raises classes of its own that share only Exception
        if place := _second_file(content):
            raise ModelError(
                f"its weights are in a second file, {quoted(place)}, and one file must be the whole model; write it "
                "as one: `python3 -c \"import onnx; onnx.save(onnx.load('IN.onnx'), 'OUT.onnx')\"`"
            ) from None
        raise ModelError(f"it is not a complete ONNX file ({reason(error)}); copy or export it again") from None
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ModelError(
            "it has no depth_estimation_ros metadata, so its input size and focal length are unknown; "
            "export it with `python -m training.export`"
        )
    # ONNX Runtime takes the last of two entries without a word.
    if content.count(_field(1, METADATA_KEY.encode())) > 1:
        raise ModelError("it has depth_estimation_ros metadata twice; export the model again")
    info = ModelInfo.from_json(metadata[METADATA_KEY])
    inputs = [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()]
    expected = [("image", "tensor(uint8)", [info.input_height, info.input_width, 3])]
    if inputs != expected:
        raise ModelError(
            f"its inputs are {shortened(ascii(inputs))}, the contract asks for {expected} behind the batch"
        )
    batch = session.get_inputs()[0].shape[0]
    if isinstance(batch, int) and batch != 1:
        raise ModelError(f"it takes batches of {batch} only, and a camera gives one image; export it with a free batch")
    outputs = {o.name: (o.type, len(o.shape), o.shape[1:]) for o in session.get_outputs()}
    depth = outputs.get("depth")
    if depth is None or depth[:2] != ("tensor(float)", 4) or outputs.get("log_variance", depth) != depth:
        raise ModelError(
            f"its outputs are {shortened(ascii(outputs))}, the contract asks for float 'depth' of shape [N, 1, h, w] "
            "and, if it has one, a 'log_variance' of the same shape"
        )
    return info, tuple(name for name in OUTPUTS if name in outputs)


def _second_file(content: bytes) -> str:
    """Return the name of the first file that a model keeps weights in besides its own; empty if there is none."""
    _, _, after = content.partition(_field(1, b"location") + b"\x12")
    return after[1 : 1 + after[0]].decode(errors="replace") if after else ""


def _field(number: int, value: bytes) -> bytes:
    """Return a field of a protobuf message that holds less than 128 bytes."""
    return bytes((number << 3 | 2, len(value))) + value
