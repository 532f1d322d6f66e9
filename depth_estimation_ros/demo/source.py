"""Check of a user's image source before the demo starts: it must be readable, and may lack camera intrinsics."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from depth_estimation_ros.camera import WIDEST_FOV

COMMON_FOV = 60.0
"""Horizontal field of view of a common webcam, degrees."""

LEAST_FOV, MOST_FOV = 1.0, WIDEST_FOV - 1.0


@dataclass(frozen=True)
class DemoSource:
    """
    Source of images.

    Parameters
    ----------
    name : str
        Name of the source, as for `open_source`.
    description : str
        Description for the user.
    notes : list of str
        Notes for the user.
    assumed_horizontal_fov : float or None
        Horizontal field of view that is assumed, degrees; None if the source has intrinsics.
    """

    name: str
    description: str
    notes: list[str] = field(default_factory=list)
    assumed_horizontal_fov: float | None = None

    @property
    def fov_radians(self) -> float:
        """Field of view in radians for the node `image_source`; 0 if the source has intrinsics."""
        return math.radians(self.assumed_horizontal_fov or 0.0)

    def facts(self) -> dict[str, Any]:
        """Return the attributes for the summary."""
        return asdict(self)


def assumption(horizontal_fov: float) -> str:
    """Return a sentence about the field of view (degrees) that is assumed for a source without intrinsics."""
    return (
        f"field of view not known: {horizontal_fov:g} degrees are assumed horizontally (--horizontal-fov), and the "
        "metres are only as right as that"
    )


def look_at(name: str, horizontal_fov: float | None) -> DemoSource:
    """
    Open a source, and check whether it has camera intrinsics.

    Parameters
    ----------
    name : str
        Name of the source, as for `open_source`.
    horizontal_fov : float or None
        Horizontal field of view from the user, degrees; `COMMON_FOV` is assumed if None.

    Raises
    ------
    ValueError
        If the source cannot be read, or has intrinsics although the user gives a field of view.
    """
    from depth_estimation_ros.sources import open_source

    source = open_source(name)
    # Skip webcams: they have no intrinsics, and would have to be opened twice.
    first = None if source.live else next(iter(source), None)
    if first is None and not source.live:
        raise ValueError(f"{source.description} gives no image that can be read")
    if first is None or first.camera is None:
        return DemoSource(name, source.description, list(source.notes), horizontal_fov or COMMON_FOV)
    if horizontal_fov is not None:
        raise ValueError(f"--horizontal-fov is for sources that do not know their camera; {source.description} does")
    return DemoSource(name, source.description, list(source.notes))
