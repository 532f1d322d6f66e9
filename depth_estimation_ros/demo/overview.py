"""Picture of the demo: image, depth, ground truth, cloud, and the scan on the floor plan of the room."""

from __future__ import annotations

import cv2
import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image, LaserScan, PointCloud2

from depth_estimation_ros.conversions import image_to_depth, image_to_rgb, message_to_cloud
from depth_estimation_ros.demo.recorder import Frame
from depth_estimation_ros.imaging.preview import render_preview
from depth_estimation_ros.settings import ScanSettings
from depth_estimation_ros.synthetic import Room

BACKGROUND = (24, 24, 24)


def draw_overview(frame: Frame, room: Room | None = None, near: float = 0.5, far: float = 8.0) -> np.ndarray:
    """
    Draw a frame: image, depth, ground truth (if any), the cloud seen from above the camera, and the scan from the top.

    Parameters
    ----------
    frame : Frame
        Frame with an image, depth and cloud.
    room : Room, optional
        Room that the camera is in, if the frame has the camera's pose.
    near, far : float
        Range of the colour scale, metres.

    Returns
    -------
    numpy.ndarray
        uint8 [h, w, 3], RGB.
    """
    image = image_to_rgb(deserialize_message(frame.messages["image"], Image))
    depth = image_to_depth(deserialize_message(frame.messages["depth/image"], Image))
    cloud = deserialize_message(frame.messages["depth/points"], PointCloud2)
    height = round(640 * image.shape[0] / image.shape[1])
    tiles = [("image", image), ("estimated depth", render_preview(None, depth, colour_map="turbo", near=near, far=far))]
    if frame.has("ground_truth/depth"):
        truth = image_to_depth(deserialize_message(frame.messages["ground_truth/depth"], Image))
        tiles.append(("true depth", render_preview(None, truth, colour_map="turbo", near=near, far=far)))
    upper = np.hstack([_titled(title, tile, height) for title, tile in tiles])
    # Make the lower row as wide as the upper one.
    parts = 2 if "depth/scan" in frame.messages else 1
    size = (upper.shape[1] // parts, height)
    lower = [_titled("point cloud", draw_cloud(*message_to_cloud(cloud), size), height)]
    if parts == 2:
        size = (upper.shape[1] - size[0], height)
        lower.append(_titled("laser scan, from above", draw_scan(frame, size, room), height))
    return np.vstack([upper, np.hstack(lower)])


def draw_scan(frame: Frame, size: tuple[int, int], room: Room | None = None) -> np.ndarray:
    """
    Draw a scan from the top, with the camera's view direction up, on the floor plan of the room if given.

    Parameters
    ----------
    frame : Frame
        Frame with a scan.
    size : tuple of int
        (width, height) of the picture.
    room : Room, optional
        Room that the camera is in, if the frame has the camera's pose. Furniture within the scan's band of heights is
        drawn.

    Returns
    -------
    numpy.ndarray
        uint8 [height, width, 3].
    """
    width, height = size
    picture = np.full((height, width, 3), BACKGROUND, np.uint8)
    scan = deserialize_message(frame.messages["depth/scan"], LaserScan)
    scale, at = height / 8.0, np.array([width / 2, 0.85 * height])  # pixels per metre; pixel of the camera

    def pixels(xy: np.ndarray) -> np.ndarray:
        """Return pixels of points ahead (x) and to the left (y) of the camera, [..., 2] metres."""
        return np.rint(at - scale * xy[..., ::-1]).astype(np.int32)

    if room and "ground_truth/pose" in frame.messages:
        made = frame.room_scan()
        heading = made.angles[0] - scan.angle_min
        turn = np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]])
        for corners in _plan(room):
            cv2.fillPoly(picture, [pixels((corners - made.pose[:2, 3]) @ turn.T)], (84, 84, 84), cv2.LINE_AA)
        walls = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * room.size[:2]
        outline = pixels((walls - made.pose[:2, 3]) @ turn.T)
        cv2.polylines(picture, [outline], True, (200, 200, 200), 3, cv2.LINE_AA)
    angles = scan.angle_min + np.arange(len(scan.ranges)) * scan.angle_increment
    ranges = np.array(scan.ranges)
    known = np.isfinite(ranges)
    for ahead, aside in pixels(np.stack([np.cos(angles), np.sin(angles)], -1)[known] * ranges[known, None]):
        cv2.circle(picture, (int(ahead), int(aside)), 3, (255, 160, 40), -1, cv2.LINE_AA)
    cv2.circle(picture, tuple(at.astype(int).tolist()), 7, (80, 180, 255), -1, cv2.LINE_AA)
    return picture


def _plan(room: Room) -> list[np.ndarray]:
    """Return the corners in the floor plan, float64 [4, 2] each, of furniture in the scan's band of heights."""
    found = []
    for box in room.boxes:
        bottom, top = box.centre[2] - box.size[2] / 2, box.centre[2] + box.size[2] / 2
        if bottom < ScanSettings.max_height and top > ScanSettings.min_height:
            corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * box.size[:2] / 2
            found.append(corners @ box.rotation[:2, :2].T + box.centre[:2])
    return found


def draw_cloud(xyz: np.ndarray, rgb: np.ndarray, size: tuple[int, int], tilt: float = 20.0) -> np.ndarray:
    """
    Draw a cloud as seen from above and behind the camera.

    Parameters
    ----------
    xyz, rgb : numpy.ndarray
        float32 [h, w, 3], metres in the optical frame, NaN invalid; uint8 [h, w, 3].
    size : tuple of int
        (width, height) of the picture.
    tilt : float
        Downward angle of the view, degrees.

    Returns
    -------
    numpy.ndarray
        uint8 [height, width, 3].
    """
    width, height = size
    picture = np.full((height, width, 3), BACKGROUND, np.uint8)
    if not np.isfinite(xyz).any():
        return picture
    centre = np.nanmedian(xyz.reshape(-1, 3), axis=0)
    rotation = cv2.Rodrigues(np.radians([tilt, 0.0, 0.0]))[0] @ cv2.Rodrigues(np.radians([0.0, 20.0, 0.0]))[0]
    seen = (xyz - centre) @ rotation.T + [0.0, 0.0, 1.4 * centre[2]]
    pixels = 0.8 * min(width, 4 * height / 3) * seen[..., :2] / seen[..., 2:] + [0.5 * width, 0.5 * height]
    radius = np.ceil(0.5 * _spacing(pixels)).clip(1, 12)
    visible = np.isfinite(pixels).all(axis=2) & (seen[..., 2] > 0.3)
    order = np.argsort(-seen[..., 2][visible])  # draw far points first, so that near ones cover them
    columns = (pixels[visible].astype(int)[order], radius[visible].astype(int)[order], rgb[visible][order])
    for (u, v), r, colour in zip(*columns, strict=True):
        picture[max(v - r, 0) : max(v + r + 1, 0), max(u - r, 0) : max(u + r + 1, 0)] = colour
    return picture


def _spacing(pixels: np.ndarray) -> np.ndarray:
    """Return the larger distance of each pixel to its neighbours in row and column, [h, w]: the size it must cover."""
    spacing = np.zeros(pixels.shape[:2])
    for axis in (0, 1):
        step = np.abs(np.diff(pixels, axis=axis)).max(axis=2)
        # Do not cover gaps across depth edges.
        step = np.where(step < 4 * np.nanmedian(step), step, 0.0)
        spacing = np.fmax(spacing, np.pad(step, [(0, int(axis == i)) for i in (0, 1)]))
    return spacing


def _titled(title: str, tile: np.ndarray, height: int) -> np.ndarray:
    """Return a tile resized to a height, with its title in the top left corner."""
    width = round(tile.shape[1] * height / tile.shape[0])
    tile = cv2.resize(tile, (width, height), interpolation=cv2.INTER_AREA)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.7
    (w, h), baseline = cv2.getTextSize(title, font, scale, 1)
    cv2.rectangle(tile, (0, 0), (w + 20, h + baseline + 12), BACKGROUND, -1)
    cv2.putText(tile, title, (10, h + 8), font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return tile
