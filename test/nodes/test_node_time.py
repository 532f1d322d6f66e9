"""Stamps as cameras, bags and simulations give them: late, of another time, none, of a clock that is not the wall's."""

import itertools

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from painted_depth import CAMERA, painted_node, painting
from ros_processes import output, stop
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header

from depth_estimation_ros.conversions import image_to_depth


def stamp(seconds: float) -> Time:
    return Time(sec=int(seconds), nanosec=int(1e9 * (seconds % 1.0)))


class Camera:
    """Sends frames of stamps that the test chooses to a depth node."""

    def __init__(self, client):
        self.client = client
        client.subscribe("depth/image")
        client.send_until_published(image=painting(2.0), camera=CAMERA)
        client.settled()

    def send(self, seconds: float, depth=2.0) -> Header:
        self.client.header = lambda: Header(frame_id="camera", stamp=stamp(seconds))
        return self.client.send(image=painting(depth), camera=CAMERA)

    def published(self, seconds: float, depth=2.0) -> float:
        """Send a frame and return the depth that is published for it."""
        self.client.got["depth/image"].clear()
        header = self.send(seconds, depth)
        self.client.wait(lambda: self.client.result("depth/image", header))
        return float(np.nanmean(image_to_depth(self.client.result("depth/image", header))))


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    with painted_node(tmp_path_factory.mktemp("model"), "/stamped", image_reliability="reliable") as client:
        yield Camera(client)


def test_an_image_that_comes_late_is_passed_over_and_counted(camera):
    now = 1e-9 * camera.client.node.get_clock().now().nanoseconds
    assert camera.published(now) == pytest.approx(2.0, abs=0.01)
    before = camera.client.settled()
    late = camera.send(now - 0.5, depth=5.0)
    assert camera.published(now + 0.1, depth=3.0) == pytest.approx(3.0, abs=0.01)
    after = camera.client.settled()
    assert camera.client.result("depth/image", late) is None
    assert int(after["superseded"]) == int(before["superseded"]) + 1
    assert int(after["received"]) == int(before["received"]) + 2
    camera.send(now - 0.4)
    camera.published(now + 0.2)
    assert output(camera.client.process).count("an image is older than the one before it") == 1


def test_a_bag_that_is_played_over_and_over_is_processed_every_time(camera):
    start = 1e-9 * camera.client.node.get_clock().now().nanoseconds - 100.0
    before = camera.client.settled()
    jumps = output(camera.client.process).count("time has jumped back by ")
    for round in range(3):
        for moment in np.arange(0.0, 3.0, 0.5):
            depth = 2.0 + round + 0.1 * moment
            assert camera.published(start + moment, depth) == pytest.approx(depth, abs=0.01)
    after = camera.client.settled()
    assert int(after["published"]) == int(before["published"]) + 18 and after["superseded"] == before["superseded"]
    assert output(camera.client.process).count("time has jumped back by ") == jumps + 3


def test_images_without_stamps_are_processed_and_that_is_said_once(camera):
    for depth in (2.0, 3.0, 4.0):
        assert camera.published(0.0, depth) == pytest.approx(depth, abs=0.01)
    assert output(camera.client.process).count("images have no stamps") == 1


def test_stamps_of_another_clock_are_said_with_what_to_do(camera):
    now = 1e-9 * camera.client.node.get_clock().now().nanoseconds
    sentence = "s before the node's time: set use_sim_time and play the bag with --clock"
    camera.client.wait(lambda: camera.published(now - 5e6) and sentence in camera.client.figures["message"])
    assert camera.client.figures["level"] == DiagnosticStatus.WARN
    assert sentence in output(camera.client.process)
    camera.client.wait(lambda: camera.published(now) and camera.client.figures["level"] == DiagnosticStatus.OK)


def test_simulated_time_is_what_diagnostics_and_latency_go_by_also_when_it_jumps_back_or_stands_still(tmp_path):
    with painted_node(tmp_path, "/simulated", use_sim_time=True, input_timeout=0.5) as client:
        clocks = client.node.create_publisher(Clock, "/clock", 10)
        stamps = []
        client.node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: stamps.append(m.header.stamp), 10)
        camera = Camera(client)

        def play(seconds):
            clocks.publish(Clock(clock=stamp(seconds)))
            return camera.published(seconds)

        def follows(start):
            """Play from a time on until diagnostics come with stamps of it."""
            moments = itertools.count(start, 0.05)
            stamps.clear()
            client.wait(lambda: play(next(moments)) and any(start <= s.sec <= start + 600 for s in stamps))

        follows(1000.0)
        client.wait(lambda: client.figures["level"] == DiagnosticStatus.OK)
        follows(200.0)  # the bag starts anew
        assert "time has jumped back by" in output(client.process)
        # Nobody plays any more: time stands still, and the silence is noticed all the same.
        client.wait(lambda: "nothing received on /simulated/image" in client.figures.get("message", ""))
        follows(300.0)
        client.wait(lambda: client.figures["level"] == DiagnosticStatus.OK)


def test_simulated_time_that_nobody_publishes_is_said_and_no_latency_is_made_of_it(tmp_path):
    with painted_node(tmp_path, "/timeless", use_sim_time=True) as client:
        camera = Camera(client)
        sentence = "the node's time stands still: nobody publishes /clock"
        client.wait(lambda: camera.published(1000.0) and sentence in client.figures["message"])
        assert stop(client.process) == 0
        printed = output(client.process)
        assert "inference p50" in printed and "latency p50" not in printed
        assert "s after the node's time" not in printed
