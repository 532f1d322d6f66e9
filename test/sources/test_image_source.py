"""The image source as a process of its own: folders, videos and bags become a camera."""

import os
import signal
import subprocess
import sys
from itertools import pairwise

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
from ros_processes import output, ros_context, ros_environment, running_node, stop, wait_for
from sensor_msgs.msg import CameraInfo, Image
from test_sources import BARREL, CAMERA, RAW, RECTIFIED, BagWriter, picture, save, write_distorted

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import camera_from_info, image_to_depth, image_to_rgb

SOURCE = "depth_estimation_ros.nodes.image_source"


class Observer:
    """Collects what an image source publishes."""

    def __init__(self, node):
        self.images, self.infos, self.depths, self.depth_infos = [], [], [], []
        # camera_info and depth first: the source waits for a subscriber of the image.
        node.create_subscription(CameraInfo, "camera_info", self.infos.append, 50)
        node.create_subscription(CameraInfo, "ground_truth/camera_info", self.depth_infos.append, 50)
        node.create_subscription(Image, "ground_truth/depth", self.depths.append, 50)
        node.create_subscription(Image, "image", self.images.append, 50)

    @property
    def reds(self):
        return [int(image_to_rgb(message)[0, 0, 0]) for message in self.images]


def play(parameters, until):
    """Run an image source until ``until(observer)`` holds; return the observer, exit code and log."""
    with ros_context() as node:
        observer = Observer(node)
        with running_node(SOURCE, parameters=parameters) as source:
            wait_for(node, lambda: until(observer), process=source)
            # With the messages here, the end of the source or Ctrl-C is all that is left.
            code = stop(source) if parameters.get("loop") else source.wait(20)
            return observer, code, output(source)


def test_every_image_of_a_folder_arrives_in_order_and_the_node_ends(tmp_path):
    for number in range(1, 13):
        save(tmp_path / f"{number}.png", picture(number))
    observer, code, log = play({"source": str(tmp_path), "rate": 50.0}, lambda o: len(o.images) == 12)
    assert observer.reds == list(range(1, 13))
    assert code == 0
    assert "published 12 images" in log


def test_a_terminal_that_closes_ends_the_source_unless_nohup_keeps_it(tmp_path):
    save(tmp_path / "1.png", picture(1))
    parameters, codes = {"source": str(tmp_path), "rate": 50.0, "loop": True}, []
    with ros_context() as node:
        for number, handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGTERM, signal.SIG_IGN)):
            observer, before = Observer(node), signal.signal(signal.SIGHUP, handler)  # as the source inherits it
            with running_node(SOURCE, parameters=parameters) as source:
                signal.signal(signal.SIGHUP, before)
                wait_for(node, lambda o=observer: o.images, process=source)
                source.send_signal(signal.SIGHUP)
                if handler == signal.SIG_IGN:
                    observer.images.clear()
                    wait_for(node, lambda o=observer: len(o.images) > 10, process=source)
                    source.send_signal(number)
                codes.append(source.wait(10))
    assert codes == [0, 0]


def test_a_folder_with_depth_publishes_truth_of_the_same_stamp(tmp_path):
    for number in (1, 2, 3):
        save(tmp_path / "rgb" / f"{number}.png", picture(number))
        save_depth = np.full((24, 32), 1000 * number, np.uint16)
        (tmp_path / "depth").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "depth" / f"{number}.png"), save_depth)
    # With the loop the truth cannot be missed while its subscription is being matched.
    observer, code, _ = play(
        {"source": str(tmp_path), "rate": 20.0, "loop": True},
        lambda o: len(o.depths) >= 4 and len(o.images) >= 6,
    )
    reds = {
        (m.header.stamp.sec, m.header.stamp.nanosec): r for m, r in zip(observer.images, observer.reds, strict=True)
    }
    pairs = [(reds.get((m.header.stamp.sec, m.header.stamp.nanosec)), m) for m in observer.depths]
    pairs = [(red, image_to_depth(m)[0, 0]) for red, m in pairs if red is not None]
    assert len(pairs) >= 3
    assert all(metres == pytest.approx(red) for red, metres in pairs)
    assert code == 0


@pytest.mark.parametrize(
    ("parameters", "camera"),
    [
        ({"fx": 30.0, "fy": 31.0, "cx": 14.0, "cy": 13.0}, PinholeCamera(32, 24, 30.0, 31.0, 14.0, 13.0)),
        ({"fx": 30.0, "fy": 31.0}, PinholeCamera(32, 24, 30.0, 31.0, 15.5, 11.5)),
        ({"horizontal_fov": 1.2}, PinholeCamera.from_fov(32, 24, 1.2)),
    ],
)
def test_intrinsics_come_from_the_parameters(tmp_path, parameters, camera):
    save(tmp_path / "a.png", picture(1))
    parameters |= {"source": str(tmp_path / "a.png"), "loop": True, "frame_id": "left_eye", "rate": 20.0}
    observer, _, _ = play(parameters, lambda o: o.infos and o.images)
    assert camera_from_info(observer.infos[0]) == camera
    assert observer.infos[0].header.frame_id == observer.images[0].header.frame_id == "left_eye"


def test_unknown_intrinsics_are_announced_as_unknown(tmp_path):
    save(tmp_path / "a.png", picture(1))
    parameters = {"source": str(tmp_path / "a.png"), "loop": True, "rate": 20.0}
    observer, _, log = play(parameters, lambda o: len(o.infos) > 2)
    assert (observer.infos[0].width, observer.infos[0].height) == (32, 24)
    assert not observer.infos[0].k.any()
    assert log.count("intrinsics are not known") == 1


def test_a_bag_keeps_its_stamps_when_asked_to_and_else_gets_new_ones(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for index in range(4):
            bag.image("/camera/image", 100.0 + index / 16, picture(index), "rgb8")
            bag.info("/camera/camera_info", 100.0 + index / 16, CAMERA)
    parameters = {"source": str(tmp_path / "run"), "restamp": False}
    observer, code, _ = play(parameters, lambda o: len(o.images) == 4)
    assert [(m.header.stamp.sec, m.header.stamp.nanosec) for m in observer.images] == [
        (100, index * 62_500_000) for index in range(4)
    ]
    assert observer.reds == [0, 1, 2, 3]
    assert camera_from_info(observer.infos[-1]) == CAMERA
    assert code == 0
    observer, _, _ = play(parameters | {"restamp": True}, lambda o: len(o.images) == 4)
    assert all(message.header.stamp.sec > 1_000_000_000 for message in observer.images)


def test_a_bag_keeps_its_lens_and_depth_is_that_of_the_rectified_image(tmp_path):
    image, _ = write_distorted(tmp_path / "run")
    observer, _, _ = play(
        {"source": str(tmp_path / "run"), "loop": True}, lambda o: o.images and o.depths and o.depth_infos
    )
    assert (image_to_rgb(observer.images[0]) == image).all()
    info = observer.infos[0]
    assert (info.distortion_model, tuple(info.d)) == ("plumb_bob", BARREL)
    assert (info.k[0], info.p[0]) == (RAW.fx, RECTIFIED.fx) and tuple(info.r) == tuple(np.eye(3).ravel())
    assert info.header.frame_id == observer.images[0].header.frame_id == "lens"
    assert camera_from_info(observer.depth_infos[0]) == RECTIFIED and not any(observer.depth_infos[0].d)
    _, columns = np.nonzero(image_to_depth(observer.depths[0]) < 3)
    assert (columns.mean() - RECTIFIED.cx) / RECTIFIED.fx == pytest.approx(0.5, abs=0.01)


def test_intrinsics_of_the_user_replace_those_of_a_bag(tmp_path):
    image, depth = write_distorted(tmp_path / "run")
    parameters = {"source": str(tmp_path / "run"), "loop": True, "fx": 90.0, "fy": 91.0, "frame_id": "mine"}
    observer, _, _ = play(parameters, lambda o: o.depths and o.images)
    assert camera_from_info(observer.infos[0]) == PinholeCamera(160, 120, 90.0, 91.0, 79.5, 59.5)
    assert not any(observer.infos[0].d) and observer.infos[0].header.frame_id == "mine"
    assert (image_to_rgb(observer.images[0]) == image).all() and (image_to_depth(observer.depths[0]) == depth).all()


def test_a_video_starts_again_when_looped_and_ctrl_c_ends_it(tmp_path):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (64, 48))
    for value in (20, 220):
        writer.write(picture(value, (48, 64))[..., ::-1].copy())
    writer.release()
    observer, code, _ = play({"source": str(path), "loop": True}, lambda o: len(o.images) >= 6)
    bright = [red > 120 for red in observer.reds]
    assert all(now != after for now, after in pairwise(bright))
    assert code == 0


def test_it_waits_for_a_subscriber_and_ctrl_c_ends_the_waiting(tmp_path):
    save(tmp_path / "a.png", picture(1))
    with ros_context() as node, running_node(SOURCE, parameters={"source": str(tmp_path)}) as source:
        wait_for(node, lambda: "waiting for 1 to subscribe to /image" in output(source), process=source)
        assert stop(source) == 0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: {"source": str(p / "missing")}, "does not exist"),
        (lambda p: {"source": str(p)}, "holds no images"),
        (lambda p: {"source": "98"}, "webcam 98 cannot be opened"),
        (lambda p: {"source": 98}, "webcam 98 cannot be opened"),  # what a shell makes of source:=98
        (lambda p: {}, "no source given"),
        (lambda p: {"source": str(p), "fx": 30.0}, "fx and fy belong together"),
        (lambda p: {"source": str(p), "rate": -1.0}, "parameter rate must be"),
        (lambda p: {"source": str(p), "frame_id": "/camera"}, "frame_id must not begin with '/'"),
        (
            lambda p: (
                save(p / "b.txt.png", picture(1)),
                {"source": str(p / "b.txt.png"), "depth_scale": 0.0},
            )[1],
            "depth_scale",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_1(tmp_path, make, sentence):
    with running_node(SOURCE, parameters=make(tmp_path)) as source:
        assert source.wait(30) == 1
        lines = [line for line in output(source).splitlines() if line.startswith("image_source: ")]
        assert "Traceback" not in output(source)
    assert len(lines) == 1 and sentence in lines[0]


def in_the_c_locale(*arguments):
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    line = [sys.executable, "-m", SOURCE, "--ros-args", "-p", "wait_for_subscribers:=0", *arguments]
    return subprocess.run(line, capture_output=True, env={**os.environ, **ros_environment(), **environment}, timeout=60)


def test_names_of_files_do_not_depend_on_the_locale(tmp_path):
    folder = tmp_path / "B\u00fccher"
    save(folder / "1.png", picture(1))
    done = in_the_c_locale("-p", f'source:="{folder}"', "-p", "horizontal_fov:=1.0")
    assert done.returncode == 0 and f"publishing 1 images of {folder}" in done.stderr.decode()
    done = in_the_c_locale("-p", os.fsencode(f'source:="{tmp_path}/B') + b'\xfccher"')
    assert done.returncode == 1 and b"is not UTF-8, as ROS wants it: give the file another name" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_broken_image_on_the_way_is_left_out_named_and_counted(tmp_path):
    for number in (1, 3):
        save(tmp_path / f"{number}.png", picture(number))
    (tmp_path / "2.png").write_bytes(b"no image")
    observer, code, log = play({"source": str(tmp_path), "rate": 20.0}, lambda o: len(o.images) == 2)
    assert observer.reds == [1, 3] and code == 0
    assert "one of the images is left out" in log and "2.png' is not a readable image" in log
    assert "images left out: 1" in log and "Traceback" not in log


def test_a_source_without_a_readable_image_is_an_error_with_the_reason(tmp_path):
    (tmp_path / "2.png").write_bytes(b"no image")
    with running_node(SOURCE, parameters={"source": str(tmp_path), "wait_for_subscribers": 0}) as source:
        assert source.wait(30) == 1
        assert "2.png' is not a readable image" in output(source)
        assert "Traceback" not in output(source)
