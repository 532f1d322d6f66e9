"""Declaration of a node's parameters to ROS."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection
from typing import TYPE_CHECKING, TypeVar

from depth_estimation_ros.parameters.declaration import Declaration, Effect, ParameterGroup

if TYPE_CHECKING:
    from rcl_interfaces.msg import ParameterDescriptor
    from rclpy.node import Node

T = TypeVar("T", bound=ParameterGroup)

KINDS = {int: "an integer", float: "a number with a decimal point", bool: "true or false", str: "text"}
"""Description of the accepted value, by the type of the parameter's default."""


def declare(node: Node, kind: type[T], *, read_only: bool = False, others: Collection[str] = ()) -> T:
    """
    Declare parameters on a node.

    Parameters
    ----------
    node : rclpy.node.Node
        Node that gets the parameters.
    kind : type
        Class of the parameters, derived from `ParameterGroup`.
    read_only : bool
        Whether no value can change after the start.
    others : collection of str
        Parameters of other nodes in the same process. ROS passes them to every node, so they cause no warning.

    Returns
    -------
    ParameterGroup
        Values from the command line or a parameter file, otherwise the defaults.

    Raises
    ------
    ValueError
        If one of these values is not allowed.
    """
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    values = {}
    for name, declaration in kind.declarations().items():
        default = declaration.default
        try:
            value = node.declare_parameter(name, default, _descriptor(declaration, read_only)).value
        except InvalidParameterTypeException:
            wanted = KINDS[type(default)]
            raise ValueError(f"parameter {name} must be {wanted}, such as its default {json.dumps(default)}") from None
        except InvalidParameterValueException:
            raise ValueError(f"parameter {name} must be in the range {declaration.allowed}") from None
        values[name] = declaration.parse(value) if declaration.parse else value
    _name_unknown(node, kind.declarations(), others)
    return kind().having(values)


def _name_unknown(node: Node, known: Collection[str], others: Collection[str]) -> None:
    """Warn about parameters that the node does not have, such as misspelt ones, because ROS ignores them silently."""
    for name in node._parameter_overrides:
        if not (node.has_parameter(name) or name in others or name.startswith("qos_overrides.")):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            node.get_logger().warning(f"{name} is no parameter of this node and does nothing{hint}")


def _descriptor(declaration: Declaration, read_only: bool) -> ParameterDescriptor:
    """Return the ParameterDescriptor of a parameter."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    descriptor = ParameterDescriptor(
        description=declaration.description,
        additional_constraints=_constraints(declaration),
        read_only=read_only,
        dynamic_typing=declaration.parse is not None,
    )
    if declaration.bounded:
        low, high = declaration.extremes
        if isinstance(declaration.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        else:
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor


def _constraints(declaration: Declaration) -> str:
    """Return a description of the constraints that ROS itself cannot check."""
    if declaration.choices:
        return f"one of: {declaration.allowed}"
    if declaration.effect is Effect.START:
        return f"takes effect at the {declaration.effect.value} only"
    return declaration.allowed if declaration.off is not None else ""
