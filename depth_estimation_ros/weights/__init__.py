"""Names of models: those in this folder, and published networks that ``fetch_model`` writes into the user's cache."""

from __future__ import annotations

from pathlib import Path

# `default` and `small` are roles: which file has them may change, and each file keeps its own name.
_FILES = {
    "default": "nyu_efficientnet_lite2",
    "small": "nyu_efficientnet_lite0",
    "nyu_resnet18_small": "nyu_resnet18_small",
    "nyu_efficientnet_lite0": "nyu_efficientnet_lite0",
    "nyu_efficientnet_lite2": "nyu_efficientnet_lite2",
}
PACKAGED = {name: Path(__file__).parent / f"{file}.onnx" for name, file in _FILES.items()}
FETCHED = ("fcrn-nyu",)
NAMES = (*PACKAGED, *FETCHED)


def fetched_file(name: str) -> Path:
    """Return the file in the user's cache of one of `FETCHED`, which may not exist."""
    from depth_estimation_ros.fetching.download import cache_folder

    return cache_folder() / "models" / f"{name}.onnx"
