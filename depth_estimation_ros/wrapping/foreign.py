"""Read a published ONNX file, with the weights that it keeps in other files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, external_data_helper

from depth_estimation_ros.support.sentences import quoted, reason
from depth_estimation_ros.wrapping.errors import WrapError

OLDEST_OPSET = 9
# The newest file format that TensorRT 8.5 reads. What it lacks are types that networks here do not use.
IR_VERSION = 8
_LARGEST = 2 << 30  # bytes: the limit of protobuf, which ONNX files are
_IMAGE_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8)


@dataclass(frozen=True)
class Port:
    """
    An input or output as a file declares it.

    Parameters
    ----------
    name : str
        Of the tensor.
    dtype : int
        Of `onnx.TensorProto`.
    shape : tuple of int or None
        None where an axis is free.
    """

    name: str
    dtype: int
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        """Return it as a user can read it."""
        shape = ", ".join("?" if side is None else str(side) for side in self.shape)
        return f"{quoted(self.name)} {TensorProto.DataType.Name(self.dtype).lower()} [{shape}]"


@dataclass(frozen=True)
class Foreign:
    """
    A network from elsewhere.

    Parameters
    ----------
    path : pathlib.Path
        Where it was read.
    model : onnx.ModelProto
        With all its weights.
    sha256 : str
        Of the file; where it has weights in other files, of the file and of these, one behind the other by name.
    inputs, outputs : tuple of Port
        As declared.
    """

    path: Path
    model: onnx.ModelProto
    sha256: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def opset(self) -> int:
        """Version of ONNX's own operator set."""
        return max(entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx"))


def read(path: Path) -> Foreign:
    """
    Read a network.

    Parameters
    ----------
    path : pathlib.Path
        Of an ONNX file.

    Raises
    ------
    WrapError
        If it is missing, not a whole ONNX file, lacks a file with weights, or is too old or too large.
    """
    content = _content(path)
    try:
        model = onnx.load_model_from_string(content)
        if not model.graph.node:
            raise ValueError("it has no nodes")
    except Exception as error:  # protobuf's errors share only Exception
        raise WrapError(f"{quoted(path)} is not a complete ONNX file ({reason(error)}); {_hint(content)}") from None
    digest = hashlib.sha256(content)
    _load_weights(path, model, len(content), digest)
    opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not opsets or max(opsets) < OLDEST_OPSET:
        raise WrapError(
            f"{quoted(path)} has operator set {max(opsets, default='none')}, and {OLDEST_OPSET} is the oldest that can "
            "be wrapped; export it again"
        )
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # onnx's own share only Exception
        raise WrapError(f"{quoted(path)} is not a valid ONNX file: {reason(error)}; {_hint(content)}") from None
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_port(value) for value in model.graph.input if value.name not in stored)
    return Foreign(path, model, digest.hexdigest(), inputs, tuple(_port(value) for value in model.graph.output))


def image_input(foreign: Foreign, names: tuple[str, ...]) -> Port:
    """
    Return the input that takes the image.

    Parameters
    ----------
    foreign : Foreign
        The network.
    names : tuple of str
        Names that it may have; where none is there, the only input with the shape of an image is taken.

    Raises
    ------
    WrapError
        If there is no such input, or a choice of them.
    """
    named = [port for name in names for port in foreign.inputs if port.name == name]
    candidates = named[:1] or [port for port in foreign.inputs if len(port.shape) in (4, 5)]
    if len(candidates) != 1:
        raise WrapError(f"which input takes the image is not clear: {listed(foreign.inputs)}; name it with --input")
    (port,) = candidates
    if len(port.shape) not in (4, 5) or port.dtype not in _IMAGE_TYPES:
        raise WrapError(f"its input {port} takes no image; its inputs are {listed(foreign.inputs)}")
    return port


def listed(ports: tuple[Port, ...]) -> str:
    """Return inputs or outputs as a user can read them."""
    return ", ".join(str(port) for port in ports[:8]) + (f" and {len(ports) - 8} more" if len(ports) > 8 else "")


def _content(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise WrapError(f"{quoted(path)} is a folder: give the path of the ONNX file in it")
        size = path.stat().st_size
        if size >= _LARGEST:
            raise WrapError(f"{quoted(path)} has {size / 1e9:.1f} GB, which no ONNX file has")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, WrapError):
            raise
        raise WrapError(f"{quoted(path)} cannot be read: {reason(error)}") from None


def _hint(content: bytes) -> str:
    """Say what else a file is, that was meant to be a network."""
    start = content[:200].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "it is Git LFS's pointer to the file: fetch it with `git lfs pull`"
    if start.startswith((b"<!doctype", b"<html", b"{")):
        return "it is a web page's text: download the file itself"
    if content[:2] == b"PK":
        return "it is an archive or a PyTorch checkpoint: unpack it, or export it to ONNX"
    return "copy or download it again"


def _load_weights(path: Path, model: onnx.ModelProto, size: int, digest: hashlib._Hash) -> None:
    """Bring weights from other files into the model."""
    places: dict[str, int] = {}  # the end of what is read of each file
    for tensor in external_data_helper._get_all_tensors(model):
        if external_data_helper.uses_external_data(tensor):
            entries = {entry.key: entry.value for entry in tensor.external_data}
            end = int(entries.get("offset", 0)) + int(entries.get("length", 0))
            places[entries.get("location", "")] = max(end, places.get(entries.get("location", ""), 0))
    folder = path.parent.resolve()
    for place, end in sorted(places.items()):
        file = folder / place
        if not place or folder not in file.resolve().parents:
            raise WrapError(f"{quoted(path)} keeps weights outside of its folder, in {quoted(place)}: this is refused")
        if not file.is_file():
            raise WrapError(
                f"{quoted(path)} keeps its weights in {quoted(place)}, which is not beside it: download that file, "
                "too, and do not rename it"
            )
        if file.stat().st_size < end:
            raise WrapError(
                f"{quoted(file)} is cut off: it has {file.stat().st_size} of {end} bytes; download it again"
            )
        size += file.stat().st_size
    if size >= _LARGEST:
        raise WrapError(
            f"{quoted(path)} and its weights have {size / 1e9:.1f} GB; a model is one file of at most 2 GB: take the "
            "network's float16 file, or a smaller one"
        )
    for place in sorted(places):
        with open(folder / place, "rb") as stream:
            while block := stream.read(1 << 24):
                digest.update(block)
    if places:
        onnx.load_external_data_for_model(model, str(folder))


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in tensor.shape.dim)
    return Port(value.name, tensor.elem_type, shape)
