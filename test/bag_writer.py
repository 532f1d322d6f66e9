"""Messages as arrays go into bags of either ROS."""

from __future__ import annotations

import cv2
import numpy as np

from depth_estimation_ros.geometry.pose import quaternion

KINDS = ("sqlite3", "mcap", "bag")


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
        self.writer = Writer1(path) if self.ros1 else Writer(path, version=8, storage_plugin=plugin)
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

    def info(
        self,
        topic,
        time,
        camera,
        frame="bag",
        distortion=(0.0,) * 5,
        model="plumb_bob",
        projection=None,
        baseline=0.0,
    ):
        """Write a camera_info; `camera` is its K, and P too unless `projection` is another; `baseline` in metres."""
        region = self.types.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        p = np.hstack([(projection or camera).k, np.zeros((3, 1))]).ravel()
        p[3] = baseline * p[0]
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
        transform = self._geometry(
            "TransformStamped",
            header=self.header(time, parent),
            child_frame_id=child,
            transform=self._geometry(
                "Transform",
                translation=self._geometry("Vector3", *map(float, pose[:3, 3])),
                rotation=self._geometry("Quaternion", *quaternion(pose)),
            ),
        )
        self.write(topic, "tf2_msgs/msg/TFMessage", time, transforms=[transform])

    def pose(self, topic, time, pose, frame="world", child=None):
        """Write a PoseStamped; an Odometry of `child` where there is one."""
        position = self._geometry("Point", *map(float, pose[:3, 3]))
        found = self._geometry("Pose", position=position, orientation=self._geometry("Quaternion", *quaternion(pose)))
        header = self.header(time, frame)
        if child is None:
            self.write(topic, "geometry_msgs/msg/PoseStamped", time, header=header, pose=found)
            return
        nothing = self._geometry("Vector3", 0.0, 0.0, 0.0)
        twist = self._geometry("Twist", linear=nothing, angular=nothing)
        self.write(
            topic,
            "nav_msgs/msg/Odometry",
            time,
            header=header,
            child_frame_id=child,
            pose=self._geometry("PoseWithCovariance", pose=found, covariance=np.zeros(36)),
            twist=self._geometry("TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
        )

    def _geometry(self, kind, *values, **fields):
        return self.types.types[f"geometry_msgs/msg/{kind}"](*values, **fields)

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


def compressed_depth(depth):
    """Return data and format of a compressedDepth message: uint16 millimetres, or float32 metres (12-bit inverse)."""
    if depth.dtype == np.uint16:
        return bytes(12) + cv2.imencode(".png", depth)[1].tobytes(), "16UC1; compressedDepth png"
    a, b = 100.0 * 101.0, 1.0 - 100.0 * 101.0 / 10.0  # as compressed_depth_image_transport: 10 m is 1
    with np.errstate(divide="ignore", invalid="ignore"):
        stored = np.where(depth > 0, a / depth + b, 0).astype(np.uint16)
    header = np.array([0], np.int32).tobytes() + np.array([a, b], np.float32).tobytes()
    return header + cv2.imencode(".png", stored)[1].tobytes(), "32FC1; compressedDepth png"
