"""The configuration for RViz shows topics that the node has, as what they are, and receives them."""

import pytest
import yaml
from conftest import REPOSITORY
from sensor_msgs.msg import Image, LaserScan, PointCloud2

from depth_estimation_ros.nodes.image_stream import FRAME_ID
from depth_estimation_ros.pipeline.frame import OUTPUT_TYPES, POINTS, PREVIEW, SCAN
from depth_estimation_ros.settings import Settings

MANAGER = yaml.safe_load((REPOSITORY / "config" / "depth_estimation.rviz").read_text())["Visualization Manager"]
SHOWS = {"Image": Image, "PointCloud2": PointCloud2, "LaserScan": LaserScan}
DISPLAYS = [display for display in MANAGER["Displays"] if "Topic" in display]


def named(display):
    return display["Name"]


def test_image_preview_cloud_scan_and_frames_are_there():
    assert {display["Topic"]["Value"] for display in DISPLAYS} == {"image", PREVIEW, POINTS, SCAN}
    assert "rviz_default_plugins/TF" in {display["Class"] for display in MANAGER["Displays"]}


@pytest.mark.parametrize("display", DISPLAYS, ids=named)
def test_a_display_shows_a_topic_of_its_type(display):
    topic, kind = display["Topic"]["Value"], SHOWS[display["Class"].split("/")[1]]
    assert not topic.startswith("/")  # RViz is started in the camera's namespace
    assert {"image": Image, **OUTPUT_TYPES}[topic] is kind


@pytest.mark.parametrize("display", DISPLAYS, ids=named)
def test_a_display_receives_from_publishers_of_either_reliability(display):
    topic = display["Topic"]
    assert (topic["Reliability Policy"], topic["Durability Policy"]) == ("Best Effort", "Volatile")


def test_nothing_that_needs_a_pose_is_asked_for_unless_somebody_wants_it():
    assert Settings().mounting.height == 0.0
    asked = {display["Topic"]["Value"] for display in DISPLAYS if display["Enabled"]}
    assert SCAN not in asked and {"image", PREVIEW, POINTS} <= asked
    assert all(display["Enabled"] == display["Value"] for display in DISPLAYS)


def test_the_fixed_frame_is_that_of_the_cameras_images():
    assert MANAGER["Global Options"]["Fixed Frame"] == FRAME_ID
