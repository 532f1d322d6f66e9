"""Mixing of several sets in one training, each with its share and its own cameras."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.utils.data import ConcatDataset

from depth_estimation_ros.camera import PinholeCamera
from training.data.folder import PreparedFolder, split_names
from training.data.frames import camera_of

_OPTIONS = {"root", "split_file", "depth_scale", "depth_limit", "camera", "share"}
_INTRINSICS = ("fx", "fy", "cx", "cy")


def open_extra(extra: dict[str, Any], first: PinholeCamera, **options: Any) -> ConcatDataset:
    """
    Open a further set, converted to the aspect ratio and focal length of the first set.

    Parameters
    ----------
    extra : dict
        ``root``, ``depth_scale``, ``share``; optionally ``split_file`` (default: all frames of ``index.csv``),
        ``depth_limit`` and ``camera``. Without ``camera``, the columns fx, fy, cx and cy of ``index.csv`` give the
        camera of each frame in pixels of the stored image; without these, the camera of the first set is used.
    first : PinholeCamera
        Camera of the first set. Images are cropped to its aspect ratio, and depths are multiplied by the ratio of the
        focal lengths.
    **options
        Further options of `PreparedFolder`.

    Returns
    -------
    torch.utils.data.ConcatDataset
        One `PreparedFolder` per camera.

    Raises
    ------
    ValueError
        If an option is missing or unknown, or the set names no frames.
    """
    root = Path(str(extra.get("root")))
    if unknown := sorted(set(extra) - _OPTIONS):
        raise ValueError(f"extra set {root}: unknown options {unknown}; known are {sorted(_OPTIONS)}")
    if missing := sorted({"root", "depth_scale", "share"} - set(extra)):
        raise ValueError(f"extra set {root} lacks {', '.join(missing)}")
    if not extra["share"] > 0:
        raise ValueError(f"extra set {root}: share must be positive, got {extra['share']}")
    rows = _index(root)
    if extra.get("split_file"):
        names = split_names(root / extra["split_file"], "train")
    elif rows:
        names = list(rows)
    else:
        raise ValueError(f"extra set {root} has no index.csv that lists its frames: name its split_file")
    if extra.get("camera"):
        cameras = {camera_of(extra["camera"]): names}
    elif rows and set(_INTRINSICS) <= set(rows[names[0]]):
        cameras = defaultdict(list)
        for name in names:
            height, width = _size(root, name)
            cameras[PinholeCamera(width, height, *(float(rows[name][k]) for k in _INTRINSICS))].append(name)
    else:
        cameras = {first: names}
    height, width = options["input_size"]
    options["focal_length"] = first.resized(width, height).focal_length
    options["depth_limit"] = extra.get("depth_limit", options["depth_limit"])
    aspect = first.width / first.height
    return ConcatDataset(
        PreparedFolder(root, part, extra["depth_scale"], camera=camera, aspect=aspect, **options)
        for camera, part in cameras.items()
    )


def drawn(count: int, available: int, generator: torch.Generator) -> list[int]:
    """Draw indices of ``count`` frames at random. The numbers of times that frames occur differ by at most one."""
    rounds = [torch.randperm(available, generator=generator) for _ in range(-(-count // available))]
    return torch.cat(rounds)[:count].tolist() if rounds else []


def _index(root: Path) -> dict[str, dict[str, str]]:
    path = root / "index.csv"
    if not path.is_file():
        return {}
    with open(path, newline="") as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}


def _size(root: Path, name: str) -> tuple[int, int]:
    depth = cv2.imread(str(root / "depth" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    if depth is None:
        raise ValueError(f"{root / 'depth' / name}.png is not an image that can be read")
    return depth.shape[:2]
