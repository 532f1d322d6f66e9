"""
Model contract: one ONNX file holds the complete model.

- Input ``image``: uint8 [N, H, W, 3], RGB. H and W are fixed; N is free, or 1.
- Output ``depth``: float32 [N, 1, h, w], metres along the optical axis (or relative depth, see `ModelInfo.kind`).
- Optional output ``log_variance``: float32, same shape as ``depth``, natural logarithm of the variance of the depth
  error in square metres.
- Metadata entry ``depth_estimation_ros``: JSON with the fields of `ModelInfo` and a ``schema_version``.

The cast to float, the normalisation and the change of layout are part of the graph, so every backend computes the same.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from depth_estimation_ros.model_info import METADATA_KEY, ModelError, ModelInfo
from depth_estimation_ros.support.installing import how_to_install
from depth_estimation_ros.support.sentences import choices, quoted, reason, shortened
from depth_estimation_ros.weights import FETCHED, NAMES, PACKAGED, fetched_file

# Newer versions of ONNX Runtime send telemetry unless this is set before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["METADATA_KEY", "OUTPUTS", "PACKAGED", "Model", "ModelError", "ModelInfo", "load_model"]

OUTPUTS = ("depth", "log_variance")

_LARGEST_FILE = 2 << 30  # bytes: the limit of protobuf, the format of ONNX files


@dataclass(frozen=True)
class Model:
    """
    Model that satisfies the contract, from `load_model`.

    Parameters
    ----------
    path : pathlib.Path
        File that it was read from.
    info : ModelInfo
        Metadata.
    sha256 : str
        SHA-256 of the file content.
    outputs : tuple of str
        Names of its outputs that the contract defines: ``depth``, and ``log_variance`` if it has one.
    content : bytes or None
        Content of the file as it was checked. Engines are built from it and not from the file, which may have been
        replaced since. None after the engine is created.
    """

    path: Path
    info: ModelInfo
    sha256: str
    outputs: tuple[str, ...] = ("depth",)
    content: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def known_content(self) -> bytes:
        """`content`, for what builds from it; raises ModelError if it was dropped."""
        if self.content is None:
            raise ModelError(f"the content of model {quoted(self.path)} was dropped: load the model again")
        return self.content


def load_model(name: str | os.PathLike[str]) -> Model:
    """
    Read a model and check it against the contract.

    Parameters
    ----------
    name : str or path
        One of `depth_estimation_ros.weights.NAMES`, or the path of an ONNX file.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If the file is missing, cannot be read, is not a complete ONNX file, or does not satisfy the contract.
    """
    if not isinstance(name, str | os.PathLike):
        raise ModelError(f"a model is the path of an ONNX file, or one of: {choices(NAMES)}; not {quoted(name)}")
    try:
        path = _file_of(os.fspath(name))
        content = _read(path)
    except ModelError as error:
        raise ModelError(f"model {quoted(name)} {error}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(
            f"model {quoted(name)} not found: give the path of an ONNX file, or one of: {choices(NAMES)}"
        ) from None
    except Exception as error:  # from the file system, an invalid path, or too little memory
        raise ModelError(
            f"model {quoted(name)} cannot be read: {reason(error)}; give the path of an ONNX file that this user can "
            f"read, or one of: {choices(NAMES)}"
        ) from None
    try:
        info, outputs = _check(content, Path(path))
    except ModelError as error:
        raise ModelError(f"model {quoted(path)} cannot be used: {error}") from None
    except Exception as error:  # ONNX Runtime raises many types for files that break the contract
        raise ModelError(f"model {quoted(path)} cannot be used: {reason(error)}; export it again") from None
    return Model(Path(path), info, hashlib.sha256(content).hexdigest(), outputs, content)


def _file_of(name: str) -> str:
    """Return the path of the file that a name or a path names."""
    if name not in FETCHED:
        return os.path.expanduser(PACKAGED.get(name, name))
    if not (file := fetched_file(name)).exists():
        raise ModelError(f"is not on this machine yet: run `fetch_model {name}`, which writes it to {file}")
    return str(file)


def _read(path: str) -> bytes:
    """Return the content of a regular file."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise ModelError("is a folder: give the path of an ONNX file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ModelError("is not a file but a device or a pipe: give the path of an ONNX file")
    if status.st_size >= _LARGEST_FILE:
        raise ModelError(f"has {status.st_size / 1e9:.1f} GB, which no ONNX file has: give the path of an ONNX file")
    return Path(path).read_bytes()


def _check(content: bytes, path: Path) -> tuple[ModelInfo, tuple[str, ...]]:
    """Check a model against the contract, and return its metadata and the names of its outputs."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"models are read with the package onnxruntime ({error}); install it: {how_to_install('onnxruntime')}"
        ) from None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # The model is not run here, so weights need not be laid out for speed.
    options.add_session_config_entry("session.disable_prepacking", "1")
    # One file must hold the complete model, because sha256 covers only that file. ONNX Runtime would read weights of a
    # second file from the working folder; with os.devnull as the folder it finds none.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.log_severity_level = 4
    providers = ["CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's error classes have only Exception in common
        if place := _second_file(content):
            raise ModelError(
                f"its weights are in a second file, {quoted(place)}, and one file must be the whole model; "
                "`wrap_model` makes one of a published network and its files; of a model: "
                "`python3 -c \"import onnx; onnx.save(onnx.load('IN.onnx'), 'OUT.onnx')\"`"
            ) from None
        raise ModelError(f"it is not a complete ONNX file ({reason(error)}); copy or export it again") from None
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        from depth_estimation_ros.wrapping.recognise import Signature, advice

        ports = [[(p.name, p.shape) for p in ports] for ports in (session.get_inputs(), session.get_outputs())]
        raise ModelError(
            "it has no depth_estimation_ros metadata, so its input size and focal length are unknown; "
            f"{advice(Signature(path, *ports))}"
        )
    # Of two entries with the same key, ONNX Runtime silently keeps the last one.
    if content.count(_field(1, METADATA_KEY.encode())) > 1:
        raise ModelError("it has depth_estimation_ros metadata twice; export the model again")
    info = ModelInfo.from_json(metadata[METADATA_KEY])
    inputs = [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()]
    expected = [("image", "tensor(uint8)", [info.input_height, info.input_width, 3])]
    if inputs != expected:
        raise ModelError(
            f"its inputs are {shortened(ascii(inputs))}, the contract asks for {expected} after the batch dimension"
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
    if info.is_relative and "log_variance" in outputs:
        raise ModelError(
            f"its depth is relative ({info.kind}), and log_variance is in square metres; export it without that output"
        )
    return info, tuple(name for name in OUTPUTS if name in outputs)


def _second_file(content: bytes) -> str:
    """Return the name of the first external file with weights of a model, or an empty string."""
    _, _, after = content.partition(_field(1, b"location") + b"\x12")
    return after[1 : 1 + after[0]].decode(errors="replace") if after else ""


def _field(number: int, value: bytes) -> bytes:
    """Return a protobuf field with a value shorter than 128 bytes, encoded."""
    return bytes((number << 3 | 2, len(value))) + value
