"""Declaration of parameters as the fields of a frozen dataclass, which may hold groups of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from depth_estimation_ros.parameters.text import shown

T = TypeVar("T", bound="ParameterGroup")


class Effect(Enum):
    """When a new value of a parameter takes effect."""

    FRAME = "next frame"
    ACTIVATE = "next activation"
    CONFIGURE = "next configuration"
    START = "start of the node"


@dataclass(frozen=True)
class Declaration:
    """
    Name, default, description, effect and allowed values of a parameter.

    Parameters
    ----------
    name : str
        Name of the ROS parameter.
    default : bool, int, float or str
        Default, which also gives the type.
    description : str
        Description for the user.
    effect : Effect
        When a new value takes effect.
    choices : tuple
        Allowed values, if the parameter has a fixed set of them.
    limits : tuple of float
        Minimum and maximum of a number. They are narrow enough that no value needs more than a machine has.
    off : float, optional
        Special value outside the limits that is also allowed, such as 0 for "off".
    text : callable, optional
        Function that returns what is wrong with a str value, or an empty string if it is valid.
    parse : callable, optional
        Function that makes the value from a ROS parameter of any type, or raises ValueError. Without it, the parameter
        has the type of its default.
    """

    name: str
    default: Any
    description: str
    effect: Effect = Effect.FRAME
    choices: tuple[str | int, ...] = ()
    limits: tuple[float, float] = (-math.inf, math.inf)
    off: float | None = None
    text: Callable[[str], str] | None = None
    parse: Callable[[Any], Any] | None = None

    @property
    def bounded(self) -> bool:
        """Whether the parameter is a number with limits."""
        return math.isfinite(self.limits[0])

    @property
    def extremes(self) -> tuple[float, float]:
        """Minimum and maximum of the allowed values, including `off`."""
        return (self.limits[0] if self.off is None else min(self.off, self.limits[0])), self.limits[1]

    @property
    def allowed(self) -> str:
        """Text that lists the allowed values; empty if every value of the type is allowed."""
        if self.bounded:
            return f"{'' if self.off is None else f'{self.off:g} or '}{self.limits[0]:g} to {self.limits[1]:g}"
        return ", ".join(map(str, self.choices))

    def check(self, value: Any) -> None:
        """Raise ValueError with a one-sentence message if the value is not allowed."""
        if self.choices and value not in self.choices:
            raise ValueError(f"{self.name} must be one of {self.allowed}, got {shown(str(value))}")
        # The negated condition also refuses NaN.
        if self.bounded and not (value == self.off or self.limits[0] <= value <= self.limits[1]):
            either = "" if self.off is None else f"{self.off:g} or "
            raise ValueError(
                f"{self.name} must be {either}between {self.limits[0]:g} and {self.limits[1]:g}, got {value:g}"
            )
        if self.text and (wrong := self.text(value)):
            raise ValueError(f"{self.name} {wrong}")


def parameter(default: Any, description: str, effect: Effect = Effect.FRAME, *, name: str = "", **kwargs: Any) -> Any:
    """
    Return a field of `ParameterGroup` that declares a parameter.

    Parameters
    ----------
    default, description, effect
        As for `Declaration`.
    name : str
        Name of the ROS parameter. Default: the name of the field.
    **kwargs
        Further arguments of `Declaration`.
    """
    return field(default=default, metadata={"declaration": Declaration(name, default, description, effect, **kwargs)})


def constant(default: Any, description: str, **kwargs: Any) -> Any:
    """Return a field as `parameter` does, for a parameter that cannot change after the start of the node."""
    return parameter(default, description, Effect.START, **kwargs)


@dataclass(frozen=True)
class ParameterGroup:
    """
    Consistent set of parameter values: the base of frozen dataclasses.

    Each field is a parameter (`parameter`), or a group of parameters within this one. The names of the ROS parameters
    are flat; the groups exist in Python only.

    Raises
    ------
    ValueError
        If a value is not allowed. The message is one sentence for the user.
    """

    def __post_init__(self) -> None:
        """Raise ValueError for values that are not allowed."""
        for name, declaration in self._own().items():
            declaration.check(getattr(self, name))

    @classmethod
    @cache
    def declarations(cls) -> dict[str, Declaration]:
        """Return the declarations of all parameters, those of the groups included, by the names of ROS."""
        found: dict[str, Declaration] = {}
        for f in fields(cls):
            if isinstance(f.default, ParameterGroup):
                found |= f.default.declarations()
            else:
                declaration = cls._own()[f.name]
                found[declaration.name] = declaration
        return found

    def values(self) -> dict[str, Any]:
        """Return the values of all parameters by the names of ROS."""
        found: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            found |= value.values() if isinstance(value, ParameterGroup) else {self._own()[f.name].name: value}
        return found

    def having(self: T, values: Mapping[str, Any]) -> T:
        """
        Return the parameters with other values.

        Parameters
        ----------
        values : mapping
            New values by the names of ROS. Names that are not declared here are ignored.

        Raises
        ------
        ValueError
            If a value is not allowed, or contradicts another.
        """
        new = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, ParameterGroup):
                new[f.name] = value.having(values)
            else:
                new[f.name] = values.get(self._own()[f.name].name, value)
        return replace(self, **new)

    @classmethod
    @cache
    def _own(cls) -> dict[str, Declaration]:
        """Return the declarations of the parameters outside the groups, by the names of the fields."""
        declared = {f.name: f.metadata["declaration"] for f in fields(cls) if "declaration" in f.metadata}
        return {name: replace(d, name=d.name or name) for name, d in declared.items()}


def check_order(least: float, most: float, name: str) -> None:
    """Raise ValueError if two limits are not in order; `name` has ``{}`` in the place of "min" and "max"."""
    if least >= most:
        raise ValueError(f"{name.format('min')} must be less than {name.format('max')}, got {least:g} and {most:g}")
