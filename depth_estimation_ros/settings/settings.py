"""Settings of ``depth_estimation_node``: all its parameters, in groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from depth_estimation_ros.parameters.declaration import Effect, ParameterGroup, parameter
from depth_estimation_ros.parameters.text import folder_fault
from depth_estimation_ros.settings.anchor import AnchorSettings
from depth_estimation_ros.settings.camera import CameraSettings, MountingSettings
from depth_estimation_ros.settings.engine import EngineSettings
from depth_estimation_ros.settings.outputs import CloudSettings, FilterSettings, OutputSettings, ScanSettings
from depth_estimation_ros.settings.topics import TopicSettings

PATIENCE = 10.0
"""Seconds after which an engine that is still processing a frame counts as stuck, if ``output_timeout`` is 0."""


@dataclass(frozen=True)
class Settings(ParameterGroup):
    """
    Consistent set of parameter values, in groups by who needs them.

    Raises
    ------
    ValueError
        If a value is not allowed, or two values contradict each other. The message is one sentence for the user.
    """

    engine: EngineSettings = field(default=EngineSettings())
    autostart: bool = parameter(
        True,
        "Configure and activate the node at start. If false, the node waits for lifecycle service calls.",
        Effect.START,
    )
    output: OutputSettings = field(default=OutputSettings())
    max_rate: float = parameter(
        0.0,
        "Maximum number of frames processed per second. 0 sets no limit: the engine processes as many as it can.",
        limits=(0.001, 1000.0),
        off=0.0,
    )
    camera: CameraSettings = field(default=CameraSettings())
    filter: FilterSettings = field(default=FilterSettings())
    cloud: CloudSettings = field(default=CloudSettings())
    scan: ScanSettings = field(default=ScanSettings())
    mounting: MountingSettings = field(default=MountingSettings())
    anchor: AnchorSettings = field(default=AnchorSettings())
    topics: TopicSettings = field(default=TopicSettings())
    save_folder: str = parameter(
        "",
        "Folder in which the service save_frame saves frames. Empty means ~/.ros/depth_estimation.",
        text=folder_fault,
    )

    @property
    def patience(self) -> float:
        """Seconds after which an engine that is still processing a frame counts as stuck."""
        return self.topics.output_timeout or PATIENCE

    def changed(self, values: Mapping[str, Any], fixed: Mapping[Effect, str] = MappingProxyType({})) -> Settings:
        """
        Return the settings with other values.

        Parameters
        ----------
        values : mapping
            New values by name. Names that are not parameters of this node are ignored.
        fixed : mapping of Effect to str
            Effects whose parameters cannot change now, each with the reason and what to do. Setting such a parameter
            to its present value is allowed.

        Raises
        ------
        ValueError
            If a value is not allowed, contradicts another, or may not change now.
        """
        declarations, present = self.declarations(), self.values()
        values = {n: v for n, v in values.items() if n in declarations and v != present[n]}
        for name, value in values.items():
            if why := fixed.get(declarations[name].effect):
                raise ValueError(f"{name} cannot change {why}")
            if value is None:
                raise ValueError(f"{name} cannot be deleted: a parameter of this node always has a value")
        return self.having(values)


def defaults() -> dict[str, Any]:
    """Return the default of every parameter, by the names of ROS."""
    return Settings().values()
