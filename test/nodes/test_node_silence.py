"""What keeps a topic silent is said with its cause and what to do about it."""

import re
from contextlib import ExitStack

import pytest
from depth_client import MODULE
from painted_depth import write_model
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_processes import output, ros_context, running_node, wait_for
from sensor_msgs.msg import CompressedImage, Image, LaserScan

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)

# Parameters, remappings, what else is published or asked for (topic, type, QoS), and the sentence.
CASES = {
    "compressed_only": (
        {},
        {},
        ("image/compressed", CompressedImage, RELIABLE),
        "nothing received on /compressed_only/image for .* s: nobody publishes it, but "
        "/compressed_only/image/compressed is published: set image_transport to compressed",
    ),
    "raw_only": (
        {"image_transport": "compressed"},
        {},
        ("image", Image, RELIABLE),
        "nothing received on /raw_only/image/compressed for .* s: nobody publishes it, but /raw_only/image is "
        "published: set image_transport to raw",
    ),
    "another_type": (
        {},
        {"image": "packed"},
        ("packed", CompressedImage, RELIABLE),
        "but this node wants sensor_msgs/msg/Image: set image_transport to compressed, and remap image/compressed to "
        "/another_type/packed instead of image",
    ),
    "another_type_compressed": (
        {"image_transport": "compressed"},
        {"image": "packed"},
        ("packed", CompressedImage, RELIABLE),
        "nobody publishes it, but /another_type_compressed/packed is published: remap image/compressed to "
        "/another_type_compressed/packed instead of image",
    ),
    "named_with_its_transport": (
        {},
        {"image": "camera/compressed"},
        ("camera/compressed", CompressedImage, RELIABLE),
        "this node wants sensor_msgs/msg/Image: remap image to /named_with_its_transport/camera and set "
        "image_transport to compressed",
    ),
    "named_with_its_transport_compressed": (
        {"image_transport": "compressed"},
        {"image": "camera/compressed"},
        ("camera/compressed", CompressedImage, RELIABLE),
        "nothing received on /named_with_its_transport_compressed/camera/compressed for .* s: it has 1 publisher.s., "
        "but none of them sends",
    ),
    "no_reference": (
        {"anchor": "scan"},
        {},
        None,
        "nothing received on /no_reference/anchor/scan for .* s: nobody publishes it; is anchor/scan remapped to the "
        "sensor's topic?",
    ),
    "deaf_reference": (
        {"anchor": "scan", "image_reliability": "reliable"},
        {"anchor/scan": "laser"},
        ("laser", LaserScan, BEST_EFFORT),
        "nothing received on /deaf_reference/laser .* incompatible QoS .*; set image_reliability to best_effort",
    ),
    "unheard": (
        {"output_reliability": "best_effort"},
        {},
        None,  # the test asks for a reliable depth/image
        "New subscription discovered on topic 'depth/image', requesting incompatible QoS",
    ),
}


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Start a node for each case, all at once; gives the test's node, and theirs by name."""
    model = write_model(tmp_path_factory.mktemp("model") / "painted.onnx")
    with ros_context() as node, ExitStack() as ending:
        processes = {}
        for name, (parameters, remappings, published, _) in CASES.items():
            parameters = {"model": model, "threads": 1, "input_timeout": 1.0, **parameters}
            names = {"__ns": f"/{name}", **remappings}
            processes[name] = ending.enter_context(running_node(MODULE, parameters=parameters, remappings=names))
            if published:
                topic, kind, qos = published
                node.create_publisher(kind, f"/{name}/{topic}", qos)
        node.create_subscription(Image, "/unheard/depth/image", lambda _: None, RELIABLE)
        yield node, processes


@pytest.mark.parametrize("name", CASES)
def test_the_cause_is_said(started, name):
    node, processes = started
    wait_for(node, lambda: re.search(CASES[name][3], output(processes[name])), process=processes[name])
