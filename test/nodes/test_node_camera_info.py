"""Cameras that send their camera_info once, and never again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from painted_depth import CAMERA, painted_node, painting
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_processes import output, ros_context, ros_environment, wait_for

from depth_estimation_ros.conversions import camera_from_info, camera_to_info

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def send_image(depth, shift=0.0):
    """Publish an image without camera_info."""
    image = painting(2.0)
    image.header = depth.header()
    image.header.stamp.sec += int(shift)
    depth.images.publish(image)
    return image.header


def published(depth, shift=0.0):
    headers = []

    def answered():
        headers.append(send_image(depth, shift))
        return any(depth.result("depth/camera_info", header) for header in headers)

    depth.wait(answered)
    return camera_from_info(depth.got["depth/camera_info"][-1])


DRIVER = """
import rclpy
from depth_estimation_ros.conversions import camera_to_info
from sensor_msgs.msg import CameraInfo
from test_node_camera_info import CAMERA, LATCHED
rclpy.init()
node = rclpy.create_node("camera_driver")
node.create_publisher(CameraInfo, "/once/camera_info", LATCHED).publish(camera_to_info(CAMERA))
rclpy.spin(node)
"""


@pytest.mark.parametrize("discovered", ("before the node is active", "later"))
def test_a_camera_info_that_was_sent_before_and_kept_is_asked_for(tmp_path, discovered):
    here = Path(__file__).resolve().parent
    paths = os.pathsep.join([str(here), str(here.parent), ros_environment()["PYTHONPATH"]])
    environment = {**os.environ, **ros_environment(), "PYTHONPATH": paths}
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], env=environment)
    try:
        with ros_context(name="onlooker") as onlooker:
            wait_for(onlooker, lambda: onlooker.count_publishers("/once/camera_info"))
        if discovered == "later":
            driver.send_signal(signal.SIGSTOP)
        with painted_node(tmp_path, "/once") as depth:
            depth.node.destroy_publisher(depth.infos)
            depth.subscribe("depth/camera_info")
            if discovered == "later":
                depth.wait(lambda: send_image(depth) and depth.figure("failed: no camera_info"))
                driver.send_signal(signal.SIGCONT)
            assert published(depth) == CAMERA
            # What has come once counts for other times as well: it will not come again.
            assert published(depth, shift=-3600.0) == CAMERA
            assert "time has jumped back by" in output(depth.process)
    finally:
        driver.kill()
        driver.wait()


def test_a_camera_info_that_is_sent_once_and_not_kept_lasts_and_its_publisher_is_not_asked_for_more(tmp_path):
    with painted_node(tmp_path, "/single") as depth:
        depth.subscribe("depth/camera_info")
        depth.wait(lambda: depth.node.count_subscribers("/single/camera_info"))
        depth.wait(lambda: depth.infos.get_subscription_count())
        depth.infos.publish(camera_to_info(CAMERA))
        assert published(depth) == CAMERA
        depth.settled()
        # A second subscription, for what publishers keep, would make every camera that keeps nothing warn.
        assert len(depth.node.get_subscriptions_info_by_topic("/single/camera_info")) == 1
