"""Node ``synthetic_camera``: a camera that moves through a rendered room, with ground truth depth."""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports, during which a user may press Ctrl-C
    from depth_estimation_ros import entry

    entry.synthetic_camera()

import math
import time
from dataclasses import dataclass, field

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import new_cloud, points_of
from depth_estimation_ros.geometry.pose import quaternion
from depth_estimation_ros.nodes.image_stream import CameraNode, ImageStream, Metronome, StreamParameters, run
from depth_estimation_ros.parameters.declaration import ParameterGroup, constant
from depth_estimation_ros.parameters.declare import declare
from depth_estimation_ros.synthetic import Room

POINT_NOISE = 0.01
"""Relative standard deviation of ``ground_truth/points``: that of a good depth sensor."""

ROOM_FRAME = "room"

NYU_HORIZONTAL_FOV = 2 * math.atan(320 / 518.86)  # the Kinect of NYU Depth v2, at 640 pixels


@dataclass(frozen=True)
class SyntheticCameraParameters(ParameterGroup):
    """Parameters of the node ``synthetic_camera``."""

    width: int = constant(640, "Image width in pixels.", limits=(16, 4096))
    height: int = constant(480, "Image height in pixels.", limits=(16, 4096))
    horizontal_fov: float = constant(NYU_HORIZONTAL_FOV, "Horizontal field of view in radians.", limits=(0.2, 2.6))
    rate: float = constant(30.0, "Images per second.", limits=(0.1, 240.0))
    speed: float = constant(
        1.0, "Speed of the camera. 1 completes a round in 40 s, 0 stands still.", limits=(0.0, 10.0)
    )
    seed: int = constant(0, "Seed of the room.", limits=(0, 2**31 - 1))
    camera_height: float = constant(
        0.0,
        "Height of a mounted camera in metres. 0 moves the camera as if held by hand.",
        limits=(0.0, 2.0),
    )
    camera_pitch: float = constant(0.0, "Downward pitch of a mounted camera in radians.", limits=(-1.2, 1.2))
    points: int = constant(50, "Number of points in ground_truth/points.", limits=(1, 100_000))
    stream: StreamParameters = field(default=StreamParameters())


class SyntheticCamera(CameraNode):
    """
    Node that publishes the images of a camera moving through a room, with intrinsics and exact depth.

    Publishers
    ----------
    image : sensor_msgs/Image
    camera_info : sensor_msgs/CameraInfo
    ground_truth/depth : sensor_msgs/Image
        Exact depth, 32FC1 in metres along the optical axis (REP 118). Published only while it has subscribers.
    ground_truth/pose : geometry_msgs/PoseStamped
        Pose of the optical frame in the room. The room's origin is a corner of the floor.
    ground_truth/points : sensor_msgs/PointCloud2
        Sparse points in the optical frame with 1 % of noise, like those of a sparse depth sensor beside the camera.
        They can be remapped to the depth node's ``anchor/points``.

    The ROS parameters are those of `SyntheticCameraParameters`.
    """

    def __init__(self):
        super().__init__("synthetic_camera")
        self._chosen = p = declare(self, SyntheticCameraParameters, read_only=True)
        self._mount = (p.camera_height, -p.camera_pitch) if p.camera_height else ()
        self._stream = ImageStream(self, p.stream)
        self._camera = PinholeCamera.from_fov(p.width, p.height, p.horizontal_fov)
        self._room = Room(p.seed)
        self._random = np.random.default_rng(p.seed)
        self._poses = self.create_publisher(PoseStamped, "ground_truth/pose", 5)
        self._clouds = self.create_publisher(PointCloud2, "ground_truth/points", 5)
        self.get_logger().info(f"publishing room {p.seed} at {p.width}x{p.height}, {p.rate:g} images a second")

    def work(self, metronome: Metronome) -> None:
        """Publish until the program is to end."""
        start = time.monotonic()
        for _ in metronome.ticks(self._chosen.rate):
            pose = self._room.trajectory(self._chosen.speed * (time.monotonic() - start), *self._mount)
            rgb, depth = self._room.render(self._camera, pose)
            # The stamp is taken after rendering, so that latencies do not include the time of the renderer.
            stamp = self.get_clock().now().to_msg()
            self._publish_truth(pose, depth, stamp)
            self._stream.publish(rgb, self._camera, depth, stamp)

    def _publish_truth(self, pose: np.ndarray, depth: np.ndarray, stamp: Time) -> None:
        if self._poses.get_subscription_count():
            message = PoseStamped(header=Header(stamp=stamp, frame_id=ROOM_FRAME))
            at, turned = message.pose.position, message.pose.orientation
            at.x, at.y, at.z = pose[:3, 3].tolist()
            turned.x, turned.y, turned.z, turned.w = quaternion(pose)
            self._poses.publish(message)
        if self._clouds.get_subscription_count():
            pixels = self._random.integers(0, depth.size, self._chosen.points)
            z = depth.ravel()[pixels] * self._random.normal(1.0, POINT_NOISE, self._chosen.points).astype(np.float32)
            rays = self._camera.rays().reshape(-1, 2)[pixels]
            message = new_cloud(self._chosen.points, 1)
            message.header = Header(stamp=stamp, frame_id=self._stream.frame_id)
            points_of(message)[0, :, :3] = np.column_stack([rays * z[:, None], z])
            self._clouds.publish(message)


def main(args=None) -> int:
    """Run the node."""
    return run("synthetic_camera", SyntheticCamera, args, "rate:=10.0")
