"""Poses from TF in the running node, where tf2_ros is there; where it is not, what the node says."""

import math
from contextlib import suppress
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from painted_depth import CAMERA, painted_node, painting
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_processes import output
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Header

from depth_estimation_ros.conversions import image_to_depth, message_to_cloud
from depth_estimation_ros.geometry.pose import camera_pose, directions

FRAME = "camera_optical_frame"
# From a robot's frame to a camera's, of which `camera_pose` gives the optical frame.
MOUNT = np.linalg.inv(camera_pose(0.0))


class Robot:
    """A depth node, a camera, and TF of what the test says, at times that it chooses."""

    def __init__(self, client):
        from tf2_msgs.msg import TFMessage

        self.client, self._message, self.frame = client, TFMessage, FRAME
        self.now = 1e-9 * client.node.get_clock().now().nanoseconds
        client.header = lambda: self.header(self.frame, self.now)
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._moving = client.node.create_publisher(TFMessage, "/tf", 10)
        self._static = client.node.create_publisher(TFMessage, "/tf_static", latched)
        client.subscribe("depth/image", "depth/points", "depth/scan", "depth/scale")
        client.send_until_published(image=painting(2.0), camera=CAMERA)

    def header(self, frame, moment) -> Header:
        return Header(frame_id=frame, stamp=Time(sec=int(moment), nanosec=int(1e9 * (moment % 1.0))))

    def place(self, parent, child, pose, moment=None) -> None:
        """Publish where a frame is in another: at a moment, or for ever."""
        message = TransformStamped(header=self.header(parent, moment or self.now), child_frame_id=child)
        t, r = message.transform.translation, message.transform.rotation
        t.x, t.y, t.z = map(float, pose[:3, 3])
        turn = cv2.Rodrigues(pose[:3, :3])[0].ravel()
        angle = float(np.linalg.norm(turn))
        r.x, r.y, r.z = map(float, turn * (math.sin(angle / 2) / max(angle, 1e-9)))
        r.w = math.cos(angle / 2)
        publisher = self._static if moment is None else self._moving
        publisher.publish(self._message(transforms=[message]))

    def see(self, topic, depth=2.0):
        """Show a depth, and return what is published of it on a topic; None where that cannot be made."""
        self.now += 0.001  # each image has a stamp of its own
        header = self.client.send(image=painting(depth), camera=CAMERA)
        with suppress(AssertionError):
            self.client.wait(lambda: self.client.result(topic, header), timeout=1.0)
        return self.client.result(topic, header)

    def height(self) -> float:
        """Return the camera's height over the base, by which points are left out of the cloud; NaN while unknown."""
        if (cloud := self.see("depth/points", 2.0)) is None:
            return math.nan
        # Of a wall square to the camera at 2 m, the points that are lower than the base.
        seen = np.isfinite(message_to_cloud(cloud)[0][:, 40, 2])
        return 2.0 * (np.count_nonzero(seen) - 0.5 - CAMERA.cy) / CAMERA.fy


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    pytest.importorskip("tf2_ros", reason="tf2_ros comes with a ROS installation, not from PyPI")
    parameters = {"image_reliability": "reliable", "edge_angle": 0.0, "max_depth": 50.0}
    with painted_node(tmp_path_factory.mktemp("model"), "/robot", **parameters) as client:
        yield Robot(client)


@pytest.fixture
def robot(shared):
    """Give the robot, which is as at first after the test."""
    yield shared
    shared.frame = FRAME
    values = {"base_frame": "base_link", "cloud_min_height": -1000.0, "depth_resolution": "camera", "image_rotation": 0}
    assert shared.client.set(**values).successful


def test_a_frame_that_tf_does_not_know_is_named_and_depth_is_published_all_the_same(robot):
    assert robot.see("depth/scan") is None
    assert robot.see("depth/image") is not None
    robot.client.wait(lambda: robot.client.figure("published in part: no transform"))
    printed = output(robot.client.process)
    assert f"TF has no transform from '{FRAME}' to 'base_link'" in printed
    assert "or set camera_height and camera_pitch" in printed


def test_a_scan_is_made_in_the_base_frame_of_a_camera_that_looks_down_as_tf_says(robot):
    pitch, height, wall = 0.25, 0.5, 3.0
    robot.place("base_link", "camera", camera_pose(height, pitch, x=0.3) @ MOUNT)
    robot.place("camera", "tilted_optical_frame", camera_pose(0.0))
    robot.frame = "tilted_optical_frame"
    x, _, z = directions(CAMERA, camera_pose(height, pitch))
    scene = np.minimum(wall / x, height / np.maximum(-z, 1e-9))
    robot.client.wait(lambda: robot.see("depth/scan", scene))
    scan = robot.see("depth/scan", scene)
    assert scan.header.frame_id == "base_link"
    bearings = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    ahead = (np.asarray(scan.ranges) * np.cos(bearings))[np.abs(bearings) < 0.4]
    np.testing.assert_allclose(ahead, wall + 0.3, atol=0.03)


def test_a_pose_is_that_of_the_stamp_and_nothing_is_left_of_one_when_time_has_jumped_back(robot):
    assert robot.client.set(base_frame="odom", cloud_min_height=0.0).successful
    start = robot.now
    for second, height in enumerate((0.3, 0.5, 0.7)):
        robot.place("odom", FRAME, camera_pose(height), start + second)
    robot.now = start + 1.5
    robot.client.wait(lambda: robot.height() == pytest.approx(0.6, abs=0.03))
    robot.now = start + 2.5  # TF has not come as far: the newest counts
    assert robot.height() == pytest.approx(0.7, abs=0.03)

    robot.now = start - 3600.0  # a bag starts anew
    assert math.isnan(robot.height()), "what is known is of another time"
    robot.place("odom", FRAME, camera_pose(0.4), robot.now)
    robot.client.wait(lambda: robot.height() == pytest.approx(0.4, abs=0.03))
    robot.frame = "tilted_optical_frame"
    assert robot.client.set(base_frame="base_link").successful
    assert robot.see("depth/scan") is not None, "what does not move is still known"


@pytest.mark.parametrize("roll", (0.0, math.pi / 2))
def test_the_rotation_of_the_image_follows_how_tf_says_the_camera_is_mounted(robot, roll):
    robot.frame = f"optical_frame_{round(roll)}"
    robot.place("base_link", robot.frame, camera_pose(0.5, roll=roll))
    assert robot.client.set(image_rotation=-1, depth_resolution="network").successful
    robot.client.wait(lambda: robot.see("depth/image"))
    image = robot.see("depth/image")
    # The network's map of a camera on its side is turned back with it.
    size = (CAMERA.width, CAMERA.height)
    assert (image.width, image.height) == (size[::-1] if roll else size)
    assert np.nanmax(robot.see("depth/scan").ranges) < 3.0


def test_a_laser_anywhere_on_the_robot_anchors_the_scale(robot):
    assert robot.client.change_state("deactivate")
    assert robot.client.set(anchor="scan").successful
    assert robot.client.change_state("activate")
    # The laser is 0.2 m lower than the camera and 0.1 m behind it, and looks to the left; the wall is ahead.
    robot.place("base_link", "left_laser", camera_pose(0.3, yaw=math.pi / 2, x=-0.1) @ MOUNT)
    robot.place("base_link", "ahead_optical_frame", camera_pose(0.5))
    robot.frame = "ahead_optical_frame"
    lasers = robot.client.node.create_publisher(LaserScan, "/robot/anchor/scan", 10)
    bearings = np.linspace(-0.4, 0.4, 41) - math.pi / 2
    scan = LaserScan(angle_min=-0.4 - math.pi / 2, angle_increment=0.02, range_min=0.1, range_max=9.0)
    scan.angle_max = scan.angle_min + 0.8
    scan.ranges = (2.7 / np.cos(bearings + math.pi / 2)).astype(np.float32).tolist()

    def scale():
        robot.now += 0.1
        scan.header = robot.header("left_laser", robot.now)
        lasers.publish(scan)
        return robot.see("depth/scale", 2.0).vector

    robot.client.wait(lambda: scale().z > 0.1)
    for _ in range(10):
        found = scale()
    assert found.x == pytest.approx(1.3, rel=0.03)
    assert np.nanmedian(image_to_depth(robot.see("depth/image", 2.0))) == pytest.approx(2.6, rel=0.03)


@pytest.mark.skipif(find_spec("tf2_ros") is not None, reason="tf2_ros is installed here")
def test_without_tf2_ros_what_needs_it_says_so_and_the_rest_is_published(tmp_path):
    with painted_node(tmp_path, "/lonely", image_reliability="reliable") as client:
        client.subscribe("depth/image", "depth/scan")
        client.send_until_published(image=painting(2.0), camera=CAMERA)
        client.wait(lambda: client.figure("published in part: no transform"))
        assert (
            f"frame published in part: the transform from '{FRAME}' to 'base_link' comes from TF, which needs tf2_ros "
            "of a ROS installation; or set camera_height and camera_pitch"
        ) in output(client.process)
        assert client.set(camera_height=0.5).successful
        client.send_until_published("depth/scan", image=painting(2.0), camera=CAMERA)
