"""What the demo knows of a user's source before it starts: that it can be read, and what is not known of its camera."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

COMMON_FOV = 60.0
"""Degrees: of a common webcam, horizontally."""

LEAST_FOV, MOST_FOV = 1.0, 177.0


@dataclass(frozen=True)
class DemoSource:
    """
    A source of images.

    Parameters
    ----------
    name : str
        As of `open_source`.
    description : str
        What it is.
    notes : list of str
        What the user should know of it.
    assumed_horizontal_fov : float or None
        Degrees; None where the source knows its camera.
    """

    name: str
    description: str
    notes: list[str] = field(default_factory=list)
    assumed_horizontal_fov: float | None = None

    @property
    def fov_radians(self) -> float:
        """Field of view for the node `image_source`; 0 where the source knows better."""
        return math.radians(self.assumed_horizontal_fov or 0.0)

    def facts(self) -> dict[str, Any]:
        """Return the same for the summary."""
        return asdict(self)


def assumption(horizontal_fov: float) -> str:
    """Say what field of view, degrees, is assumed for a source that does not know its camera."""
    return (
        f"field of view not known: {horizontal_fov:g} degrees are assumed horizontally (--horizontal-fov), and the "
        "metres are only as right as that"
    )


def look_at(name: str, horizontal_fov: float | None) -> DemoSource:
    """
    Open a source, and look whether it knows its camera.

    Parameters
    ----------
    name : str
        As of `open_source`.
    horizontal_fov : float or None
        Degrees, as the user says; `COMMON_FOV` is assumed without.

    Raises
    ------
    ValueError
        If it cannot be read, or knows its camera and the user says something about that.
    """
    from depth_estimation_ros.sources import open_source

    source = open_source(name)
    # A webcam would have to be opened a second time, and knows nothing.
    first = None if source.live else next(iter(source), None)
    if first is None and not source.live:
        raise ValueError(f"{source.description} gives no image that can be read")
    if first is None or first.camera is None:
        return DemoSource(name, source.description, list(source.notes), horizontal_fov or COMMON_FOV)
    if horizontal_fov is not None:
        raise ValueError(f"--horizontal-fov is for sources that do not know their camera; {source.description} does")
    return DemoSource(name, source.description, list(source.notes))
