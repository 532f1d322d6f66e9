"""The scale anchor in the running node: what it makes of each kind of reference, of wrong ones and of lost ones."""

import math
from itertools import pairwise

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from painted_depth import CAMERA, painted_node, painting
from ros_processes import output
from sensor_msgs.msg import LaserScan, PointCloud2, Range
from std_msgs.msg import Header

from depth_estimation_ros.conversions import cloud_to_message, image_to_depth
from depth_estimation_ros.geometry.pose import camera_pose, directions

FACTOR = 1.3
"""By which the network's depth is too short."""

HOLD, RELEASE = 0.3, 2.0
INITIAL = {
    "anchor": "points",
    "anchor_correction": "auto",
    "anchor_hold": HOLD,
    "anchor_release": RELEASE,
    "camera_height": 0.0,
    "camera_pitch": 0.0,
    "image_reliability": "reliable",
    "max_depth": 50.0,
}
# Some wall that runs away from the camera, with bumps.
U, V = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
TRUTH = 2.0 + 0.02 * U + 0.2 * np.sin(0.2 * V)


class Timeline:
    """A depth node that is fed with images and references of stamps that the test chooses."""

    def __init__(self, client):
        self.client, self.node, self.anchor = client, client.node, "points"
        self.now = 1e-9 * self.node.get_clock().now().nanoseconds
        client.header = self.header
        types = {"scan": LaserScan, "points": PointCloud2, "range": Range}
        self._references = {
            name: self.node.create_publisher(kind, f"{client.namespace}/anchor/{name}", 10)
            for name, kind in types.items()
        }

    def header(self, frame="camera_optical_frame", age=0.0) -> Header:
        moment = self.now - age
        return Header(frame_id=frame, stamp=Time(sec=int(moment), nanosec=int(1e9 * (moment % 1.0))))

    def switch(self, **parameters) -> None:
        """Go to another time, in which nothing that was counts, with these parameters and otherwise `INITIAL`."""
        values = {**INITIAL, **parameters}
        if values["anchor"] != self.anchor:
            assert self.client.change_state("deactivate")
        assert self.client.set(**values).successful
        if values["anchor"] != self.anchor:
            assert self.client.change_state("activate")
        self.anchor = values["anchor"]
        self.now -= 3600.0

    def refer(self, reference=None, frame="camera_optical_frame", age=0.0) -> None:
        """Publish a reference, if there is one."""
        if reference is not None:
            reference.header = self.header(frame, age)
            kind = {LaserScan: "scan", PointCloud2: "points", Range: "range"}[type(reference)]
            self._references[kind].publish(reference)

    def step(self, seconds=0.1, depth=TRUTH / FACTOR, reference=None, **about):
        """Let time pass, publish a reference and an image, and return the scale and the depth."""
        self.now += seconds
        self.refer(reference, **about)
        header = self.client.send(image=painting(depth), camera=CAMERA)
        self.client.wait(lambda: all(self.client.result(t, header) for t in ("depth/scale", "depth/image")), 2.0)
        return (
            self.client.result("depth/scale", header).vector,
            image_to_depth(self.client.result("depth/image", header)),
        )

    def anchored(self, reference, depth=TRUTH / FACTOR, **about):
        """Step until a reference is met, as discovery takes its time, and followed; returns the scale and the depth."""
        self.client.send_until_published("depth/scale", image=painting(depth), camera=CAMERA)
        self.client.wait(lambda: self.step(0.05, depth, reference, **about)[0].z > 0.0)
        # Rarer than HOLD: each image has its reference all the same, so that nothing is lost between two of them.
        return [self.step(0.5, depth, reference, **about) for _ in range(20)][-1]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with painted_node(tmp_path_factory.mktemp("model"), "/anchored", **INITIAL) as client:
        client.subscribe("depth/scale", "depth/image")
        yield Timeline(client)


@pytest.fixture
def node(running):
    """Give the node as it was at first."""
    running.switch()
    return running


def cloud(truth=TRUTH, count=60, wrong=0.0) -> PointCloud2:
    """Return true points spread over the image, a share of them anywhere but where they should be."""
    rng = np.random.default_rng(0)
    v, u = rng.integers(2, CAMERA.height - 2, count), rng.integers(2, CAMERA.width - 2, count)
    z = truth[v, u].copy()
    liars = rng.permutation(count)[: round(wrong * count)]
    z[liars] = rng.uniform(0.5, 8.0, len(liars))
    points = np.stack([(u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z, np.zeros(count)], axis=-1)
    return cloud_to_message(points[None].astype(np.float32))


def error(depth, truth=TRUTH) -> float:
    return float(np.nanmedian(np.abs(depth / truth - 1.0)))


# Kinds of references


def test_points_correct_the_scale_and_the_depth_and_the_diagnostics_say_so(node):
    scale, depth = node.step()
    assert (scale.x, scale.z) == (1.0, 0.0) and error(depth) == pytest.approx(1 - 1 / FACTOR, abs=0.01)
    scale, depth = node.anchored(cloud())
    assert scale.x == pytest.approx(FACTOR, rel=0.03)
    assert 0.0 < scale.y < 0.1 and scale.z > 0.5
    assert error(depth) < 0.01
    node.client.wait(lambda: node.step(reference=cloud()) and node.client.figures.get("anchor") == "anchored")
    assert node.client.figures["anchor_points"] == "60" and float(node.client.figures["anchor_confidence"]) > 0.5
    assert float(node.client.figures["anchor_scale"]) == pytest.approx(FACTOR, rel=0.03)


def test_a_third_of_the_points_may_be_wrong(node):
    scale, depth = node.anchored(cloud(wrong=1 / 3))
    assert scale.x == pytest.approx(FACTOR, rel=0.05)
    assert error(depth) < 0.03


def test_what_is_wrong_by_another_factor_here_and_there_is_corrected_by_a_field_not_by_one_scale(node):
    truth = TRUTH / FACTOR * np.linspace(1.0, 1.6, CAMERA.width)
    found = {}
    for correction in ("field", "scale"):
        node.switch(anchor_correction=correction)
        found[correction] = error(node.anchored(cloud(truth))[1], truth)
    assert found["field"] < 0.03 < 0.08 < found["scale"]


def wall_ahead() -> np.ndarray:
    """Return the depth of a wall square to the camera."""
    return np.full((CAMERA.height, CAMERA.width), 2.6)


def test_a_scan_in_the_base_frame_needs_no_tf_where_the_camera_height_is_set(node):
    node.switch(anchor="scan", camera_height=0.3)
    bearings = np.linspace(-0.5, 0.5, 51)
    # Some drivers send an infinite range_max.
    scan = LaserScan(angle_min=-0.5, angle_max=0.5, angle_increment=0.02, range_min=0.1, range_max=math.inf)
    scan.ranges = (2.6 / np.cos(bearings)).astype(np.float32).tolist()
    scan.ranges[5], scan.ranges[6], scan.ranges[7] = math.inf, math.nan, -math.inf
    scale, depth = node.anchored(scan, wall_ahead() / FACTOR, frame="base_link")
    assert scale.x == pytest.approx(FACTOR, rel=0.03)
    assert error(depth, 2.6) < 0.03


def test_a_range_sensor_corrects_the_scale_and_out_of_its_limits_it_says_nothing(node):
    node.switch(anchor="range", camera_height=0.3)
    reading = Range(radiation_type=Range.ULTRASOUND, field_of_view=0.2, min_range=0.1, max_range=4.0, range=2.6)
    steps = {"depth": wall_ahead() / FACTOR, "reference": reading, "frame": "base_link"}
    scale, depth = node.anchored(**steps)
    assert scale.x == pytest.approx(FACTOR, rel=0.03)
    assert error(depth, 2.6) < 0.03
    # REP 117; no reason to believe in another scale, nor to jump.
    for reading.range, reading.max_range in ((math.inf, 4.0), (9.0, 4.0), (math.inf, math.inf)):
        node.now += 1.0
        later, _ = node.step(0.05, **steps)
        assert 1.0 < later.x < scale.x and later.z < scale.z
        scale = later


def test_the_floor_corrects_the_scale_where_the_height_of_the_camera_is_known(node):
    height, pitch = 1.0, 0.4
    node.switch(anchor="floor", camera_height=height, camera_pitch=pitch)
    down = -directions(CAMERA, camera_pose(height, pitch))[2]
    truth = np.minimum(height / np.maximum(down, 1e-3), 4.0)
    scale, depth = node.anchored(None, truth / 1.25)
    assert scale.x == pytest.approx(1.25, rel=0.05)
    assert error(depth, truth) < 0.05


# When it is not there, or not of this image


def test_a_lost_reference_is_held_and_then_given_up_without_a_jump_and_comes_back_without_one(node):
    first, _ = node.anchored(cloud())
    scales = [first.x]
    for _ in range(60):
        scale, depth = node.step()
        scales.append(scale.x)
        assert error(depth, TRUTH * scale.x / FACTOR) < 0.03, "depth goes with the scale"
    held = scales[: int(HOLD / 0.1)]
    assert max(held) - min(held) < 0.02
    slowest = FACTOR ** (0.1 / RELEASE)
    assert all(1.0 - 1e-3 < before / after < 1.01 * slowest for before, after in pairwise(scales))
    assert scales[-1] < 1.03 and scale.z < 0.1 and scale.y > first.y
    again = [scales[-1]] + [node.step(0.02, reference=cloud())[0].x for _ in range(60)]
    # The smoothing of points is 0.3 s: a step of 0.02 s is at most a fifteenth of the way.
    assert max(after / before for before, after in pairwise(again)) < FACTOR**0.08
    assert again[-1] == pytest.approx(FACTOR, rel=0.03)


def test_time_that_jumps_back_forgets_the_scale_of_the_other_time(node):
    node.anchored(cloud())
    node.now -= 5.0
    scale, _ = node.step()
    assert (scale.x, scale.z) == (1.0, 0.0)
    assert "time has jumped back by" in output(node.client.process)
    assert node.anchored(cloud())[0].x == pytest.approx(FACTOR, rel=0.03)


def complains(node, sentence, **step):
    """Whether the diagnostics and the log come to say something."""
    node.client.wait(lambda: node.step(0.01, **step) and sentence in node.client.figures.get("message", ""))
    assert node.client.figures["level"] == b"\x01"
    assert "depth is not anchored" in output(node.client.process)


def test_a_reference_of_another_clock_is_not_taken_and_that_is_said(node):
    node.client.send_until_published("depth/scale", image=painting(TRUTH), camera=CAMERA)
    complains(node, "the nearest message of the anchor is 3.0 s before the image", reference=cloud(), age=3.0)
    assert node.step(reference=cloud(), age=3.0)[0].z == 0.0


def test_a_reference_out_of_the_view_is_said_with_its_frame(node):
    reference = cloud()
    behind = cloud_to_message(np.full((1, 5, 4), -2.0, np.float32))
    complains(node, "is their frame 'camera_optical_frame'?", reference=behind)
    assert node.anchored(reference)[0].x == pytest.approx(FACTOR, rel=0.03)


def test_a_cloud_that_cannot_be_read_is_said_and_the_frame_is_published_as_it_is(node):
    broken = cloud()
    broken.width += 1
    complains(node, "does not fit its", reference=broken)
    assert error(node.step(reference=broken)[1]) == pytest.approx(1 - 1 / FACTOR, abs=0.01)


def test_images_and_references_without_stamps_count_as_of_now(node):
    node.client.header = lambda frame="camera_optical_frame", age=0.0: Header(frame_id=frame)
    real, node.header = node.header, lambda frame="camera_optical_frame", age=0.0: Header(frame_id=frame)
    try:
        images = node.client.got["depth/scale"]

        def scale(reference=None):
            images.clear()
            node.refer(reference)
            node.client.send(image=painting(TRUTH / FACTOR), camera=CAMERA)
            node.client.wait(lambda: images)
            return images[-1].vector

        node.client.wait(lambda: scale(cloud()).z > 0.5)
        assert scale(cloud()).x == pytest.approx(FACTOR, rel=0.03)
        # Once the sensor is silent its last message is not taken for ever.
        node.client.wait(lambda: scale() and "s before the image" in node.client.figures.get("message", ""))
    finally:
        node.client.header = node.header = real
