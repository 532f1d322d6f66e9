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
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

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


@dataclass(frozen=True)
class ModelInfo:
    """
    What a model says of itself.

    Parameters
    ----------
    name : str
        Short name, e.g. ``nyu_resnet18_small``.
    input_width, input_height : int
        Size of the input image in pixels.
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
            values = json.loads(text)
            version = values.pop("schema_version")
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError):
            raise ModelError("its depth_estimation_ros metadata cannot be read; export the model again") from None
        if version != SCHEMA_VERSION:
            raise ModelError(f"its metadata has schema version {version}, this package reads {SCHEMA_VERSION}")
        if missing := sorted({f.name for f in fields(cls)} - set(values)):
            raise ModelError(f"its metadata lacks {', '.join(missing)}; export the model again")
        info = cls(**{f.name: values[f.name] for f in fields(cls)})
        numbers = (info.input_width, info.input_height, info.focal_length, info.min_depth, info.max_depth)
        if not all(isinstance(n, int | float) and math.isfinite(n) and n > 0 for n in numbers):
            raise ModelError("its metadata must give size, focal length and depth range as positive numbers")
        return info


@dataclass(frozen=True)
class Model:
    """A checked model file: where it is, what it says of itself, its sha256, its outputs of the contract."""

    path: Path
    info: ModelInfo
    sha256: str
    outputs: tuple[str, ...] = ("depth",)


def load_model(name: str | Path) -> Model:
    """
    Find a model and hold it against the contract.

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
        If the file is missing, is not a whole ONNX file, or does not keep the contract.
    """
    path = Path(PACKAGED.get(str(name), name)).expanduser()
    if not path.is_file():
        known = ", ".join(PACKAGED)
        raise ModelError(f"model {str(name)!r} not found: give the path of an ONNX file, or one of: {known}")
    content = path.read_bytes()
    try:
        info, outputs = _check(content)
        return Model(path, info, hashlib.sha256(content).hexdigest(), outputs)
    except ModelError as error:
        raise ModelError(f"model {path} cannot be used: {error}") from None


def _check(content: bytes) -> tuple[ModelInfo, tuple[str, ...]]:
    """Return the metadata of a model that keeps the contract, and the names of its outputs."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"models are read with the package onnxruntime ({error}); install it: pip install onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Nothing runs here: weights need not be laid out for speed.
    options.add_session_config_entry("session.disable_prepacking", "1")
    # One file is the whole model, and all that sha256 covers: weights in a second file, which ONNX Runtime looks for in
    # the working folder, are not found there.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that share only Exception
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ModelError(f"it is not a complete ONNX file ({reason}); copy or export it again") from None
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ModelError(
            "it has no depth_estimation_ros metadata, so its input size and focal length are unknown; "
            "export it with `python -m training.export`"
        )
    info = ModelInfo.from_json(metadata[METADATA_KEY])
    inputs = [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()]
    expected = [("image", "tensor(uint8)", [info.input_height, info.input_width, 3])]
    if inputs != expected:
        raise ModelError(f"its inputs are {inputs}, the contract asks for {expected} behind the batch")
    outputs = {o.name: (o.type, len(o.shape), o.shape[1:]) for o in session.get_outputs()}
    depth = outputs.get("depth")
    if depth is None or depth[:2] != ("tensor(float)", 4) or outputs.get("log_variance", depth) != depth:
        raise ModelError(
            f"its outputs are {outputs}, the contract asks for float 'depth' of shape [N, 1, h, w] "
            "and, if it has one, a 'log_variance' of the same shape"
        )
    return info, tuple(name for name in OUTPUTS if name in outputs)
