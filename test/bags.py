"""Bags of RGB-D frames, real ones (fixture ``rgbd_data``) or rendered ones (``rendered_data``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_writer import BagWriter, compressed_depth

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.synthetic import Room

NYU_CAMERA = PinholeCamera(640, 480, 518.85790, 519.46961, 324.58245, 252.73617).resized(320, 240)
REDWOOD_CAMERA = TUM_CAMERA = PinholeCamera(640, 480, 525.0, 525.0, 319.5, 239.5)
KITCHEN_DEPTH_CAMERA = PinholeCamera(640, 480, 585.0, 585.0, 320.0, 240.0)
# 7-Scenes does not say how the colour camera lies to the depth camera. These are a Kinect's usual numbers (baseline
# 2.5 cm, no rotation) with focal length and principal point fitted to where the image has edges at the depth's steps.
KITCHEN_COLOUR_CAMERA = PinholeCamera(640, 480, 529.0, 529.0, 320.0, 238.0)
KITCHEN_COLOUR_FROM_DEPTH = np.array([[1, 0, 0, -0.025], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], np.float64)
KITCHEN = {
    "image": "/camera/rgb/image_color",
    "camera_info": "/camera/rgb/camera_info",
    "depth": "/camera/depth/image_raw",
    "frame": "camera_rgb_optical_frame",
    "depth_frame": "camera_depth_optical_frame",
}


def read_pair(colour, depth):
    """Return a real pair: uint8 RGB, and the depth PNG's numbers as they are."""
    rgb, stored = cv2.imread(str(colour), cv2.IMREAD_COLOR), cv2.imread(str(depth), cv2.IMREAD_UNCHANGED)
    assert rgb is not None and stored is not None, f"{colour} or {depth} cannot be read"
    return cv2.cvtColor(rgb, cv2.COLOR_BGR2RGB), stored


def kitchen_frames(data, count=40, start=0):
    """Yield colour, uint16 millimetres (0 invalid) and camera-to-world pose of the red kitchen sequence."""
    for colour in sorted((Path(data) / "red_kitchen_sequence").glob("*.color.jpg"))[start : start + count]:
        stem = str(colour).removesuffix(".color.jpg")
        rgb, stored = read_pair(colour, f"{stem}.depth.png")
        yield rgb, np.where(stored == 65535, 0, stored).astype(np.uint16), np.loadtxt(f"{stem}.pose.txt")


def red_kitchen(
    path, data, kind="mcap", count=40, rate=30.0, compressed=False, clock_offset=0.0, truth="depth", start=0
):
    """
    Write the red kitchen sequence: a depth camera beside a colour camera, joined by ``/tf_static``.

    Parameters
    ----------
    path, kind :
        As for `BagWriter`.
    data : pathlib.Path
        The folder of the frames (fixture ``rgbd_data`` or ``rendered_data``).
    count, rate : int, float
        Frames, and how many a second.
    compressed : bool
        JPEG and compressedDepth, on ``.../compressed`` and ``.../compressedDepth``.
    clock_offset : float
        Seconds by which the depth camera's stamps (not the times of receipt) are ahead.
    truth : str
        ``depth``: images of the depth camera; ``cloud``: its points, on ``/camera/depth/points``; ``points``: a hundred
        of these, drawn at random; ``odometry``, ``pose`` or ``tf``: the poses of the camera, on ``/odom``, ``/pose`` or
        ``/tf``, and no depth.
    """
    names = KITCHEN
    with BagWriter(path, kind) as bag:
        bag.transform("/tf_static", 99.0, names["frame"], names["depth_frame"], KITCHEN_COLOUR_FROM_DEPTH)
        for k, (rgb, depth, pose) in enumerate(kitchen_frames(data, count, start), start):
            time = 100.0 + k / rate
            stamp = time + clock_offset
            bag.at(time).info(names["camera_info"], time, KITCHEN_COLOUR_CAMERA, names["frame"])
            if compressed:
                jpeg = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
                bag.compressed(names["image"] + "/compressed", time, jpeg, "rgb8; jpeg compressed bgr8", names["frame"])
            else:
                bag.image(names["image"], time, rgb, "rgb8", names["frame"])
            bag.at(time + 0.004)
            if truth == "odometry":
                bag.pose("/odom", stamp, pose, "world", names["depth_frame"])
            elif truth == "pose":
                bag.pose("/pose", stamp, pose @ np.linalg.inv(KITCHEN_COLOUR_FROM_DEPTH))
            elif truth == "tf":
                bag.transform("/tf", stamp, "odom", names["frame"], pose @ np.linalg.inv(KITCHEN_COLOUR_FROM_DEPTH))
            if truth in ("odometry", "pose", "tf"):
                continue
            if truth in ("cloud", "points"):
                rays = np.dstack([KITCHEN_DEPTH_CAMERA.rays(), np.ones((480, 640), np.float32)])
                metres = np.where(depth > 0, depth / np.float32(1000), np.float32(np.nan))
                xyz = rays * metres[..., None]
                if truth == "points":
                    xyz = np.random.default_rng(k).choice(xyz[depth > 0], 100, replace=False)
                bag.cloud("/camera/depth/points", stamp, xyz, names["depth_frame"])
                continue
            bag.info("/camera/depth/camera_info", stamp, KITCHEN_DEPTH_CAMERA, names["depth_frame"])
            if compressed:
                topic = names["depth"] + "/compressedDepth"
                bag.compressed(topic, stamp, *compressed_depth(depth), names["depth_frame"])
            else:
                bag.image(names["depth"], stamp, depth, "16UC1", names["depth_frame"])
    return path


def synthetic_room(path, kind="mcap", count=30, rate=10.0, size=(320, 240), seed=0):
    """Write a walk through a synthetic room, with exact depth, and with the exact pose of the camera on its own."""
    camera, room = PinholeCamera.from_fov(*size, np.radians(63.0)), Room(seed)
    with BagWriter(path, kind) as bag:
        for k in range(count):
            time, pose = 100.0 + k / rate, room.trajectory(k / rate)
            rgb, depth = room.render(camera, pose)
            bag.image("/camera/image_raw", time, rgb, "rgb8", "camera")
            bag.info("/camera/camera_info", time, camera, "camera")
            bag.image("/camera/depth_registered/image", time, depth, "32FC1", "camera")
            bag.pose("/mocap/camera", time, pose)
    return path


class EveningRoom(Room):
    """A synthetic room whose window and lamps give less and warmer light."""

    def _furnish(self, rng):
        return [replace(lamp, power=lamp.power * (0.5, 0.32, 0.16)) for lamp in super()._furnish(rng)]


def robot_walk(path, room, kind="mcap", count=400, rate=10.0, size=(320, 180)):
    """Write one round of a robot through a room: a wide camera 45 cm above the floor, and exact depth."""
    camera = PinholeCamera.from_fov(*size, np.radians(80.0))
    poses = (room.trajectory(k / rate, height=0.45, pitch=-0.05) for k in range(count))
    return registered(path, (room.render(camera, pose) for pose in poses), camera, kind, rate)


def registered(path, pairs, camera, kind="mcap", rate=10.0, frame="camera_optical_frame"):
    """
    Write registered pairs: ``/camera/image_raw``, ``/camera/camera_info``, ``/camera/depth_registered/image``.

    Parameters
    ----------
    path, kind :
        As for `BagWriter`.
    pairs : iterable of (numpy.ndarray, numpy.ndarray)
        uint8 RGB, and depth: uint16 millimetres or float32 metres.
    camera : PinholeCamera
        Of both.
    """
    with BagWriter(path, kind) as bag:
        for k, (rgb, depth) in enumerate(pairs):
            time = 100.0 + k / rate
            bag.image("/camera/image_raw", time, rgb, "rgb8", frame)
            bag.info("/camera/camera_info", time, camera, frame)
            encoding = "16UC1" if depth.dtype == np.uint16 else "32FC1"
            bag.image("/camera/depth_registered/image", time, depth, encoding, frame)
    return path


def nyu_test_frames(path, data, kind="mcap", count=8, rate=10.0):
    """Write frames of NYU Depth v2's official test split, 320x240, depth in metres (steps of 3.9 cm)."""
    io = pytest.importorskip("scipy.io")

    folder = Path(data) / "nyu_v2_labelled"
    numbers = io.loadmat(str(folder / "splits.mat"))["testNdxs"].ravel()[:count]
    files = [(folder / "rgb" / f"{n:04d}.jpg", folder / "depth" / f"{n:04d}.png") for n in numbers]
    pairs = ((rgb, stored * np.float32(10 / 255)) for rgb, stored in (read_pair(*pair) for pair in files))
    return registered(path, pairs, NYU_CAMERA, kind, rate)


def redwood(path, data, kind="mcap", count=5, rate=10.0):
    """Write the Redwood pairs, 640x480, 16-bit millimetres."""
    folder = Path(data) / "rgbd_samples"
    names = [f"{k:05d}" for k in range(count)]
    pairs = (read_pair(folder / "color" / f"{name}.jpg", folder / "depth" / f"{name}.png") for name in names)
    return registered(path, pairs, REDWOOD_CAMERA, kind, rate)


def tum(path, data, kind="mcap"):
    """Write the one TUM RGB-D pair, 640x480, 32-bit metres."""
    folder = Path(data) / "rgbd_samples" / "other_formats"
    rgb, stored = read_pair(folder / "TUM_color.png", folder / "TUM_depth.png")
    return registered(path, [(rgb, stored / np.float32(5000))], TUM_CAMERA, kind)
