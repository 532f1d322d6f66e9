"""The settings as ROS parameters, as a YAML file and as a table."""

from __future__ import annotations

import argparse
import difflib
import json
import textwrap
from typing import TYPE_CHECKING

from depth_estimation_ros.settings import DECLARATIONS, Declaration, Effect, Settings, defaults

if TYPE_CHECKING:
    from rclpy.node import Node

KINDS = {int: "an integer", float: "a number with a decimal point", bool: "true or false", str: "text"}
"""What a parameter takes, by the type of its default."""


def declare(node: Node, others: tuple[str, ...] = ()) -> Settings:
    """
    Declare the parameters on a node.

    Parameters
    ----------
    node : rclpy.node.Node
        Owner.
    others : tuple of str
        Parameters of other nodes of the process, which are given to all of them.

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
            kind = KINDS[type(default)]
            raise ValueError(f"parameter {name} must be {kind}, such as its default {json.dumps(default)}") from None
        except InvalidParameterValueException:
            raise ValueError(f"parameter {name} must be in the range {DECLARATIONS[name].allowed}") from None
    _name_unknown(node, others)
    return Settings(**values)


def _name_unknown(node: Node, others: tuple[str, ...]) -> None:
    """Warn of parameters that the node was given and does not have, such as misspelt ones: ROS passes over them."""
    for name in node._parameter_overrides:
        if not (node.has_parameter(name) or name in others or name.startswith("qos_overrides.")):
            close = difflib.get_close_matches(name, DECLARATIONS, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            node.get_logger().warning(f"{name} is no parameter of this node and does nothing{hint}")


def _descriptor(name: str):
    """Return the ParameterDescriptor of a parameter."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    declaration = DECLARATIONS[name]
    descriptor = ParameterDescriptor(
        description=declaration.description,
        additional_constraints=_constraints(declaration),
    )
    if declaration.bounded:
        low, high = declaration.extremes
        if isinstance(defaults()[name], float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        else:
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor


def _constraints(declaration: Declaration) -> str:
    """Return in words what ROS cannot check by itself."""
    if declaration.choices:
        return f"one of: {declaration.allowed}"
    if declaration.effect is Effect.START:
        return f"counts at the {declaration.effect.value} only"
    return declaration.allowed if declaration.off is not None else ""


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
    """Return the table of docs/parameters.md."""
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
