"""Files of a saved frame: image, depth and cloud in common formats."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np

from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.geometry import point_cloud

DEFAULT_FOLDER = Path("~/.ros/depth_estimation")


def save_frame(folder: str | Path, name: str, rgb: np.ndarray, depth_map: DepthMap, notes: dict[str, str]) -> Path:
    """
    Save a frame to a new folder. If writing fails, nothing is left behind.

    The files are ``image.png``, ``depth.png`` (16 bit, millimetres, 0 invalid), ``depth.npy`` (float32, metres, NaN
    invalid), ``cloud.ply`` in the optical frame, and ``frame.json`` with the camera and the notes.

    Parameters
    ----------
    folder : str or Path
        Folder of all saved frames; created if it does not exist.
    name : str
        Name of the frame's own folder. An existing one is replaced.
    rgb : numpy.ndarray
        Image, uint8 [h, w, 3].
    depth_map : DepthMap
        Depth of the same size, with its camera.
    notes : dict
        Further entries of ``frame.json``.

    Returns
    -------
    Path
        The frame's folder.

    Raises
    ------
    ValueError
        If the frame cannot be written, or its camera is unknown.
    """
    if depth_map.camera is None:
        raise ValueError("a frame is saved with its camera; provide camera_info")
    millimetres = np.nan_to_num(np.clip(depth_map.depth * 1000.0, 0, 65535)).round().astype(np.uint16)
    camera = depth_map.camera
    about = {"camera": {name: getattr(camera, name) for name in ("width", "height", "fx", "fy", "cx", "cy")}, **notes}
    place = Path(folder) / name
    try:
        place = place.expanduser()
        place.parent.mkdir(parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=place.parent))
        try:
            _write(half / "image.png", cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1])
            _write(half / "depth.png", cv2.imencode(".png", millimetres)[1])
            np.save(half / "depth.npy", depth_map.depth)
            _write(half / "cloud.ply", _ply(point_cloud(depth_map.depth, camera, rgb)))
            (half / "frame.json").write_text(json.dumps(about, indent=2) + "\n")
            half.chmod(0o755)
            shutil.rmtree(place, ignore_errors=True)
            os.replace(half, place)
        except OSError:
            shutil.rmtree(half, ignore_errors=True)
            raise
    except (OSError, RuntimeError) as error:  # expanduser raises RuntimeError for an unknown home folder
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"the frame cannot be saved to '{place}': {reason}; set save_folder") from None
    return place


def _write(path: Path, data) -> None:
    path.write_bytes(bytes(data))


def _ply(points: np.ndarray) -> bytes:
    """Return the valid points of a cloud, float32 [h, w, 4], as a binary PLY file."""
    points = points.reshape(-1, 4)
    points = points[np.isfinite(points[:, 2])]
    stored = np.empty(len(points), [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    stored["xyz"] = points[:, :3]
    packed = np.ascontiguousarray(points[:, 3]).view(np.uint32)
    stored["rgb"] = np.stack([(packed >> shift) & 255 for shift in (16, 8, 0)], axis=-1)
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    header += [f"property float {axis}" for axis in "xyz"]
    header += [f"property uchar {colour}" for colour in ("red", "green", "blue")]
    return "\n".join([*header, "end_header", ""]).encode() + stored.tobytes()
