import math
from pathlib import Path

import numpy as np
import pytest
from depth_client import CAMERA, MODULE, DepthClient, picture
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_processes import output, ros_context, start_node, stop
from sensor_msgs.msg import Image

from depth_estimation_ros import DepthEstimator
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import (
    camera_from_info,
    camera_to_info,
    image_to_depth,
    image_to_rgb,
    message_to_cloud,
    rgb_to_image,
)
from depth_estimation_ros.geometry.lens import Lens
from depth_estimation_ros.geometry.rectify import Rectifier

BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
DEFAULTS = {"min_depth": 0.1, "max_depth": 10.0, "depth_encoding": "32FC1", "cloud_resolution": "network"}


@pytest.fixture(scope="module")
def running():
    """Run one node for the tests that leave it as they found it: active, with nobody subscribed."""
    with ros_context() as node:
        process = start_node(
            MODULE, remappings={"__ns": "/robot"}, parameters={"preview_rate": 0.0, "camera_height": 0.5}
        )
        try:
            client = DepthClient(node, process, "/robot")
            client.wait(lambda: client.figures.get("state") == "active")
            yield client
            assert stop(process, timeout=2.0) == 0, output(process)
            assert "Traceback" not in output(process)
        finally:
            process.kill()


@pytest.fixture
def depth(running):
    """Give the shared node with every output subscribed, and check that it accounts for all frames."""
    running.subscribe()
    running.send_until_published()
    yield running
    running.settled()
    running.unsubscribe()


# What it publishes


def test_an_image_becomes_depth_camera_info_cloud_scan_and_preview_of_its_stamp_and_frame(depth):
    header = depth.send()
    depth.wait(lambda: all(depth.result(topic, header) for topic in depth.got))
    image, info, points, scan, scale, preview = (depth.result(topic, header) for topic in depth.got)
    assert {m.header.frame_id for m in (image, info, points, scale, preview)} == {"camera_optical_frame"}
    assert scan.header.frame_id == "base_link"
    assert (image.encoding, image.width, image.height) == ("32FC1", 320, 240)
    assert camera_from_info(info) == CAMERA
    assert image_to_rgb(preview).shape[0] == 240
    estimate = DepthEstimator.load().estimate(picture(), CAMERA)
    np.testing.assert_allclose(image_to_depth(image), estimate.resized(320, 240).depth, rtol=1e-3)
    xyz, _ = message_to_cloud(points)
    kept = np.isfinite(xyz[..., 2])
    np.testing.assert_allclose(xyz[kept][:, 2], estimate.depth[kept], rtol=1e-3)
    assert kept.mean() > 0.8
    assert (scale.vector.x, scale.vector.z) == (1.0, 0.0)  # nothing to anchor it to


def test_depth_is_corrected_for_the_focal_length_of_the_camera(depth):
    far = PinholeCamera(320, 240, 130.0, 130.0, 160.0, 120.0)
    near = PinholeCamera(320, 240, 65.0, 65.0, 160.0, 120.0)
    headers = []
    for camera in (far, near):
        headers.append(depth.send(camera=camera))
        depth.wait(lambda: depth.result("depth/image", headers[-1]))
    first, second = (image_to_depth(depth.result("depth/image", header)) for header in headers)
    both = np.isfinite(first) & np.isfinite(second)
    assert both.any()
    np.testing.assert_allclose(first[both], 2.0 * second[both], rtol=1e-3)


def test_parameters_of_the_next_frame_change_it(depth):
    before = image_to_depth(depth.send_until_published())
    middle = float(np.nanmedian(before))
    values = {"max_depth": middle, "depth_encoding": "16UC1", "cloud_resolution": "camera"}
    assert depth.set(**values).successful
    try:
        header = depth.send()
        depth.wait(lambda: depth.result("depth/image", header) and depth.result("depth/points", header))
        image, points = depth.result("depth/image", header), depth.result("depth/points", header)
        assert (image.encoding, points.width, points.height) == ("16UC1", 320, 240)
        after = image_to_depth(image)
        assert np.nanmax(after) <= middle + 0.001
        assert 0.4 < np.isnan(after).mean() < 0.6
    finally:
        assert depth.set(**DEFAULTS).successful


def test_a_parameter_that_cannot_change_is_refused_with_a_reason(depth):
    assert "model cannot change while the node is active" in depth.set(model="other.onnx").reason
    assert "deactivate the node first" in depth.set(image_reliability="reliable").reason
    assert "min_depth must be less than max_depth" in depth.set(min_depth=9.0, max_depth=3.0).reason
    assert "colour_map must be one of turbo" in depth.set(colour_map="rainbow").reason
    assert "out of range" in depth.set(max_depth=-1.0).reason
    assert "autostart cannot change while the node runs" in depth.set(autostart=False).reason


def test_nothing_is_computed_when_nobody_subscribes(running):
    before = running.settled()
    idle = running.figure("idle")

    def ten_idle():
        running.send()
        return running.figure("idle") >= idle + 10

    running.wait(ten_idle)
    assert running.settled()["received"] == before["received"]


# Bad input: counted with a reason, said once, and the next good frame is published


def broken(**changes) -> Image:
    image = rgb_to_image(picture())
    for name, value in changes.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(broken(height=241), id="data shorter than it says"),
        pytest.param(broken(height=239), id="data longer than it says"),
        pytest.param(Image(encoding="rgb8"), id="zero size"),
        pytest.param(broken(encoding="rgb565"), id="unknown encoding"),
    ],
)
def test_an_image_that_cannot_be_read_fails_and_the_next_one_is_published(depth, image):
    check_one_failure(depth, "image not readable", image=image)


@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_a_camera_info_without_intrinsics_fails_and_the_next_frame_is_published(depth, value):
    info = camera_to_info(CAMERA)
    info.k, info.p = [value] * 9, [value] * 12
    check_one_failure(depth, "camera_info not usable", info=info)


def test_a_camera_info_of_another_size_fails_and_the_next_frame_is_published(depth):
    other = camera_to_info(CAMERA.resized(640, 480))
    check_one_failure(depth, "camera_info of another size", info=other)


def check_one_failure(depth, reason, **bad):
    key = f"failed: {reason}"
    count = int(depth.settled().get(key, 0))
    depth.send(**bad)
    depth.wait(lambda: depth.figure(key) == count + 1)
    assert reason in depth.figures["message"]
    assert "frame not published: " in output(depth.process)
    good = depth.send()
    depth.wait(lambda: depth.result("depth/image", good))


def test_images_may_change_their_size_at_any_time(depth):
    failed = depth.settled()["failed"]
    for width, height in ((160, 120), (321, 241), (320, 240)):
        header = depth.send(camera=CAMERA.resized(width, height))
        depth.wait(lambda h=header: all(depth.result(topic, h) for topic in depth.got))
        image = depth.result("depth/image", header)
        assert (image.width, image.height) == (width, height)
    assert depth.settled()["failed"] == failed


def test_a_lens_with_distortion_is_rectified_and_that_is_said_once(depth):
    lens = Lens(CAMERA, "plumb_bob", (-0.3, 0.1, 0.0, 0.0, 0.0))
    for _ in range(3):
        info = camera_to_info(CAMERA)
        info.d, info.p = list(lens.coefficients), [0.0] * 12
        header = depth.send(info=info)
        depth.wait(lambda h=header: all(depth.result(topic, h) for topic in ("depth/image", "depth/camera_info")))
    published = depth.result("depth/camera_info", header)
    assert camera_from_info(published) == lens.rectified and not any(published.d)
    rectified = Rectifier(lens, lens.rectified)(picture())
    expected = DepthEstimator.load().estimate(rectified, lens.rectified).resized(320, 240).depth
    found = image_to_depth(depth.result("depth/image", header))
    assert np.nanmedian(np.abs(found / expected - 1)) < 0.02
    assert output(depth.process).count("are rectified; the parameter distortion can say otherwise") == 1


# The lifecycle


def test_transitions_that_are_impossible_are_refused_and_the_node_lives_on(depth):
    assert not depth.change_state("activate")
    assert not depth.change_state("configure")
    header = depth.send()
    depth.wait(lambda: depth.result("depth/image", header))


def test_twenty_rounds_through_the_lifecycle_leave_nothing_behind(depth):
    def resources():
        proc = Path(f"/proc/{depth.process.pid}")
        return len(list((proc / "task").iterdir())), len(list((proc / "fd").iterdir()))

    def round_trip():
        for transition in ("deactivate", "cleanup", "configure", "activate"):
            depth.send()
            assert depth.change_state(transition), output(depth.process)

    round_trip()
    depth.send_until_published()  # libraries start threads when they are first of use
    before = resources()
    for _ in range(20):
        round_trip()
    assert resources() == before
    depth.send_until_published()


def test_frames_in_hand_are_accounted_for_when_the_node_is_deactivated(depth):
    received = depth.figure("received")
    for _ in range(20):
        depth.send()
    assert depth.change_state("deactivate")
    assert int(depth.settled()["received"]) > received
    assert depth.figures["message"] == "inactive"
    assert depth.change_state("activate")
    depth.send_until_published()
