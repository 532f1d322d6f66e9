"""What the demo ends with: a summary as JSON and as a table, and a picture."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
from rclpy.serialization import deserialize_message
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import Image, PointCloud2

from depth_estimation_ros.conversions import image_to_depth, image_to_rgb, message_to_cloud
from depth_estimation_ros.demo.recorder import Frame, Recorder
from depth_estimation_ros.preview import render_preview


def summarise(recorder: Recorder) -> dict:
    """
    Return the demo's figures.

    Frames are counted by the node, latency from the image's stamp to the moment depth was received here; accuracy is
    the mean over frames, against the camera's true depth, and None where it has none.
    """
    values, counts = recorder.diagnostics, recorder.frame_counts()
    means = recorder.metrics.mean()
    latencies = np.percentile(recorder.latencies, (50, 95)) if recorder.latencies else (float("nan"),) * 2
    return {
        **{f"frames_{name}": count for name, count in counts.items()},
        "rate_hz": round(recorder.topics["depth/image"].rate_hz, 2),
        "latency_ms": {"p50": round(float(latencies[0]), 2), "p95": round(float(latencies[1]), 2)},
        "inference_ms": {p: float(values[f"inference_ms_{p}"]) for p in ("p50", "p95")},
        "topics": {
            name: {"type": t.type, "count": t.count, "rate_hz": round(t.rate_hz, 2)}
            for name, t in recorder.topics.items()
            if t.count
        },
        "model": {"name": values["model"], "sha256": values["model_sha256"]},
        "backend": values["backend"],
        "accuracy": {name: round(means[name], 4) for name in ("abs_rel", "rmse", "delta1")} if means else None,
    }


def write_json(summary: dict, path: Path) -> None:
    """Write a summary whole or not at all."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(summary, indent=2) + "\n")
    os.replace(draft, path)


def print_table(summary: dict, console: Console) -> None:
    """Print a summary for a person."""
    table = Table(title="depth_estimation_ros demo", show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, topic in summary["topics"].items():
        table.add_row(name, f"{topic['rate_hz']:.1f} Hz, {topic['count']} messages")
    table.add_section()
    table.add_row("latency, stamp to receipt", _milliseconds(summary["latency_ms"]))
    table.add_row("inference", _milliseconds(summary["inference_ms"]))
    for name in ("received", "published", "superseded", "failed"):
        table.add_row(f"frames {name}", str(summary[f"frames_{name}"]))
    accuracy = summary["accuracy"]
    text = "no true depth to compare with"
    if accuracy:
        text = f"AbsRel {accuracy['abs_rel']:.3f}, RMSE {accuracy['rmse']:.3f} m, delta<1.25 {accuracy['delta1']:.3f}"
    table.add_row("accuracy", text)
    table.add_row("model", f"{summary['model']['name']} ({summary['model']['sha256'][:12]})")
    table.add_row("backend", summary["backend"])
    console.print(table)


def draw_picture(frame: Frame, near: float = 0.5, far: float = 8.0) -> np.ndarray:
    """
    Draw a frame: image, depth, truth where there is some, and the cloud seen from above the camera.

    Parameters
    ----------
    frame : Frame
        With an image, depth and cloud.
    near, far : float
        Range of the colours, metres.

    Returns
    -------
    numpy.ndarray
        uint8 [h, w, 3], RGB.
    """
    image = image_to_rgb(deserialize_message(frame.messages["image"], Image))
    depth = image_to_depth(deserialize_message(frame.messages["depth/image"], Image))
    cloud = deserialize_message(frame.messages["depth/points"], PointCloud2)
    size = (640, round(640 * image.shape[0] / image.shape[1]))
    tiles = [("image", image), ("estimated depth", render_preview(None, depth, "turbo", near, far))]
    if frame.has("ground_truth/depth"):
        truth = image_to_depth(deserialize_message(frame.messages["ground_truth/depth"], Image))
        tiles.append(("true depth", render_preview(None, truth, "turbo", near, far)))
    tiles.append(("point cloud", draw_cloud(*message_to_cloud(cloud), size)))
    drawn = [_titled(title, tile, size[1]) for title, tile in tiles]
    # Two rows of one picture and one with a scale bar each are of the same width.
    return np.vstack([np.hstack(drawn[:2]), np.hstack(drawn[2:])]) if len(drawn) == 4 else np.hstack(drawn)


def draw_cloud(xyz: np.ndarray, rgb: np.ndarray, size: tuple[int, int], tilt: float = 20.0) -> np.ndarray:
    """
    Draw a cloud as a camera would see it from above and behind the one that took it.

    Parameters
    ----------
    xyz, rgb : numpy.ndarray
        float32 [h, w, 3], metres in the optical frame, NaN invalid; uint8 [h, w, 3].
    size : tuple of int
        (width, height) of the picture.
    tilt : float
        Degrees that the view looks down.

    Returns
    -------
    numpy.ndarray
        uint8 [height, width, 3].
    """
    width, height = size
    picture = np.full((height, width, 3), 24, np.uint8)
    if not np.isfinite(xyz).any():
        return picture
    centre = np.nanmedian(xyz.reshape(-1, 3), axis=0)
    rotation = cv2.Rodrigues(np.radians([tilt, 0.0, 0.0]))[0] @ cv2.Rodrigues(np.radians([0.0, 20.0, 0.0]))[0]
    seen = (xyz - centre) @ rotation.T + [0.0, 0.0, 1.4 * centre[2]]
    pixels = 0.8 * width * seen[..., :2] / seen[..., 2:] + [0.5 * width, 0.5 * height]
    radius = np.ceil(0.5 * _spacing(pixels)).clip(1, 12)
    visible = np.isfinite(pixels).all(axis=2) & (seen[..., 2] > 0.3)
    order = np.argsort(-seen[..., 2][visible])  # far points first: near ones cover them
    columns = (pixels[visible].astype(int)[order], radius[visible].astype(int)[order], rgb[visible][order])
    for (u, v), r, colour in zip(*columns, strict=True):
        picture[max(v - r, 0) : max(v + r + 1, 0), max(u - r, 0) : max(u + r + 1, 0)] = colour
    return picture


def _spacing(pixels: np.ndarray) -> np.ndarray:
    """Return each pixel's larger distance to the next in its row and column, [h, w]: what it must cover."""
    spacing = np.zeros(pixels.shape[:2])
    for axis in (0, 1):
        step = np.abs(np.diff(pixels, axis=axis)).max(axis=2)
        # Across an edge of the scene there is nothing to cover.
        step = np.where(step < 4 * np.nanmedian(step), step, 0.0)
        spacing = np.fmax(spacing, np.pad(step, [(0, int(axis == i)) for i in (0, 1)]))
    return spacing


def _titled(title: str, tile: np.ndarray, height: int) -> np.ndarray:
    """Return a tile at a height, with its title in the top left corner."""
    width = round(tile.shape[1] * height / tile.shape[0])
    tile = cv2.resize(tile, (width, height), interpolation=cv2.INTER_AREA)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.7
    (w, h), baseline = cv2.getTextSize(title, font, scale, 1)
    cv2.rectangle(tile, (0, 0), (w + 20, h + baseline + 12), (24, 24, 24), -1)
    cv2.putText(tile, title, (10, h + 8), font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def _milliseconds(percentiles: dict[str, float]) -> str:
    return f"p50 {percentiles['p50']:.1f} ms, p95 {percentiles['p95']:.1f} ms"
