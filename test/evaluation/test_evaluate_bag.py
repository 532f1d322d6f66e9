"""The command ``evaluate_bag`` end to end: real frames in bags, worker processes, and what is left on disk."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: requirements/ros2-jazzy.txt")
pytest.importorskip("matplotlib", reason="the report draws with matplotlib")

import bags
import onnx
from commands import in_this_process
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from depth_estimation_ros import DepthEstimator, PinholeCamera
from depth_estimation_ros.evaluation.metrics import METRICS, depth_metrics
from depth_estimation_ros.model import METADATA_KEY, load_model
from depth_estimation_ros.tools.evaluate_bag import main

REPORT = {"report.html", "metrics.json", "frames.csv", "figures"}


def command(output, *arguments):
    return [
        sys.executable,
        "-m",
        "depth_estimation_ros.tools.evaluate_bag",
        "--output",
        str(output),
        *map(str, arguments),
    ]


def evaluate(output, *arguments, code=0, largest_file=None):
    """Run the command; with `largest_file` (bytes) it fails to write as on a full disk."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    environment = {**os.environ, "ROS_PYTHON_CHECK_FIELDS": "1", "COLUMNS": "120"}
    result = subprocess.run(
        command(output, *arguments),
        capture_output=True,
        text=True,
        env=environment,
        timeout=180,
        preexec_fn=limit if largest_file else None,
    )
    assert result.returncode == code, f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert "Traceback" not in result.stderr
    return result


def refused(output, *arguments, code):
    """Run the command in this process, for it ends before it evaluates anything; returns its stderr."""
    result = in_this_process(main, "--output", output, *arguments)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stderr.strip()


def figures(output):
    """Return what must not depend on how fast, where and by how many processes it was computed."""

    def timeless(value):
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if k not in ("inference_ms", "latency_ms", "processes")}
        return [timeless(v) for v in value] if isinstance(value, list) else value

    return timeless(json.loads((output / "metrics.json").read_text()))


def only_model(output):
    (model,) = json.loads((output / "metrics.json").read_text())["models"].values()
    return model


@pytest.fixture(scope="module")
def nyu(rendered_data, tmp_path_factory):
    """Return a bag of 100 frames as of NYU Depth v2's test split: two pieces of work."""
    pytest.importorskip("scipy.io", reason="reads the split")
    return bags.nyu_test_frames(tmp_path_factory.mktemp("nyu") / "nyu", rendered_data, count=100)


@pytest.fixture(scope="module")
def redwood(rendered_data, tmp_path_factory):
    return bags.redwood(tmp_path_factory.mktemp("redwood") / "redwood", rendered_data)


@pytest.fixture(scope="module")
def evaluated(nyu, tmp_path_factory):
    output = tmp_path_factory.mktemp("evaluated") / "new" / "folder"
    return output, evaluate(output, nyu, "--jobs", 2, "--threads", 1).stdout


def small_bag(path, count=6, depth=2.0, size=(96, 72), later=0.0, new_size=None):
    """Write a bag of noise at a distance (m); `later` shifts the truth (s), `new_size` is that of the second half."""
    random = np.random.default_rng(0)
    with bags.BagWriter(path, "mcap") as bag:
        for k in range(count):
            width, height = new_size if new_size and k >= count // 2 else size
            image = random.integers(0, 256, (height, width, 3), np.uint8)
            bag.image("/camera/image", 100 + k / 10, image, "rgb8")
            bag.info("/camera/camera_info", 100 + k / 10, PinholeCamera.from_fov(width, height, 1.0))
            truth = np.full((height, width), depth, np.float32)
            bag.image("/camera/depth", 100 + k / 10 + later, truth, "32FC1")
    return path


@pytest.fixture(scope="module")
def other_model(tmp_path_factory):
    """Return the default model as of a camera of another focal length: all its depths are 1.25 times as far."""
    default = load_model("default")
    model = onnx.load(default.path)
    text = json.loads(next(entry.value for entry in model.metadata_props if entry.key == METADATA_KEY))
    text["focal_length"] *= 0.8
    next(entry for entry in model.metadata_props if entry.key == METADATA_KEY).value = json.dumps(text)
    path = tmp_path_factory.mktemp("model") / "other.onnx"
    onnx.save(model, path)
    return path


def test_figures_are_those_of_the_estimator_and_the_metrics_frame_by_frame(evaluated, rendered_data):
    scipy_io = pytest.importorskip("scipy.io")
    folder = rendered_data / "nyu_v2_labelled"
    estimator, expected = DepthEstimator.load("default", threads=1), []
    for n in scipy_io.loadmat(folder / "splits.mat")["testNdxs"].ravel()[:100]:
        rgb, stored = bags.read_pair(folder / "rgb" / f"{n:04d}.jpg", folder / "depth" / f"{n:04d}.png")
        truth = stored * np.float32(10 / 255)
        depth = estimator.estimate(rgb, bags.NYU_CAMERA).resized(320, 240).depth
        expected.append(depth_metrics(depth, truth, np.isfinite(depth)))
    model = only_model(evaluated[0])
    assert model["frames"] == 100 == len(expected)
    for metric in METRICS:
        assert model[metric] == pytest.approx(np.mean([row[metric] for row in expected]), rel=1e-6), metric
    # Knowing nothing of the image scores 0.37.
    assert model["abs_rel"] < 0.26


def test_a_report_is_left_and_nothing_else(evaluated):
    output, printed = evaluated
    assert {path.name for path in output.iterdir()} == REPORT | {"bags"}
    assert json.loads((output / "metrics.json").read_text())["recordings"][0]["images"] == 100
    assert len((output / "frames.csv").read_text().splitlines()) == 101
    assert load_model("default").info.name in printed and "report.html" in printed


def test_the_output_bag_shows_depth_points_and_error_of_every_frame(rendered_data, redwood, tmp_path):
    evaluate(tmp_path, redwood, "--jobs", 1)
    with AnyReader([tmp_path / "bags" / "redwood"], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
        names = (
            "image",
            "camera_info",
            "depth/image",
            "depth/camera_info",
            "depth/points",
            "depth/error",
            "ground_truth/depth",
        )
        assert counts == {f"/{name}": 5 for name in names}
        messages = {}
        for connection, _, raw in reader.messages():
            messages.setdefault(connection.topic, reader.deserialize(raw, connection.msgtype))
    stamps = {(m.header.stamp.sec, m.header.stamp.nanosec, m.header.frame_id) for m in messages.values()}
    assert len(stamps) == 1
    depth = messages["/depth/image"]
    assert (depth.width, depth.height) == (messages["/depth/points"].width, messages["/depth/points"].height)
    folder = rendered_data / "rgbd_samples"
    rgb, stored = bags.read_pair(folder / "color" / "00000.jpg", folder / "depth" / "00000.png")
    expected = DepthEstimator.load("default", threads=1).estimate(rgb, bags.REDWOOD_CAMERA)
    found = np.frombuffer(depth.data, np.float32).reshape(depth.height, depth.width)
    np.testing.assert_allclose(found, expected.depth, rtol=1e-5)
    assert messages["/depth/camera_info"].k[0] == pytest.approx(525.0 * depth.width / 640)
    # Too far is red, too near is blue, unknown is black.
    error = np.frombuffer(messages["/depth/error"].data, np.uint8).reshape(480, 640, 3).astype(int)
    ratio = expected.resized(640, 480).depth / np.where(stored > 0, stored / 1000.0, np.nan)
    assert (error[np.isnan(ratio)] == 0).all()
    assert (error[ratio > 1.1][:, 0] > error[ratio > 1.1][:, 2]).all()
    assert (error[ratio < 0.9][:, 0] < error[ratio < 0.9][:, 2]).all()


def test_any_number_of_processes_gives_the_same_figures(evaluated, nyu, tmp_path):
    evaluate(tmp_path, nyu, "--jobs", 1, "--threads", 1, "--no-bag-output")
    assert figures(tmp_path) == figures(evaluated[0])
    assert {path.name for path in tmp_path.iterdir()} == REPORT


def test_two_models_are_compared_frame_by_frame(redwood, other_model, tmp_path):
    evaluate(tmp_path, redwood, "--model", "default", other_model, "--jobs", 1)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    sha = load_model(other_model).sha256
    model = load_model("default")
    names = [f"{model.info.name} {digest[:6]}" for digest in (model.sha256, sha)]
    assert list(metrics["models"]) == names
    first, second = metrics["models"].values()
    # A scale is not seen after scaling the medians.
    assert second["scale"]["p50"] == pytest.approx(first["scale"]["p50"] / 1.25, rel=1e-3)
    assert second["scaled"]["abs_rel"] == pytest.approx(first["scaled"]["abs_rel"], rel=1e-3)
    difference = metrics["paired"][0]["differences"]["abs_rel"]["mean"]
    assert difference == pytest.approx(second["abs_rel"] - first["abs_rel"])
    with AnyReader([tmp_path / "bags" / "redwood"], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        topics = {connection.topic for connection in reader.connections}
    assert {f"/{name.replace(' ', '_')}/depth/image" for name in names} < topics


def test_every_n_th_image_is_every_n_th_image(nyu, tmp_path):
    evaluate(tmp_path, nyu, "--every", 7, "--jobs", 1, "--no-bag-output")
    rows = (tmp_path / "frames.csv").read_text().splitlines()
    column = rows[0].split(",").index("index")
    assert [int(row.split(",")[column]) for row in rows[1:]] == list(range(0, 100, 7))


def test_ctrl_c_leaves_a_report_and_the_same_command_goes_on(evaluated, nyu, tmp_path):
    process = subprocess.Popen(
        command(tmp_path, nyu, "--threads", 1, "--jobs", 1), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".work/*.npz")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 130, printed + said
    assert "run the same command again to resume" in said and "Traceback" not in said
    assert json.loads((tmp_path / "metrics.json").read_text())["interrupted"]
    assert 50 <= only_model(tmp_path)["frames"] < 100
    went_on = evaluate(tmp_path, nyu, "--threads", 1, "--jobs", 2)
    assert "50 of 100 images were already done" in went_on.stdout
    assert {path.name for path in tmp_path.iterdir()} == REPORT | {"bags"}
    assert figures(tmp_path) == figures(evaluated[0])
    assert (tmp_path / "bags" / "nyu" / "nyu.mcap").stat().st_size == pytest.approx(
        (evaluated[0] / "bags" / "nyu" / "nyu.mcap").stat().st_size, rel=0.01
    )


def test_a_bad_bag_among_good_ones_is_named_and_the_others_are_reported(redwood, tmp_path):
    (tmp_path / "bad.mcap").write_bytes(b"no bag at all" * 100)
    small_bag(tmp_path / "apart", later=1000.0)
    result = evaluate(tmp_path / "out", tmp_path / "bad.mcap", redwood, tmp_path / "apart", "--jobs", 1, code=1)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 2 and all(line.startswith("evaluate_bag: ") for line in lines), result.stderr
    assert "bad.mcap" in lines[0] and "apart" in lines[1]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert only_model(tmp_path / "out")["frames"] == 5
    assert [bool(recording["error"]) for recording in metrics["recordings"]] == [True, False, True]


def test_what_a_robot_without_power_left_is_reported_and_what_is_missing_is_said(redwood, tmp_path):
    cut = shutil.copytree(redwood, tmp_path / "cut")
    with open(cut / "redwood.mcap", "r+b") as file:
        file.truncate(int(0.7 * (cut / "redwood.mcap").stat().st_size))
    result = evaluate(tmp_path / "out", cut, "--jobs", 1, code=1)
    assert len(result.stderr.strip().splitlines()) == 1 and "of its images were compared" in result.stderr
    assert 2 <= only_model(tmp_path / "out")["frames"] < 5
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["recordings"][0]["error"]


@pytest.mark.parametrize(("largest_file", "done"), [(10_000, 0), (150_000, 6)])
def test_a_full_disk_is_one_sentence_and_what_was_done_is_kept(tmp_path, largest_file, done):
    bag, output = small_bag(tmp_path / "bag"), tmp_path / "out"
    arguments = output, bag, "--jobs", 1, "--no-bag-output"
    (line,) = evaluate(*arguments, code=1, largest_file=largest_file).stderr.strip().splitlines()
    assert line == (
        f"evaluate_bag: '{output}' cannot be read or written: File too large; run the same command again to resume"
    )
    assert not (output / "report.html").exists()
    assert ("6 of 6 images were already done" in evaluate(*arguments).stdout) == bool(done)
    assert {path.name for path in output.iterdir()} == REPORT


def test_a_change_of_resolution_is_no_obstacle(tmp_path):
    bag = small_bag(tmp_path / "bag", new_size=(64, 48))
    evaluate(tmp_path / "out", bag, "--jobs", 1)
    assert only_model(tmp_path / "out")["frames"] == 6


@pytest.mark.parametrize(
    ("made", "arguments", "words"),
    [
        ({}, ("--depth", "/nowhere"), "/nowhere"),
        ({}, ("--model", "/nowhere/model.onnx"), "model '/nowhere/model.onnx' not found"),
        ({}, ("--model", "default", "default"), "has the same model twice"),
        ({}, ("--backend", "tensorrt"), "ensor"),
        ({"depth": 0.0}, (), "none of its images could be compared"),
        ({"later": 1000.0}, (), "overlap"),
    ],
)
def test_a_mistake_is_one_sentence_and_no_folder(tmp_path, made, arguments, words):
    bag = small_bag(tmp_path / "bag", **made)
    said = refused(tmp_path / "out", bag, "--jobs", 1, *arguments, code=1)
    assert len(said.splitlines()) == 1 and said.startswith("evaluate_bag: ") and words in said, said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--live", "--jobs", "2"),
        ("--live", "--every", "2"),
        ("--cluster", "tcp://host:1", "--live"),
        ("--cluster", "tcp://host:1", "--jobs", "2"),
        ("--rate", "2"),
        ("--jobs", "0"),
        ("--max-gap", "-1"),
        ("--clock-offset", "nan"),
    ],
)
def test_options_that_contradict_each_other_or_would_do_nothing_are_refused(tmp_path, arguments):
    said = refused(tmp_path / "out", "bag", *arguments, code=2)
    assert arguments[0].lstrip("-") in said.splitlines()[-1]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    bag, output = small_bag(tmp_path / "bag"), tmp_path / "out"
    output.mkdir()
    (output / "report.html").write_text("somebody's thesis")
    said = refused(output, bag, "--jobs", 1, code=1)
    assert "report.html" in said and "--output" in said
    assert [path.name for path in output.iterdir()] == ["report.html"]
    assert (output / "report.html").read_text() == "somebody's thesis"


def test_an_earlier_report_of_ours_is_replaced_beside_what_else_is_there(tmp_path):
    bag, output = small_bag(tmp_path / "bag", depth=2.0), tmp_path / "out"
    evaluate(output, bag, "--jobs", 1)
    before = only_model(output)
    (output / "notes.txt").write_text("mine")
    evaluate(output, small_bag(tmp_path / "farther", depth=3.0), "--jobs", 1)
    assert only_model(output)["scale"]["p50"] == pytest.approx(1.5 * before["scale"]["p50"])
    assert (output / "notes.txt").read_text() == "mine"
