"""From a published network to a model of the contract."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from depth_estimation_ros.model_info import METADATA_KEY, ModelInfo
from depth_estimation_ros.support.sentences import quoted
from depth_estimation_ros.wrapping.errors import WrapError
from depth_estimation_ros.wrapping.foreign import IR_VERSION, Foreign, Port, image_input, listed
from depth_estimation_ros.wrapping.freezing import freeze, outputs_of
from depth_estimation_ros.wrapping.input_side import input_side
from depth_estimation_ros.wrapping.nodes import Nodes
from depth_estimation_ros.wrapping.output_side import PREFIX, Output, output_side
from depth_estimation_ros.wrapping.preset import Preset
from depth_estimation_ros.wrapping.sizes import Frame, focal_lengths, frame_of

DEFAULT_IMAGE = (640, 480)
DEFAULT_FOV = math.radians(60.0)


@dataclass(frozen=True)
class Wrapped:
    """
    A model made of a network.

    Parameters
    ----------
    model : onnx.ModelProto
        The whole model, with its metadata.
    info : ModelInfo
        Its metadata.
    frame : Frame
        The size of the image and of the network's input.
    notes : tuple of str
        What the user should know of how it was made.
    """

    model: onnx.ModelProto
    info: ModelInfo
    frame: Frame
    notes: tuple[str, ...]


def wrap(
    foreign: Foreign,
    preset: Preset,
    name: str,
    image: tuple[int, int] = DEFAULT_IMAGE,
    size: tuple[int, int] | None = None,
    horizontal_fov: float | None = None,
) -> Wrapped:
    """
    Make a model of a network.

    Parameters
    ----------
    foreign : Foreign
        The network.
    preset : Preset
        What is known of it.
    name : str
        Of the model.
    image : tuple of int
        (width, height) of the camera's images: the network sees their aspect, where it can.
    size : tuple of int, optional
        (width, height) of the network's input, where the file leaves it free; by the preset's rule without it.
    horizontal_fov : float, optional
        Field of view of the camera, radians; only for networks that are made for one camera.

    Raises
    ------
    WrapError
        If the file is not what the preset says, or ONNX Runtime does not compute it.
    ModelError
        If the metadata would be impossible.
    """
    if any(entry.key == METADATA_KEY for entry in foreign.model.metadata_props):
        raise WrapError(f"{quoted(foreign.path)} is a model of this package already: use it as it is")
    port = image_input(foreign, preset.inputs)
    notes = []
    frame = frame_of(preset, _fixed_size(port, preset), image, size)
    fov = DEFAULT_FOV if horizontal_fov is None else horizontal_fov
    focal = focal_lengths(preset, frame, image, fov)
    rays = {name for name, value in preset.freeze.items() if isinstance(value, str) and value == "rays"}
    baked = any(port.name in rays for port in foreign.inputs)
    values = {**preset.freeze, **{name: _rays(frame, focal) for name in rays}}
    if horizontal_fov is None and preset.focal is None and not preset.is_relative:
        notes.append(
            f"made for a camera that sees {math.degrees(fov):.0f} degrees across; others are right approximately: "
            "--horizontal-fov gives yours"
        )
    chosen = _outputs(foreign, preset, baked, notes)
    network = freeze(foreign.model, port.name, _shape(port, preset, frame), values, chosen.values())
    found = outputs_of(network, chosen.values())
    roles = {role: found[output] for role, output in chosen.items()}
    model = _join(network, preset, frame, focal, roles, baked, foreign.opset)
    domains = sorted({node.domain for node in model.graph.node} - {"", "ai.onnx"})
    if domains:
        notes.append(f"it has operators of {', '.join(domains)}, which engines other than ONNX Runtime may refuse")
    info = ModelInfo(
        name=name,
        input_width=frame.width,
        input_height=frame.height,
        focal_length=focal[0],
        min_depth=preset.min_depth,
        max_depth=preset.max_depth,
        training_data=preset.training_data,
        licence=preset.licence,
        source_sha256=foreign.sha256,
        focal_length_y=None if math.isclose(*focal, rel_tol=1e-6) else focal[1],
        horizontal_only=preset.focal is not None and preset.focal.horizontal_only,
        kind=preset.kind if preset.is_relative else "metric",
        source_name=foreign.path.name,
        commercial_use=preset.commercial_use,
    )
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=info.to_json())
    return Wrapped(model, info, frame, tuple(notes))


def _fixed_size(port: Port, preset: Preset) -> tuple[int | None, int | None]:
    """Return (width, height) of the network's input as far as the file fixes them."""
    shape = port.shape if preset.layout == "nchw" else (*port.shape[:-3], port.shape[-1], *port.shape[-3:-1])
    channels, others = shape[-3], (port.shape[-1] if preset.layout == "nchw" else port.shape[-3])
    if channels != 3 and (channels is not None or others == 3):
        other = "nhwc" if preset.layout == "nchw" else "nchw"
        raise WrapError(
            f"its input {port} does not have three channels where {preset.layout} has them; if it has them elsewhere: "
            f"--layout {other}"
        )
    if any(side not in (1, None) for side in shape[:-3]):
        raise WrapError(f"its input {port} takes {shape[0]} images at once, and a camera gives one")
    return shape[-1], shape[-2]


def _shape(port: Port, preset: Preset, frame: Frame) -> tuple[int, ...]:
    size = (3, frame.network_height, frame.network_width)
    return (*(1,) * (len(port.shape) - 3), *(size if preset.layout == "nchw" else (*size[1:], size[0])))


def _outputs(foreign: Foreign, preset: Preset, baked: bool, notes: list[str]) -> dict[str, str]:
    """Return the names of the outputs that are read, by their role."""
    there = [port.name for port in foreign.outputs]

    def named(names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in there), None)

    roles = {
        "mask": named(preset.mask.outputs) if preset.mask else None,
        "scale": named(preset.scale),
        "own_focal": named(preset.own_focal),
    }
    depth = named(preset.outputs)
    if depth is None:
        free = [port for port in foreign.outputs if port.name not in roles.values()]
        if len(free) != 1:
            raise WrapError(
                f"which output is the depth is not clear: none is called {' or '.join(preset.outputs)}, there are "
                f"{listed(foreign.outputs)}; name it with --depth"
            )
        depth = free[0].name
        if preset.outputs:
            notes.append(f"its output {quoted(depth)} is taken for depth")
    if preset.mask and roles["mask"] is None:
        notes.append(f"it has no output {preset.mask.outputs[0]!r}: pixels without depth are not known")
    if preset.scale and roles["scale"] is None:
        raise WrapError(
            f"it has no output {' or '.join(preset.scale)}, without which its points have no metres; its outputs are "
            f"{listed(foreign.outputs)}"
        )
    if preset.own_focal and roles["own_focal"] is None and not baked:
        raise WrapError(
            f"it has no output {' or '.join(preset.own_focal)}, so for which focal length its depth is metres is not "
            f"known; its outputs are {listed(foreign.outputs)}"
        )
    return {"depth": depth, **{role: name for role, name in roles.items() if name is not None}}


def _join(
    network: onnx.ModelProto,
    preset: Preset,
    frame: Frame,
    focal: tuple[float, float],
    roles: dict[str, Output],
    baked: bool,
    opset: int,
) -> onnx.ModelProto:
    """Put the nodes before and after the network."""
    value = network.graph.input[0]
    tensor = value.type.tensor_type
    before, after = Nodes(opset, "input"), Nodes(opset, "output")
    input_side(before, "image", preset, frame, len(tensor.shape.dim), tensor.elem_type)
    before.nodes[-1].output[0] = PREFIX + value.name
    size = output_side(after, preset, frame, focal, roles, baked, "depth")
    network = onnx.compose.add_prefix(network, PREFIX, inplace=True)
    graph = helper.make_graph(
        [*before.nodes, *network.graph.node, *after.nodes],
        preset.name,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, (1, frame.height, frame.width, 3))],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, (1, 1, *size))],
        [*before.weights, *network.graph.initializer, *after.weights],
    )
    graph.sparse_initializer.extend(network.graph.sparse_initializer)
    used = {node.domain for node in graph.node} | {""}
    opsets = [entry for entry in network.opset_import if entry.domain in used or entry.domain == "ai.onnx"]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _rays(frame: Frame, focal: tuple[float, float]) -> np.ndarray:
    """Return the unit viewing rays of a camera with its principal point in the middle, float32 [1, 3, h, w]."""
    u = (np.arange(frame.network_width) - 0.5 * (frame.network_width - 1)) / focal[0]
    v = (np.arange(frame.network_height) - 0.5 * (frame.network_height - 1)) / focal[1]
    rays = np.stack([*np.meshgrid(u, v), np.ones((len(v), len(u)))])
    return (rays / np.linalg.norm(rays, axis=0)).astype(np.float32)[None]
