"""Small bags for tests, of either ROS, from arrays or from the real frames of ../shared/data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_estimation_ros.camera import PinholeCamera

KINDS = ("sqlite3", "mcap", "bag")
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


class BagWriter:
    """
    Writes messages of the sensor_msgs kind into a bag of either ROS; times in seconds.

    Parameters
    ----------
    path : pathlib.Path
        A folder (rosbag2), or a file that ends in ``.bag`` (ROS 1); it must not exist.
    kind : str
        One of `KINDS`.
    compress : str
        ``storage``: the chunks of an mcap are compressed (zstd); ``message``: each message of a rosbag2 is.
    """

    def __init__(self, path, kind, compress=""):
        from rosbags.rosbag1 import Writer as Writer1
        from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        self.ros1 = kind == "bag"
        self.types = get_typestore(Stores.ROS1_NOETIC if self.ros1 else Stores.ROS2_JAZZY)
        if self.ros1:
            definition = "geometry_msgs/TransformStamped[] transforms"
            self.types.register(get_types_from_msg(definition, "tf2_msgs/msg/TFMessage"))
        plugin = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}.get(kind)
        self.writer = Writer1(path) if self.ros1 else Writer(path, version=9, storage_plugin=plugin)
        if compress:
            self.writer.set_compression(CompressionMode[compress.upper()], CompressionFormat.ZSTD)
        self.connections = {}
        self.received = None

    def __enter__(self):
        self.writer.open()
        return self

    def __exit__(self, *_):
        self.writer.close()

    def at(self, received):
        """Record what is written from now on as received at this time, and not at its stamp; None ends that."""
        self.received = received
        return self

    def header(self, time, frame="bag"):
        sequence = {"seq": 0} if self.ros1 else {}
        seconds, nanoseconds = divmod(round(time * 1e9), 10**9)
        stamp = self.types.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
        return self.types.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame, **sequence)

    def write(self, topic, kind, time, **fields):
        kind = f"sensor_msgs/msg/{kind}" if "/" not in kind else kind
        message = self.types.types[kind](**fields)
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, kind, typestore=self.types)
        serialize = self.types.serialize_ros1 if self.ros1 else self.types.serialize_cdr
        received = time if self.received is None else self.received
        self.writer.write(self.connections[topic], round(received * 1e9), serialize(message, kind))

    def image(self, topic, time, array, encoding, frame="bag"):
        self.write(
            topic,
            "Image",
            time,
            header=self.header(time, frame),
            height=array.shape[0],
            width=array.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=array[0].nbytes,
            data=np.ascontiguousarray(array).reshape(-1).view(np.uint8),
        )

    def compressed(self, topic, time, data, form, frame="bag"):
        data = np.frombuffer(data, np.uint8)
        self.write(topic, "CompressedImage", time, header=self.header(time, frame), format=form, data=data)

    def info(self, topic, time, camera, frame="bag", distortion=(0.0,) * 5, model="plumb_bob", projection=None):
        """Write a camera_info; `camera` is its K, and P too unless `projection` is another one."""
        region = self.types.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        p = np.hstack([(projection or camera).k, np.zeros((3, 1))]).ravel()
        names = "DKRP" if self.ros1 else "dkrp"
        arrays = (np.array(distortion, np.float64), camera.k.ravel(), np.eye(3).ravel(), p)
        self.write(
            topic,
            "CameraInfo",
            time,
            header=self.header(time, frame),
            height=camera.height,
            width=camera.width,
            distortion_model=model,
            binning_x=0,
            binning_y=0,
            roi=region,
            **dict(zip(names, arrays, strict=True)),
        )

    def transform(self, topic, time, parent, child, pose):
        """Write one transform to ``/tf`` or ``/tf_static``: `pose` [4, 4] takes points of the child to the parent."""
        types = self.types.types
        x, y, z, w = quaternion(pose[:3, :3])
        transform = types["geometry_msgs/msg/TransformStamped"](
            header=self.header(time, parent),
            child_frame_id=child,
            transform=types["geometry_msgs/msg/Transform"](
                translation=types["geometry_msgs/msg/Vector3"](*map(float, pose[:3, 3])),
                rotation=types["geometry_msgs/msg/Quaternion"](x, y, z, w),
            ),
        )
        self.write(topic, "tf2_msgs/msg/TFMessage", time, transforms=[transform])

    def cloud(self, topic, time, xyz, frame="bag"):
        """Write a cloud of float32 x, y, z: [N, 3], or organised [H, W, 3]."""
        points = np.ascontiguousarray(xyz, np.float32)
        height, width = (1, len(points)) if points.ndim == 2 else points.shape[:2]
        field = self.types.types["sensor_msgs/msg/PointField"]
        self.write(
            topic,
            "PointCloud2",
            time,
            header=self.header(time, frame),
            height=height,
            width=width,
            fields=[field(name=name, offset=4 * k, datatype=7, count=1) for k, name in enumerate("xyz")],
            is_bigendian=False,
            point_step=12,
            row_step=12 * width,
            data=points.reshape(-1).view(np.uint8),
            is_dense=False,
        )

    def scan(self, topic, time, ranges, angle_min, increment, frame="bag"):
        """Write a laser scan, radians and metres."""
        ranges = np.asarray(ranges, np.float32)
        self.write(
            topic,
            "LaserScan",
            time,
            header=self.header(time, frame),
            angle_min=angle_min,
            angle_max=angle_min + increment * (len(ranges) - 1),
            angle_increment=increment,
            time_increment=0.0,
            scan_time=0.1,
            range_min=0.05,
            range_max=30.0,
            ranges=ranges,
            intensities=np.empty(0, np.float32),
        )


def quaternion(rotation):
    """Return x, y, z, w of a rotation matrix that turns by less than 180 degrees."""
    w = np.sqrt(max(0.0, 1.0 + np.trace(rotation))) / 2
    m = rotation
    return *(float(v / (4 * w)) for v in (m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1])), float(w)


def compressed_depth(depth):
    """Return data and format of a compressedDepth message: uint16 millimetres, or float32 metres (12-bit inverse)."""
    if depth.dtype == np.uint16:
        return bytes(12) + cv2.imencode(".png", depth)[1].tobytes(), "16UC1; compressedDepth png"
    a, b = 100.0 * 101.0, 1.0 - 100.0 * 101.0 / 10.0  # as compressed_depth_image_transport: 10 m is 1
    with np.errstate(divide="ignore", invalid="ignore"):
        stored = np.where(depth > 0, a / depth + b, 0).astype(np.uint16)
    header = np.array([0], np.int32).tobytes() + np.array([a, b], np.float32).tobytes()
    return header + cv2.imencode(".png", stored)[1].tobytes(), "32FC1; compressedDepth png"


def read_pair(colour, depth):
    """Return a real pair: uint8 RGB, and the depth PNG's numbers as they are."""
    rgb, stored = cv2.imread(str(colour), cv2.IMREAD_COLOR), cv2.imread(str(depth), cv2.IMREAD_UNCHANGED)
    assert rgb is not None and stored is not None, f"{colour} or {depth} cannot be read"
    return cv2.cvtColor(rgb, cv2.COLOR_BGR2RGB), stored


def kitchen_frames(data, count=40):
    """Yield colour, uint16 millimetres (0 invalid) and camera-to-world pose of the red kitchen sequence."""
    for colour in sorted((Path(data) / "red_kitchen_sequence").glob("*.color.jpg"))[:count]:
        stem = str(colour).removesuffix(".color.jpg")
        rgb, stored = read_pair(colour, f"{stem}.depth.png")
        yield rgb, np.where(stored == 65535, 0, stored).astype(np.uint16), np.loadtxt(f"{stem}.pose.txt")


def red_kitchen(path, data, kind="mcap", count=40, rate=30.0, compressed=False, clock_offset=0.0, truth="depth"):
    """
    Write the red kitchen sequence: a depth camera beside a colour camera, joined by ``/tf_static``.

    Parameters
    ----------
    path, kind :
        As for `BagWriter`.
    data : pathlib.Path
        The folder of real frames (fixture ``rgbd_data``).
    count, rate : int, float
        Frames, and how many a second.
    compressed : bool
        JPEG and compressedDepth, on ``.../compressed`` and ``.../compressedDepth``.
    clock_offset : float
        Seconds by which the depth camera's stamps (not the times of receipt) are ahead.
    truth : str
        ``depth``: images of the depth camera; ``cloud``: its points, on ``/camera/depth/points``.
    """
    names = KITCHEN
    with BagWriter(path, kind) as bag:
        bag.transform("/tf_static", 99.0, names["frame"], names["depth_frame"], KITCHEN_COLOUR_FROM_DEPTH)
        for k, (rgb, depth, _) in enumerate(kitchen_frames(data, count)):
            time = 100.0 + k / rate
            stamp = time + clock_offset
            bag.at(time).info(names["camera_info"], time, KITCHEN_COLOUR_CAMERA, names["frame"])
            if compressed:
                jpeg = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
                bag.compressed(names["image"] + "/compressed", time, jpeg, "rgb8; jpeg compressed bgr8", names["frame"])
            else:
                bag.image(names["image"], time, rgb, "rgb8", names["frame"])
            bag.at(time + 0.004)
            if truth == "cloud":
                rays = np.dstack([KITCHEN_DEPTH_CAMERA.rays(), np.ones((480, 640), np.float32)])
                metres = np.where(depth > 0, depth / np.float32(1000), np.float32(np.nan))
                bag.cloud("/camera/depth/points", stamp, rays * metres[..., None], names["depth_frame"])
                continue
            bag.info("/camera/depth/camera_info", stamp, KITCHEN_DEPTH_CAMERA, names["depth_frame"])
            if compressed:
                topic = names["depth"] + "/compressedDepth"
                bag.compressed(topic, stamp, *compressed_depth(depth), names["depth_frame"])
            else:
                bag.image(names["depth"], stamp, depth, "16UC1", names["depth_frame"])
    return path


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
