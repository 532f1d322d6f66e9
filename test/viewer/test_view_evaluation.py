"""``evaluate_bag --view`` records and shows image, truth, estimate and error of each frame, the worst first."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: requirements/ros2-jazzy.txt")
pytest.importorskip("rerun", reason="needs the viewer: pip install '.[view]'")

from rerun.chunk import RrdReader
from ros_processes import ros_environment
from small_bags import write

COUNT = 6
COMMAND = [sys.executable, "-m", "depth_estimation_ros.tools.evaluate_bag"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Run the command until it shows the page, and end it; return the page, the output folder and what it recorded."""
    folder = tmp_path_factory.mktemp("evaluation")
    bag, output, log = write(folder / "bag", count=COUNT), folder / "report", folder / "log"
    command = [*COMMAND, str(bag), "--output", str(output), "--jobs", "1", "--view"]
    environment = {**os.environ, **ros_environment()}
    with open(log, "wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process:
        deadline = time.monotonic() + 120
        while not (address := re.search(r"http://\S+", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        page = urllib.request.urlopen(address.group(), timeout=20).read().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, log.read_text()
    entities = {}
    for chunk in RrdReader(output / "view.rrd").stream():
        batch = chunk.to_record_batch()
        for name in batch.schema.names:
            if name.endswith((":blob", ":text")) and "frame" in batch.schema.names:
                rows = zip(batch.column("frame").to_pylist(), batch.column(name).to_pylist(), strict=True)
                entities.setdefault(str(chunk.entity_path).strip("/").split("/")[0], {}).update(dict(rows))
    return page, output, entities


def picture(blob):
    return cv2.imdecode(np.array(blob[0], np.uint8), cv2.IMREAD_UNCHANGED)


def test_the_page_is_there(shown):
    assert "<canvas" in shown[0]


def test_every_frame_has_image_truth_estimate_error_and_text(shown):
    assert set(shown[2]) == {"image", "truth", "depth", "error", "text"}
    assert all(sorted(frames) == list(range(1, COUNT + 1)) for frames in shown[2].values())


def test_the_worst_frames_come_first(shown):
    with open(shown[1] / "frames.csv") as file:
        errors = {int(row["index"]): float(row["abs_rel"]) for row in csv.DictReader(file)}
    worst = sorted(errors, key=errors.get, reverse=True)
    texts = [shown[2]["text"][rank][0] for rank in range(1, COUNT + 1)]
    assert [int(re.search(r"image (\d+)", text).group(1)) for text in texts] == worst
    assert [float(re.search(r"AbsRel (\S+)", text).group(1)) for text in texts] == [round(errors[i], 3) for i in worst]


def test_image_truth_and_error_belong_together(shown):
    for rank, text in shown[2]["text"].items():
        index = int(re.search(r"image (\d+)", text[0]).group(1))
        assert abs(picture(shown[2]["image"][rank])[..., 2].mean() - index) < 3  # the red of a picture is its index
        truth = picture(shown[2]["truth"][rank])
        assert (truth == 1000 + 10 * index).all()
        estimate = cv2.resize(picture(shown[2]["depth"][rank]), truth.shape[::-1]).astype(float)
        blue, _, red = picture(shown[2]["error"][rank]).reshape(-1, 3).mean(0)
        assert (red > blue) == (estimate.mean() > truth.mean())


@pytest.mark.parametrize("other", [["--no-bag-output"], ["--cluster", "tcp://localhost:1"]])
def test_what_it_shows_must_be_written(other, tmp_path):
    done = subprocess.run([*COMMAND, "bag", "--view", *other], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and f"--view and {other[0]} cannot be used together" in done.stderr
