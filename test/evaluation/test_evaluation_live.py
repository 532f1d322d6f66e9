"""A bag played through the real node: what it makes of the images is compared, what it leaves out is counted."""

import json

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: requirements/ros2-jazzy.txt")
pytest.importorskip("matplotlib", reason="the report draws with matplotlib")

import bags
import numpy as np
from ros_processes import DOMAIN_ID, ros_environment
from small_bags import storage
from test_evaluate_bag import evaluate, figures, only_model, small_bag

from depth_estimation_ros.model import load_model


@pytest.fixture(autouse=True)
def domain(monkeypatch):
    for name, value in ros_environment(DOMAIN_ID).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("kind", ["mcap", "bag"])
def test_a_node_with_time_enough_gives_the_figures_of_the_estimator(rendered_data, tmp_path, kind):
    """Compressed images too, and a bag of ROS 1."""
    name = "kitchen.bag" if kind == "bag" else "kitchen"
    bag = bags.red_kitchen(tmp_path / name, rendered_data, kind, count=8, rate=2.5, compressed=kind == "mcap")
    evaluate(tmp_path / "offline", bag, "--jobs", 1, "--no-bag-output")
    evaluate(tmp_path / "live", bag, "--live", "--threads", 2)
    offline, live = (
        figures(tmp_path / mode)["models"][load_model("default").info.name] for mode in ("offline", "live")
    )
    counts = live.pop("live")
    assert {counts[name] for name in ("played", "received", "published")} == {8}
    assert counts["superseded"] == counts["failed"] == 0
    # Bit by bit: image, camera and engine are the same.
    assert live == offline
    model = only_model(tmp_path / "live")
    assert 0 < model["inference_ms"]["p50"] < model["latency_ms"]["p50"]
    assert (tmp_path / "live" / "bags" / "kitchen").is_dir()


def test_images_that_the_node_has_no_time_for_are_counted_and_not_compared(rendered_data, tmp_path):
    bag = bags.red_kitchen(tmp_path / "kitchen", rendered_data, count=40)
    evaluate(tmp_path / "live", bag, "--live", "--rate", 20, "--threads", 1, "--no-bag-output")
    model = only_model(tmp_path / "live")
    counts = model["live"]
    assert counts["superseded"] > 0
    assert counts["received"] == counts["published"] + counts["superseded"] + counts["failed"] <= counts["played"] == 40
    assert model["frames"] == counts["published"] < 40
    (recording,) = json.loads((tmp_path / "live" / "metrics.json").read_text())["recordings"]
    assert sum(recording["problems"].values()) == 40 - model["frames"]
    assert all("in time" in reason for reason in recording["problems"])


def test_a_lens_that_distorts_is_straightened_by_the_node_as_it_is_offline(rendered_data, tmp_path):
    frames = [(rgb, depth) for rgb, depth, _ in bags.kitchen_frames(rendered_data, 4)]
    with bags.BagWriter(tmp_path / "bag", "mcap") as bag:
        for k, (rgb, depth) in enumerate(frames):
            bag.image("/camera/image", 100 + k / 3, rgb, "rgb8")
            bag.info(
                "/camera/camera_info", 100 + k / 3, bags.KITCHEN_COLOUR_CAMERA, distortion=(-0.2, 0.03, 0.0, 0.0, 0.0)
            )
            bag.image("/camera/depth", 100 + k / 3, depth, "16UC1")
    evaluate(tmp_path / "offline", tmp_path / "bag", "--jobs", 1, "--no-bag-output")
    evaluate(tmp_path / "live", tmp_path / "bag", "--live", "--threads", 2, "--no-bag-output")
    offline, live = only_model(tmp_path / "offline"), only_model(tmp_path / "live")
    assert live["frames"] == offline["frames"] == 4
    # Taken as they are, the same images score 10 % better: the figures tell whether both straighten them.
    assert live["abs_rel"] == pytest.approx(offline["abs_rel"], rel=0.01)


def test_what_is_left_of_a_damaged_bag_is_played_and_what_is_missing_is_said(rendered_data, tmp_path):
    bag = bags.red_kitchen(tmp_path / "kitchen", rendered_data, count=10, rate=5.0)
    with open(storage(bag), "r+b") as file:
        file.truncate(int(0.75 * storage(bag).stat().st_size))
    result = evaluate(tmp_path / "live", bag, "--live", "--threads", 2, "--no-bag-output", code=1)
    model = only_model(tmp_path / "live")
    assert 5 <= model["live"]["played"] < 10
    (line,) = result.stderr.strip().splitlines()
    assert "is damaged" in line and f"{model['frames']} of its images were compared" in line
    assert "is damaged" in json.loads((tmp_path / "live" / "metrics.json").read_text())["recordings"][0]["error"]


def test_without_camera_info_it_says_what_to_do(tmp_path):
    with bags.BagWriter(tmp_path / "bag", "mcap") as bag:
        for k in range(3):
            bag.image("/camera/image", 100 + k / 10, np.zeros((48, 64, 3), np.uint8), "rgb8")
            bag.image("/camera/depth", 100 + k / 10, np.ones((48, 64), np.float32), "32FC1")
    result = evaluate(tmp_path / "out", tmp_path / "bag", "--live", code=1)
    assert "has no camera_info" in result.stderr and "without --live" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_node_that_cannot_start_is_quoted(tmp_path):
    result = evaluate(tmp_path / "out", small_bag(tmp_path / "bag"), "--live", "--backend", "tensorrt", code=1)
    assert len(result.stderr.strip().splitlines()) == 1 and "the node failed: " in result.stderr
    assert "ensor" in result.stderr
    assert not (tmp_path / "out").exists()
