"""The layout for Foxglove shows topics that the node has, and plots numbers that are in its messages."""

import json
import re
from functools import partial

import pytest
from conftest import REPOSITORY
from depth_client import MODULE, RELIABLE, DepthClient
from diagnostic_msgs.msg import DiagnosticArray
from ros_processes import ros_context, running_node
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2
from std_msgs.msg import Float32MultiArray

from depth_estimation_ros.pipeline.frame import OUTPUT_TYPES
from depth_estimation_ros.runtime.stream import LATENCY

LAYOUT = json.loads((REPOSITORY / "config" / "foxglove_layout.json").read_text())
PANELS = LAYOUT["configById"]
TOPICS = {f"/{topic}": kind for topic, kind in OUTPUT_TYPES.items()} | {
    "/image": Image,
    "/camera_info": CameraInfo,
    f"/{LATENCY}": Float32MultiArray,
    "/diagnostics": DiagnosticArray,
}
PLOTS = [path["value"] for panel in PANELS.values() for path in panel.get("paths", ())]


def leaves(tree):
    return [tree] if isinstance(tree, str) else leaves(tree["first"]) + leaves(tree["second"])


def panels(kind):
    return [panel for name, panel in PANELS.items() if name.split("!")[0] == kind]


def plotted(path, message):
    """Return what a message path of Foxglove finds in a message; of its grammar, what this layout uses."""
    found = [message]
    for name, index, key, value in re.findall(r'\.(\w+)(?:\[(\d+|:)\])?(?:\{(\w+)=="([^"]*)"\})?', path):
        found = [getattr(each, name) for each in found]
        if index == ":":
            found = [one for each in found for one in each]
        elif index:
            found = [each[int(index)] for each in found]
        if key:
            found = [each for each in found if getattr(each, key) == value]
    return found


def test_every_panel_is_shown_once():
    assert sorted(leaves(LAYOUT["layout"])) == sorted(PANELS)
    assert {name.split("!")[0] for name in PANELS} >= {"3D", "Image", "Plot", "DiagnosticSummary"}


def test_images_and_what_lies_over_them_are_topics_of_the_node():
    for panel in panels("Image"):
        assert TOPICS[panel["imageMode"]["imageTopic"]] is Image
        assert panel["imageMode"].get("calibrationTopic", "/camera_info") == "/camera_info"
        assert all(TOPICS[topic] is PointCloud2 for topic in panel["topics"])
        # Only a calibrated image has a place for a cloud.
        assert not panel["topics"] or "calibrationTopic" in panel["imageMode"]


def test_the_scene_shows_cloud_and_scan():
    (scene,) = panels("3D")
    assert {TOPICS[topic] for topic, shown in scene["topics"].items() if shown["visible"]} == {PointCloud2, LaserScan}


@pytest.fixture(scope="module")
def messages():
    """Run the node for some frames; return a message of each topic that is plotted or listed, times in it."""
    with ros_context() as node, running_node(MODULE) as process:
        depth, latest = DepthClient(node, process), {}
        for topic in ("/diagnostics", f"/{LATENCY}"):
            node.create_subscription(TOPICS[topic], topic, partial(latest.__setitem__, topic), RELIABLE)
        depth.subscribe("depth/image")
        depth.send_until_published()
        depth.wait(lambda: "latency_ms_p50" in depth.figures)
        latest.clear()
        depth.wait(lambda: depth.send() and len(latest) == 2)
        return latest


@pytest.mark.parametrize("path", PLOTS)
def test_what_is_plotted_is_one_number_of_a_message(path, messages):
    topic = re.match(r"[/\w]+", path).group()
    (value,) = plotted(path, messages[topic])
    assert float(value) > 0.0


def test_single_latencies_are_those_that_their_labels_say(messages):
    stages = messages[f"/{LATENCY}"].layout.dim[0].label.split(",")
    labels = {
        p["value"]: p["label"]
        for panel in panels("Plot")
        for p in panel["paths"]
        if p["value"].startswith(f"/{LATENCY}")
    }
    assert labels
    for path, label in labels.items():
        assert stages[int(re.search(r"\[(\d+)\]", path).group(1))] in label


def test_the_diagnostics_panel_selects_the_nodes_status(messages):
    (panel,) = panels("DiagnosticStatusPanel")
    (status,) = messages["/diagnostics"].status
    assert (panel["selectedName"], panel["selectedHardwareId"]) == (status.name, status.hardware_id)
