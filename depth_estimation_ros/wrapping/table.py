"""The presets as a table for people."""

from __future__ import annotations

from depth_estimation_ros.wrapping.preset import Preset
from depth_estimation_ros.wrapping.presets import PRESETS

_DEPTH = {
    "metric": "metres of its training camera",
    "canonical": "metres of any camera",
    "canonical_inverse": "metres of any camera",
    "points": "metres",
    "inverse_relative": "relative, near is large",
    "depth_relative": "relative, far is large",
}
COMMERCIAL = {True: "yes", False: "**no**", None: "not clear"}


def networks_table() -> str:
    """Return a Markdown table with a row for every preset."""
    head = "| Preset | Network | Depth | Input | Licence of the weights | Commercial use | File | What to expect |"
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *map(_row, PRESETS.values())])


def _row(preset: Preset) -> str:
    which, pixels = preset.side
    rule = f"sides multiples of {preset.multiple}" if preset.multiple < pixels else "square"
    cells = (
        f"`{preset.name}`",
        preset.title,
        _DEPTH[preset.kind],
        f"{which} side {pixels}, {rule}",
        preset.licence,
        COMMERCIAL[preset.commercial_use],
        preset.source,
        preset.expect,
    )
    return "| " + " | ".join(cells) + " |"
