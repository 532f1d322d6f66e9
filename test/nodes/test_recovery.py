"""Camera or node is killed, or restarted: depth comes again by itself, and the diagnostics say what happened."""

import contextlib
import os
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: requirements/ros2-jazzy.txt")
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import QoSProfile
from ros_processes import output, ros_context, running_node, stop, wait_for
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2

NODE, CAMERA = "depth_estimation_ros.nodes.depth_estimation", "depth_estimation_ros.nodes.synthetic_camera"
RATE = 10.0
MOUNT = {"camera_height": 1.3, "camera_pitch": 0.16}
BOUND = 50
"""Images of a camera, from the first that anybody could see, until there must be depth of one."""


def kill(process):
    """End a process by force, as the kernel does when memory is short, and remove the memory that it shared.

    Fast DDS cannot do the latter then: each killed process would leave its 67 MB in /dev/shm until the next start of
    the machine. The owner of a segment is who holds its lock file open; those of ports are used again.
    """
    links = [os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
    segments = [Path(link) for link in links if link.startswith("/dev/shm/fast") and "_port" not in link]
    assert segments, "the process has no shared memory of its own"
    process.kill()
    process.wait()
    for lock in segments:
        lock.unlink(missing_ok=True)
        Path(str(lock).removesuffix("_el")).unlink(missing_ok=True)


def restart(process):
    assert stop(process) == 0, output(process)


class Observer:
    """Listens to camera and node."""

    def __init__(self, node):
        self.node, self.infos, self.figures = node, [], {}
        self.depths, self.points, self.scans = [], [], []
        qos = QoSProfile(depth=50)
        wanted = {"camera_info": (CameraInfo, self.infos), "depth/image": (Image, self.depths)}
        wanted |= {"depth/points": (PointCloud2, self.points), "depth/scan": (LaserScan, self.scans)}
        for topic, (kind, messages) in wanted.items():
            node.create_subscription(kind, topic, messages.append, qos)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _on_diagnostics(self, message):
        status = message.status[0]
        self.figures = {pair.key: pair.value for pair in status.values}
        self.figures |= {"level": status.level, "message": status.message}

    def forget(self):
        """Begin a new count."""
        for messages in (self.infos, self.depths, self.points, self.scans):
            messages.clear()
        self.figures = {}

    def wait(self, condition, process, timeout=60.0):
        try:
            wait_for(self.node, condition, timeout, process)
        except AssertionError as error:
            raise AssertionError(f"{error}\nlast diagnostics: {self.figures}") from None

    def depth_again(self, process):
        """Wait for depth, cloud and scan of images that were published after `forget`."""
        seen = set()

        def all_of_one_image():
            seen.update(stamp(message) for message in self.infos)
            there = [{stamp(m) for m in got} for got in (self.depths, self.points, self.scans)]
            return set.intersection(seen, *there)

        self.wait(all_of_one_image, process)
        number = sorted(seen).index(min(all_of_one_image()))
        print(f"depth of image number {number}")
        assert number < BOUND

    def all_is_well(self, process):
        """Wait for diagnostics that say so."""
        self.wait(lambda: "frames a second" in self.figures.get("message", ""), process)
        counts = {name: int(self.figures[name]) for name in ("received", "published", "superseded", "pending")}
        assert self.figures["level"] == DiagnosticStatus.OK
        assert counts["received"] == counts["published"] + counts["superseded"] + counts["pending"]
        assert self.figures["failed"] == "0"


def stamp(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


@pytest.fixture
def scene():
    """Start a camera of a size; a node; and somebody who watches both."""
    with ros_context() as observer, contextlib.ExitStack() as ending:

        def camera(width, height):
            size = {"width": width, "height": height, "rate": RATE}
            return ending.enter_context(running_node(CAMERA, parameters={**MOUNT, **size}))

        def node():
            # Reliable, so that a peer that died would hold the other one up if anything could.
            parameters = {**MOUNT, "threads": 1, "input_timeout": 1.0, "image_reliability": "reliable"}
            return ending.enter_context(running_node(NODE, parameters=parameters))

        yield camera, node, Observer(observer)


@pytest.mark.parametrize("end", [kill, restart])
def test_the_node_outlives_its_camera(scene, end):
    start_camera, start_node, observer = scene
    node, first = start_node(), start_camera(320, 240)
    observer.depth_again(node)
    observer.all_is_well(node)
    end(first)
    observer.wait(lambda: "nothing received on /image" in observer.figures.get("message", ""), node)
    assert observer.figures["level"] == DiagnosticStatus.WARN
    observer.forget()
    start_camera(160, 120)  # another one, even
    observer.depth_again(node)
    assert observer.depths[-1].width == 160
    observer.all_is_well(node)
    assert "nothing received on /image" in output(node)
    assert stop(node) == 0


@pytest.mark.parametrize("end", [kill, restart])
def test_the_camera_outlives_the_node_and_a_new_one_takes_over(scene, end):
    start_camera, start_node, observer = scene
    camera, first = start_camera(320, 240), start_node()
    observer.depth_again(first)
    end(first)
    observer.forget()
    observer.wait(lambda: len(observer.infos) >= 10, camera)  # it goes on
    second = start_node()
    observer.wait(lambda: observer.figures.get("state") == "active", second)
    observer.forget()  # from here, frames are counted
    observer.depth_again(second)
    observer.all_is_well(second)
    assert stop(second) == 0 and stop(camera) == 0
