"""Key of an engine: the fields that identify what it was built from and for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from depth_estimation_ros.backends import EngineOptions
from depth_estimation_ros.backends.tensorrt.cuda import Device
from depth_estimation_ros.backends.tensorrt.library import Library
from depth_estimation_ros.model import Model

RECIPE = "1"
"""Version of `prepare` and `builder`; increase it when their result for the same model changes."""

TIMING_FIELDS = ("tensorrt", "tensorrt_version", "gpu", "compute_capability", "cuda", "l4t")
"""Fields of a key on which the builder's timings depend."""

Key = Mapping[str, str]


def engine_key(model: Model, options: EngineOptions, library: Library, device: Device) -> dict[str, str]:
    """Return the fields that identify an engine."""
    return {
        "model": model.info.name,
        "model_sha256": model.sha256,
        "precision": options.precision,
        "max_batch": str(options.cameras),
        "workspace": str(options.workspace),
        "recipe": RECIPE,
        "tensorrt": library.name,
        "tensorrt_version": library.version,
        "gpu": device.name,
        "compute_capability": device.compute_capability,
        "cuda": device.cuda,
        "l4t": l4t_release(),
    }


def l4t_release(path: Path = Path("/etc/nv_tegra_release")) -> str:
    """Return the release of Jetson Linux, e.g. ``36.4.3``; empty on other machines."""
    try:
        text = path.read_text()
    except OSError:
        return ""
    # Its first line: # R36 (release), REVISION: 4.3, GCID: ..., BOARD: ...
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return ".".join(match.groups()) if match else " ".join(text.split())[:100]


def file_name(key: Key) -> str:
    """Return the base name of an engine's files: model, precision and digest of the key."""
    name = "".join(c if (c.isascii() and c.isalnum()) or c in "-_" else "_" for c in key.get("model", "engine"))
    return f"{name}-{key.get('precision', '')}-{_digest(key)}"


def timing_file_name(key: Key) -> str:
    """Return the name of the builder's timing cache for a TensorRT version and a GPU."""
    return f"timing-{_digest({name: key.get(name, '') for name in TIMING_FIELDS})}.cache"


def differences(key: Key, other: Key) -> list[str]:
    """Return the fields in which a key differs from an earlier one, one text each."""
    return [
        f"{name} was {other.get(name, 'unknown')}, is {key.get(name, 'unknown')}"
        for name in sorted({*key, *other})
        if other.get(name) != key.get(name)
    ]


def _digest(key: Key) -> str:
    return hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:16]
