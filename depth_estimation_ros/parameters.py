"""The parameters of ``depth_estimation_node``: declared once here, shown by ROS, the YAML and the README."""

from __future__ import annotations

import argparse
import json
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from depth_estimation_ros.backends import BACKENDS
from depth_estimation_ros.backends.tensorrt.builder import PRECISIONS
from depth_estimation_ros.preview import COLOUR_MAPS

if TYPE_CHECKING:
    from rclpy.node import Node


class Effect(Enum):
    """When a new value of a parameter takes effect."""

    FRAME = "next frame"
    ACTIVATE = "next activation"
    CONFIGURE = "next configuration"
    START = "start of the node"


@dataclass(frozen=True)
class Declaration:
    """What a parameter is besides its name, type and default."""

    description: str
    effect: Effect = Effect.FRAME
    choices: tuple[str, ...] = ()
    limits: tuple[float, float] = (-math.inf, math.inf)

    @property
    def bounded(self) -> bool:
        """Whether the parameter is a number with limits."""
        return math.isfinite(self.limits[0])

    @property
    def allowed(self) -> str:
        """The values allowed, in words; empty where every value of the type is."""
        if self.bounded:
            return f"{self.limits[0]:g} to {self.limits[1]:g}"
        return ", ".join(self.choices)

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError, in one sentence, if the value is not allowed."""
        if self.choices and value not in self.choices:
            raise ValueError(f"{name} must be one of {self.allowed}, got '{value}'")
        # Written so that NaN fails as well.
        if self.bounded and not self.limits[0] <= value <= self.limits[1]:
            raise ValueError(f"{name} must be between {self.allowed.replace(' to ', ' and ')}, got {value:g}")


def _parameter(default: Any, description: str, effect: Effect = Effect.FRAME, **kwargs) -> Any:
    return field(default=default, metadata={"declaration": Declaration(description, effect, **kwargs)})


_RELIABILITIES = ("best_effort", "reliable")
_TRANSPORTS = ("raw", "compressed")
_RESOLUTIONS = ("camera", "network")


@dataclass(frozen=True)
class Settings:
    """
    One consistent set of values: each field is a parameter, its default and its declaration.

    Raises
    ------
    ValueError
        If a value is not allowed, or two contradict each other; the text is one sentence for the user.
    """

    model: str = _parameter(
        "default",
        "The packaged model 'default', or the path of an ONNX file that keeps this package's model contract.",
        Effect.CONFIGURE,
    )
    backend: str = _parameter(
        "auto",
        "Engine that runs the model; 'auto' is CUDA where there is one, else the CPU.",
        Effect.CONFIGURE,
        choices=BACKENDS,
    )
    threads: int = _parameter(0, "CPU threads of the engine; 0 takes all cores.", Effect.CONFIGURE, limits=(0, 256))
    engine_precision: str = _parameter(
        "fp16",
        "Of a TensorRT engine. int8 takes a model from quantize_model --symmetric; best is the fastest that computes "
        "the model's depth.",
        Effect.CONFIGURE,
        choices=PRECISIONS,
    )
    engine_cache: str = _parameter(
        "",
        "Folder where TensorRT engines are kept; empty is ~/.cache/depth_estimation_ros/engines.",
        Effect.CONFIGURE,
    )
    engine_calibration: str = _parameter(
        "",
        "Images, video or bag that a new TensorRT engine is compared with its model on; empty renders rooms.",
        Effect.CONFIGURE,
    )
    engine_file: str = _parameter(
        "",
        "A TensorRT plan to run as it is, instead of an engine from the cache. A plan is code: name only your own.",
        Effect.CONFIGURE,
    )
    autostart: bool = _parameter(
        True,
        "Configure and activate at start. With false the node waits for its lifecycle services.",
        Effect.START,
    )
    depth_resolution: str = _parameter(
        "camera",
        "Size of depth/image and depth/preview: the camera's or the network's.",
        choices=_RESOLUTIONS,
    )
    cloud_resolution: str = _parameter(
        "network", "Size of depth/points: the camera's or the network's.", choices=_RESOLUTIONS
    )
    depth_encoding: str = _parameter(
        "32FC1",
        "Encoding of depth/image: 32FC1 is metres with NaN invalid, 16UC1 is millimetres with 0 invalid.",
        choices=("32FC1", "16UC1"),
    )
    min_depth: float = _parameter(
        0.1, "Nearest valid depth in metres; nearer pixels become invalid.", limits=(0.0, 1000.0)
    )
    max_depth: float = _parameter(
        10.0, "Farthest valid depth in metres; farther pixels become invalid.", limits=(0.0, 1000.0)
    )
    colour_map: str = _parameter("turbo", "Colours of depth/preview.", choices=COLOUR_MAPS)
    preview_rate: float = _parameter(
        5.0, "At most so many previews a second; 0 makes one of every frame.", limits=(0.0, 1000.0)
    )
    max_rate: float = _parameter(
        0.0, "At most so many frames a second; 0 takes every frame the engine can.", limits=(0.0, 1000.0)
    )
    horizontal_fov: float = _parameter(
        0.0,
        "Horizontal field of view of the camera in radians, instead of camera_info; 0 takes camera_info.",
        limits=(0.0, 3.1),
    )
    image_transport: str = _parameter(
        "raw",
        "How images come: raw on the topic image, or compressed (JPEG or PNG) on image/compressed.",
        Effect.ACTIVATE,
        choices=_TRANSPORTS,
    )
    image_reliability: str = _parameter(
        "best_effort",
        "Reliability of the subscriptions. reliable receives from reliable publishers only.",
        Effect.ACTIVATE,
        choices=_RELIABILITIES,
    )
    queue_depth: int = _parameter(
        5,
        "Images that may wait in the middleware. The node takes each at once and keeps the newest, so that this "
        "adds no delay; images beyond it are dropped before the node can count them.",
        Effect.ACTIVATE,
        limits=(1, 100),
    )
    output_reliability: str = _parameter(
        "reliable",
        "Reliability of the publishers. best_effort serves best-effort subscribers only.",
        Effect.ACTIVATE,
        choices=_RELIABILITIES,
    )
    input_timeout: float = _parameter(
        5.0,
        "Warn when no image or no camera_info came for so many seconds; 0 never warns.",
        limits=(0.0, 3600.0),
    )

    def __post_init__(self):
        """Refuse values that are not allowed."""
        for name, declaration in DECLARATIONS.items():
            declaration.check(name, getattr(self, name))
        if self.min_depth >= self.max_depth:
            raise ValueError(f"min_depth must be less than max_depth, got {self.min_depth:g} and {self.max_depth:g}")

    def changed(self, values: Mapping[str, Any], effects: tuple[Effect, ...] = tuple(Effect)) -> Settings:
        """
        Return the settings with other values.

        Parameters
        ----------
        values : mapping
            New values by name; names that are no parameter of this node are passed over.
        effects : tuple of Effect
            The parameters that may change now. A new value of any other is refused.

        Raises
        ------
        ValueError
            If a value is not allowed, contradicts another, or may not change now.
        """
        values = {n: v for n, v in values.items() if n in DECLARATIONS and v != getattr(self, n)}
        for name in values:
            if (effect := DECLARATIONS[name].effect) not in effects:
                steps = "deactivate" if effect is Effect.ACTIVATE else "deactivate and clean up"
                raise ValueError(f"{name} cannot change while the node is active: {steps} the node first")
        return replace(self, **values)


DECLARATIONS: dict[str, Declaration] = {f.name: f.metadata["declaration"] for f in fields(Settings)}
"""The declaration of every parameter, by name."""


def declare(node: Node) -> Settings:
    """
    Declare the parameters on a node.

    Returns
    -------
    Settings
        What the node was started with: the defaults, a YAML file, the command line.

    Raises
    ------
    ValueError
        If a value it was started with is not allowed.
    """
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    values = {}
    for name, default in defaults().items():
        try:
            values[name] = node.declare_parameter(name, default, _descriptor(name)).value
        except InvalidParameterTypeException:
            raise ValueError(
                f"parameter {name} has a value of the wrong type; its default is {json.dumps(default)}"
            ) from None
        except InvalidParameterValueException:
            raise ValueError(f"parameter {name} must be in the range {DECLARATIONS[name].allowed}") from None
    return Settings(**values)


def _descriptor(name: str):
    """Return the ParameterDescriptor of a parameter."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    declaration = DECLARATIONS[name]
    descriptor = ParameterDescriptor(
        description=declaration.description,
        read_only=declaration.effect is Effect.START,
        additional_constraints=f"one of: {declaration.allowed}" if declaration.choices else "",
    )
    if declaration.bounded:
        low, high = declaration.limits
        if isinstance(defaults()[name], float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        else:
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor


def defaults() -> dict[str, Any]:
    """Return the default of every parameter, by name."""
    return {f.name: f.default for f in fields(Settings)}


def to_yaml() -> str:
    """Return a parameter file that holds every parameter with its default and what it means."""
    lines = [
        "# Every parameter of depth_estimation_node with its default. This file is written by",
        "#   python3 -m depth_estimation_ros.parameters --yaml > config/depth_estimation.yaml",
        "/**:",
        "  ros__parameters:",
    ]
    for name, default in defaults().items():
        declaration = DECLARATIONS[name]
        notes = textwrap.wrap(declaration.description, 100)
        if declaration.allowed:
            notes += textwrap.wrap(f"Allowed: {declaration.allowed}.", 100)
        if declaration.effect is not Effect.FRAME:
            notes.append(f"Takes effect at the {declaration.effect.value}.")
        lines += [f"    # {note}" for note in notes]
        lines.append(f"    {name}: {json.dumps(default)}")
    return "\n".join(lines) + "\n"


def to_markdown() -> str:
    """Return the table of the README."""
    lines = ["| Parameter | Default | Allowed | Takes effect | |", "|---|---|---|---|---|"]
    for name, default in defaults().items():
        d = DECLARATIONS[name]
        lines.append(f"| `{name}` | `{json.dumps(default)}` | {d.allowed} | {d.effect.value} | {d.description} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the parameters as YAML or as a Markdown table."""
    parser = argparse.ArgumentParser(prog="python3 -m depth_estimation_ros.parameters", description=main.__doc__)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--yaml", action="store_const", dest="render", const=to_yaml)
    form.add_argument("--markdown", action="store_const", dest="render", const=to_markdown)
    print(parser.parse_args().render(), end="")


if __name__ == "__main__":
    main()
