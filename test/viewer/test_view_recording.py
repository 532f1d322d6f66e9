"""What ``view_depth --save`` writes is read back with Rerun's own reader and holds what was published."""

from __future__ import annotations

import subprocess
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: requirements/ros2-jazzy.txt")
pytest.importorskip("rerun", reason="needs the viewer: pip install '.[view]'")

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Vector3, Vector3Stamped
from rerun.chunk import RrdReader
from ros_processes import free_ports, output, ros_context, running_node, stop, wait_for
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Float32MultiArray, Header, MultiArrayDimension, MultiArrayLayout

from depth_estimation_ros.conversions import cloud_to_message, depth_to_image, rgb_to_image
from depth_estimation_ros.viewer.scene import NO_DEPTH

MODULE = "depth_estimation_ros.nodes.view_depth"
OPTICAL, BASE = "camera_optical_frame", "base_link"
FRAMES = range(1, 7)
POINT = (0.5, -0.25, 2.0)


def header(number, frame=OPTICAL):
    return Header(stamp=Time(sec=1000 + number), frame_id=frame)


def depth_of(number):
    depth = np.full((30, 40), 0.5 * number, np.float32)
    depth[:10] = np.nan
    return depth


def frame(number):
    """Return the messages of a frame; its number is in all of them."""
    packed = np.array([0x00FF8000], np.uint32).view(np.float32)[0]
    cloud = np.array([[[*POINT, packed], [np.nan, np.nan, np.nan, packed]]], np.float32)
    latency = Float32MultiArray(data=[8.0, float(number)])
    latency.layout = MultiArrayLayout(dim=[MultiArrayDimension(label="inference,latency")])
    return {
        "image": rgb_to_image(np.full((64, 96, 3), (200, 10 * number, 30), np.uint8), header(number)),
        "ground_truth/depth": depth_to_image(depth_of(number) + 1.0, header(number)),
        "depth/scale": Vector3Stamped(header=header(number), vector=Vector3(x=0.1 * number, y=0.02, z=0.75)),
        "depth/latency": latency,
        "anchor/points": cloud_to_message(cloud, header(number)),
        "depth/image": depth_to_image(depth_of(number), header(number)),
        "depth/points": cloud_to_message(cloud, header(number)),
        "depth/scan": LaserScan(
            header=header(number, BASE),
            angle_min=0.0,
            angle_increment=np.pi / 2,
            range_min=0.1,
            range_max=np.inf,
            ranges=[float(number), 2.0, np.inf],
        ),
    }


KINDS = {topic: type(message) for topic, message in frame(0).items()}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Let the node record some frames; return its chunks by entity."""
    path = tmp_path_factory.mktemp("view") / "view.rrd"
    # Free text before --ros-args: what a person types.
    parameters = {"port": free_ports(2), "camera_height": 1.0, "save": str(path)}
    with ros_context() as node, running_node(MODULE, parameters=parameters) as process:
        publishers = {topic: node.create_publisher(kind, topic, 10) for topic, kind in KINDS.items()}
        wait_for(node, lambda: all(p.get_subscription_count() for p in publishers.values()), process=process)
        for number in FRAMES:
            for topic, message in frame(number).items():
                publishers[topic].publish(message)
            time.sleep(0.3)
        assert stop(process) == 0, output(process)
    found = {}
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        rows = {name: batch.column(name) for name in batch.schema.names}
        found.setdefault(str(chunk.entity_path), []).append(rows)
    return found


def shown(recording, entity, component):
    """Return the values of a component by frame number."""
    values = {}
    for rows in recording[entity]:
        column = next((rows[name] for name in rows if name.endswith(component)), None)
        if column is not None and "time" in rows:
            for stamp, value in zip(rows["time"], column, strict=True):
                values[stamp.value // 10**9 - 1000] = value.as_py()
    return values


def test_every_frame_is_there_with_its_stamp(recording):
    for entity in ("/image", "/depth", "/truth", "/world/cloud", "/world/scan"):
        numbers = set(
            shown(recording, entity, {"/image": "blob", "/depth": "blob", "/truth": "blob"}.get(entity, "positions"))
        )
        assert len(numbers) >= len(FRAMES) - 1 and numbers <= set(FRAMES), entity


@pytest.mark.parametrize(("entity", "more"), [("/depth", 0.0), ("/truth", 1.0)])
def test_depth_is_in_millimetres_and_invalid_depth_is_marked(recording, entity, more):
    for number, blob in shown(recording, entity, "blob").items():
        stored = cv2.imdecode(np.array(blob[0], np.uint8), cv2.IMREAD_UNCHANGED)
        expected = np.nan_to_num(1000.0 * (depth_of(number) + more), nan=NO_DEPTH)
        assert stored.dtype == np.uint16 and np.array_equal(stored, expected)


def test_the_image_is_the_one_that_the_depth_belongs_to(recording):
    for number, blob in shown(recording, "/image", "blob").items():
        stored = cv2.imdecode(np.array(blob[0], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert stored.shape == (64, 96, 3)
        assert np.abs(stored.reshape(-1, 3).mean(0) - (200, 10 * number, 30)).max() < 3


def test_the_cloud_has_its_valid_points_in_colour(recording):
    for number in shown(recording, "/world/cloud", "positions"):
        assert np.array_equal(shown(recording, "/world/cloud", "positions")[number], [POINT])
        assert shown(recording, "/world/cloud", "colors")[number] == [0xFF8000FF]


def test_the_scan_lies_on_the_floor_plane(recording):
    for number, points in shown(recording, "/world/scan", "positions").items():
        np.testing.assert_allclose(points, [[number, 0, 0], [0, 2, 0]], atol=0.004)
    frames = [rows[name][0].as_py() for rows in recording["/world/scan"] for name in rows if name.endswith("frame")]
    assert frames == [[BASE]]


def test_scale_confidence_and_latency_are_curves(recording):
    assert [pytest.approx(0.1 * n) for n in FRAMES][-1] == list(shown(recording, "/anchor_scale", "scalars").values())[
        -1
    ][0]
    assert {values[1] for values in shown(recording, "/anchor_scale", "scalars").values()} == {0.75}
    assert {values[1] for values in shown(recording, "/latency", "scalars").values()} == {8.0}


def test_the_anchor_and_the_pose_of_the_camera_are_shown(recording):
    assert np.array_equal(next(iter(shown(recording, "/world/anchor", "positions").values())), [POINT])
    poses = shown(recording, f"/world/tf/{OPTICAL}", "translation")
    assert poses and all(pose == [[0.0, 0.0, 1.0]] for pose in poses.values())
    assert set(map(tuple, shown(recording, f"/world/tf/{OPTICAL}", "parent_frame").values())) == {(BASE,)}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--ros-args", "-p", "address:=everywhere"],
            "address must be an IP address, such as 0.0.0.0, got 'everywhere'",
        ),
        (["--ros-args", "-p", "address:=192.0.2.1"], "cannot listen on 192.0.2.1"),
        (["--ros-args", "-p", "rate:=30.0"], "rate"),
        (["--save"], "--save needs the name of a file"),
        (["--save", "/none/view.rrd"], "No such file or directory: '/none/view.rrd'"),
    ],
)
def test_a_mistake_is_named_in_one_sentence(arguments, sentence):
    import sys

    done = subprocess.run(
        [sys.executable, "-m", MODULE, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 1 and sentence in printed and "Traceback" not in printed, printed
