"""Child processes with a client: what ends early is named, and nothing outlives the stage."""

from __future__ import annotations

import os
import signal
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: requirements/ros2-jazzy.txt")

from ros_processes import ros_environment
from sensor_msgs.msg import CameraInfo

from depth_estimation_ros.processes.client import Client
from depth_estimation_ros.processes.stage import Stage, StageError

CAMERA = "depth_estimation_ros.nodes.synthetic_camera"
SOURCE = "depth_estimation_ros.nodes.image_source"


class Listener(Client):
    def __init__(self):
        super().__init__("listener")
        self.infos = []
        self.create_subscription(CameraInfo, "camera_info", self.infos.append, 10)


@pytest.fixture(autouse=True)
def domain(monkeypatch):
    for name, value in ros_environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def defaults():
    """Set the handlers that Python sets, and those of earlier tests again in the end."""
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("defaults")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_processes_are_heard_and_end_with_the_stage(tmp_path, ending):
    with pytest.raises(KeyboardInterrupt), Stage(tmp_path, Listener) as stage:
        for name, width in (("one", 320), ("two", 640)):
            stage.start(name, CAMERA, {"width": width, "height": 240, "rate": 20.0})
        assert stage.spin(60.0, lambda: {info.width for info in stage.client.infos} == {320, 640})
        assert not stage.spin(0.2) and stage.is_running("one")
        assert stage.stop("two") == 0
        assert not stage.spin(0.2), "a process that was stopped is no failure"
        os.kill(os.getpid(), ending)
        time.sleep(10)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert [process.returncode for process in stage.processes.values()] == [0, 0]
    assert {path.name for path in tmp_path.iterdir()} == {"one.log", "two.log"}


def test_a_process_that_ends_by_itself_is_named_with_the_last_line_of_its_log(tmp_path):
    with Stage(tmp_path, Listener) as stage:
        stage.start("camera", SOURCE, {"source": "/nowhere"}, may_end=True)
        with pytest.raises(StageError, match=r"^the camera failed: .*'/nowhere' does not exist"):
            stage.spin(60.0)


def test_the_program_words_the_end_of_a_process(tmp_path):
    with Stage(tmp_path, Listener, "the {name} ended with exit code {code}; see {name}.log") as stage:
        stage.start("camera", SOURCE, {"source": "/nowhere"})
        with pytest.raises(StageError, match=r"^the camera ended with exit code 1; see camera\.log$"):
            stage.spin(60.0)
