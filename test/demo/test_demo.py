"""The demo's commands end to end: real processes, real messages, and what is left on disk."""

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: requirements/ros2-jazzy.txt")

from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from std_msgs.msg import Header

from depth_estimation_ros import PinholeCamera
from depth_estimation_ros.conversions import camera_to_info, depth_to_image, rgb_to_image
from depth_estimation_ros.evaluation.recording.recording import Recording
from depth_estimation_ros.sources import open_source


def demo(output, *arguments):
    environment = {**os.environ, "ROS_PYTHON_CHECK_FIELDS": "1"}
    command = [sys.executable, "-m", "depth_estimation_ros.demo", "--output", output, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, timeout=180)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo") / "new"
    result = demo(output, "--duration", 4)
    assert result.returncode == 0, result.stderr
    return output, result.stdout


def test_the_summary_accounts_for_every_frame(synthetic):
    summary = json.loads((synthetic[0] / "summary.json").read_text())
    frames = {name: summary[f"frames_{name}"] for name in ("received", "published", "superseded", "failed")}
    assert frames["received"] == frames["published"] + frames["superseded"] + frames["failed"]
    assert frames["published"] > 10 and frames["failed"] == 0
    assert summary["topics"]["depth/image"]["type"] == "sensor_msgs/msg/Image"
    assert 0 < summary["topics"]["depth/image"]["count"] <= frames["published"]
    assert summary["topics"]["depth/points"]["type"] == "sensor_msgs/msg/PointCloud2"
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p95"]
    assert 0 < summary["inference_ms"]["p50"] <= summary["inference_ms"]["p95"]
    assert summary["rate_hz"] > 0
    assert len(summary["model"]["sha256"]) == 64
    assert summary["backend"] in ("onnxruntime/cpu", "openvino/cpu")
    assert set(summary["accuracy"]) == {"abs_rel", "rmse", "delta1"}


def test_a_table_tells_a_person_how_it_went(synthetic):
    for words in ("depth/image", "latency", "inference", "frames", "accuracy", "preview.png"):
        assert words in synthetic[1]


def test_the_picture_shows_image_depth_truth_cloud_and_scan(synthetic):
    picture = cv2.imread(str(synthetic[0] / "preview.png"))
    assert picture.shape[0] == 960 and picture.shape[1] > 1920
    # No part is of one colour.
    for rows, parts in zip(np.array_split(picture, 2), (3, 2), strict=True):
        for part in np.array_split(rows, parts, axis=1):
            assert part.std() > 10


def test_the_scan_is_held_against_the_walls_of_the_room(synthetic):
    summary = json.loads((synthetic[0] / "summary.json").read_text())
    assert summary["topics"]["depth/scan"]["type"] == "sensor_msgs/msg/LaserScan"
    scan = summary["scan"]
    assert scan["scans"] > 5 and scan["beams"] > 50 * scan["scans"]
    assert 0 < scan["median_m"] < 1.0
    assert 0 < scan["within_10_percent"] < scan["within_25_percent"] <= 1
    assert "scan against the walls" in synthetic[1]


def test_the_bag_holds_what_camera_and_node_published(synthetic):
    summary = json.loads((synthetic[0] / "summary.json").read_text())
    with AnyReader([synthetic[0] / "bag"], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        counts = {connection.topic.lstrip("/"): connection.msgcount for connection in reader.connections}
        assert counts == {n: t["count"] for n, t in summary["topics"].items() if n != "ground_truth/depth"}
        connection = next(c for c in reader.connections if c.topic == "/depth/image")
        _, _, raw = next(reader.messages([connection]))
        message = reader.deserialize(raw, connection.msgtype)
        assert (message.encoding, message.width, message.height) == ("32FC1", 640, 480)
        assert message.header.frame_id == "camera_optical_frame"


def test_the_bag_replays_as_the_camera_it_was_made_with_and_can_be_evaluated(synthetic):
    source = open_source(str(synthetic[0] / "bag"))
    assert (source.image_topic, source.camera_info_topic, source.depth_topic) == ("/image", "/camera_info", "")
    frame = next(iter(source))
    assert frame.rgb.shape == (480, 640, 3) and frame.camera.fx == pytest.approx(518.86)
    topics = Recording(synthetic[0] / "bag").topics
    assert (topics.image, topics.depth) == ("/image", "/ground_truth/points")


def test_pictures_of_the_users_own_are_shown_without_accuracy(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        cv2.imwrite(str(folder / f"{i:02d}.png"), cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (320, 240)))
    result = demo(tmp_path / "out", "--duration", 3, "--source", folder, "--horizontal-fov", 75)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["accuracy"] is None and summary["scan"] is None
    assert "depth/scan" not in summary["topics"]  # nothing tells how the camera is mounted
    assert summary["frames_published"] > 0
    assert (tmp_path / "out" / "preview.png").is_file()
    # Nobody knows the camera, and who looks at the figures is told.
    assert summary["source"]["assumed_horizontal_fov"] == 75 and "12 images" in summary["source"]["description"]
    assert result.stdout.count("75 degrees") == 2  # at the start, and in the table


@pytest.fixture
def nyu_bag(rendered_data, tmp_path):
    """Write forty frames as of NYU Depth v2 as a bag: image, camera_info and true depth, ten a second."""
    from sensor_msgs.msg import CameraInfo, Image

    scipy_io = pytest.importorskip("scipy.io", reason="reads the split")
    folder = rendered_data / "nyu_v2_labelled"
    names = scipy_io.loadmat(folder / "splits.mat")["testNdxs"].ravel()[:80:2]
    camera = PinholeCamera(320, 240, 259.4290, 259.7348, 162.0412, 126.1181)
    typestore = get_typestore(Stores.ROS2_JAZZY)
    topics = {"/camera/image": Image, "/camera/camera_info": CameraInfo, "/camera/depth/truth": Image}
    with Writer(tmp_path / "nyu", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            topic: writer.add_connection(topic, f"sensor_msgs/msg/{kind.__name__}", typestore=typestore)
            for topic, kind in topics.items()
        }
        for i, name in enumerate(names):
            time = 10**9 + i * 10**8
            header = Header(stamp=Time(sec=time // 10**9, nanosec=time % 10**9), frame_id="camera_optical_frame")
            rgb = cv2.cvtColor(cv2.imread(str(folder / f"rgb/{name:04d}.jpg")), cv2.COLOR_BGR2RGB)
            units = cv2.imread(str(folder / f"depth/{name:04d}.png"), cv2.IMREAD_UNCHANGED)
            depth = np.where(units < 254, units * np.float32(10 / 255), np.float32(np.nan))
            messages = (rgb_to_image(rgb, header), camera_to_info(camera, header), depth_to_image(depth, header))
            for topic, message in zip(topics, messages, strict=True):
                writer.write(connections[topic], time, serialize_message(message))
    return tmp_path / "nyu"


def test_a_bag_is_measured_against_its_true_depth(nyu_bag, tmp_path):
    result = demo(tmp_path / "out", "--duration", 10, "--source", nyu_bag)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["frames_received"] == 40
    assert summary["source"]["assumed_horizontal_fov"] is None and "assumed" not in result.stdout
    # Knowing nothing of the image scores 0.37.
    assert summary["accuracy"]["abs_rel"] < 0.25


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--source", "/nowhere/video.mp4"), "demo: source '/nowhere/video.mp4' does not exist"),
        (("--model", "/nowhere/model.onnx"), "demo: the node failed: model '/nowhere/model.onnx' not found"),
        (("--duration", "0"), "demo: --duration must be positive"),
        (("--duration", "nan"), "demo: --duration must be positive"),
        (("--horizontal-fov", "60"), "demo: --horizontal-fov needs --source"),
        (("--source", ".", "--horizontal-fov", "200"), "demo: --horizontal-fov must be from 1 to 169 degrees"),
        (("--source", ".", "--camera-pitch", "5"), "demo: --camera-pitch needs --camera-height"),
        (("--source", ".", "--anchor", "points"), "demo: --anchor points needs the synthetic room"),
        (("--source", ".", "--anchor", "floor"), "demo: --anchor floor needs --camera-height"),
        (("--output", "/proc/demo"), "demo: nothing can be written to /proc/demo"),
        (("--camera-pitch", "80"), "demo: --camera-height must be from 0 to 2 metres"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, arguments, sentence):
    result = demo(tmp_path / "out", *arguments)
    assert result.returncode == 1
    assert result.stderr.startswith(sentence), result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "summary.json").exists()


def test_what_is_not_the_demos_is_neither_removed_nor_read_while_it_is(tmp_path, nyu_bag):
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "mine.mcap").write_bytes(b"of another program")
    result = demo(tmp_path)
    assert result.returncode == 1 and "holds bag that the demo did not write" in result.stderr
    assert (tmp_path / "bag" / "mine.mcap").exists()
    result = demo(nyu_bag.parent, "--source", tmp_path / "bag")
    assert result.returncode == 1 and "--source is a result of an earlier demo in" in result.stderr
    result = demo(tmp_path / "out", "--source", nyu_bag, "--horizontal-fov", 60)
    assert result.returncode == 1 and result.stderr.startswith("demo: --horizontal-fov is for sources that do not know")


@pytest.mark.parametrize("seconds", [2.0, 6.0])
def test_ctrl_c_ends_the_demo_and_all_that_it_has_started_with_one_sentence(tmp_path, seconds):
    command = [sys.executable, "-m", "depth_estimation_ros.demo", "--output", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        time.sleep(seconds)
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 1
        assert running.stderr.read() == "demo: interrupted, nothing was measured\n"
    assert not (tmp_path / "out" / "summary.json").exists()
