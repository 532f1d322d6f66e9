"""
The model contract: one ONNX file is the whole model.

Input ``image``: uint8 [N, H, W, 3], RGB. Output ``depth``: float32 [N, 1, h, w], metres along the optical axis. A model
may add an output ``log_variance`` of the same shape, the logarithm of the variance of its error in square metres. Cast,
normalisation and change of layout are part of the graph, so that every backend computes the same. What the graph cannot
say is JSON in the file's metadata (`ModelInfo`).
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

# Newer versions of ONNX Runtime report to their makers unless this is set before they load. A robot reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["METADATA_KEY", "OUTPUTS", "PACKAGED", "Model", "ModelError", "ModelInfo", "load_model"]

OUTPUTS = ("depth", "log_variance")

# Models that come with the package, by name.
_WEIGHTS = Path(__file__).parent / "weights"
PACKAGED = {"default": _WEIGHTS / "nyu_resnet18_small.onnx"}

_LARGEST_FILE = 2 << 30  # bytes: the limit of protobuf, which ONNX files are


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


def load_model(name: str | os.PathLike[str], relative: bool = False) -> Model:
    """
    Read a model and hold it against the contract.

    Parameters
    ----------
    name : str or path
        A name in `PACKAGED`, or the path of an ONNX file.
    relative : bool
        Take a model whose depth is not in metres, too.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If the file is missing or cannot be read, is not a whole ONNX file, does not keep the contract, or does not give
        metres.
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
        info, outputs = _check(content, Path(path))
        if info.is_relative and not relative:
            raise ModelError(
                f"its depth is relative ({info.kind}), not metres, and nothing here makes it metric yet; take a metric "
                "network, `wrap_model --list` names some"
            )
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


def _check(content: bytes, path: Path) -> tuple[ModelInfo, tuple[str, ...]]:
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
