"""A real camera's rate and size for seconds, and a short soak: nothing lost or out of order, nothing grows."""

import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: requirements/ros2-jazzy.txt")
from depth_client import MODULE, DepthClient, picture
from ros_processes import REPOSITORY, ros_context, ros_environment, running_node, stop

from depth_estimation_ros.bench.soak.figures import HELD, NAMES, Row, summarise, verdict
from depth_estimation_ros.bench.usage import Usage
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import camera_to_info, rgb_to_image

CAMERA = PinholeCamera(640, 480, 520.0, 520.0, 319.5, 239.5)
RATE, SECONDS = 30, 4


def stamps(messages) -> list[int]:
    return [m.header.stamp.sec * 1_000_000_000 + m.header.stamp.nanosec for m in messages]


def test_every_frame_of_a_camera_at_30_hz_is_accounted_for():
    with (
        ros_context() as node,
        running_node(MODULE, parameters={"image_reliability": "reliable", "model": "small"}) as process,
    ):
        depth = DepthClient(node, process)
        depth.subscribe("depth/image", "depth/points")
        depth.send_until_published(camera=CAMERA)
        depth.settled()
        for messages in depth.got.values():
            messages.clear()

        # A camera: 640x480 at 30 Hz, whatever the node does.
        received, published, failed = map(depth.figure, ("received", "published", "failed"))
        images = [rgb_to_image(picture(CAMERA, seed)) for seed in range(3)]
        start, sent = time.monotonic(), []

        def all_sent():
            while len(sent) < RATE * SECONDS and time.monotonic() >= start + len(sent) / RATE:
                sent.append(depth.send(images[len(sent) % 3], camera_to_info(CAMERA)))
            return len(sent) == RATE * SECONDS

        depth.wait(all_sent, timeout=120.0)
        depth.settled()
        assert depth.figure("received") - received == len(sent)  # reliable: none is lost on the way
        assert depth.figure("failed") == failed
        depth.wait(lambda: len(depth.got["depth/image"]) == depth.figure("published") - published)
        for messages in depth.got.values():
            assert stamps(messages) == sorted(set(stamps(messages)))
        assert stop(process) == 0


def test_a_short_soak_is_flat_and_says_so(tmp_path):
    command = [sys.executable, "-m", "depth_estimation_ros.bench.soak", "--duration", "10", "--threads", "1"]
    result = subprocess.run(
        [*command, "--output", str(tmp_path)],
        env={**os.environ, **ros_environment()},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "memory, handles and threads are flat" in result.stdout
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert all(summary["growth"][name] <= (0 if name.endswith(("handles", "threads")) else 10) for name in HELD)
    assert summary["last"]["rate_hz"] > 0 and summary["last"]["node_handles"] > 5
    with open(tmp_path / "rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(summary["rows"]) > 10 and set(rows[0]) == {"seconds", *NAMES}
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    assert (tmp_path / "soak.png").stat().st_size > 10_000


FLAT = Row(0.0, 30.0, 35.0, 40.0, 10.0, 0.5, 330.0, 150.0, 23, 20, 0.7, 290.0, 23, 14)


def rows_with(**slopes):
    """Return an hour in rows of ten seconds, in which some figures grow by so much an hour."""
    times = [10.0 * i for i in range(1, 361)]
    return [replace(FLAT, seconds=t, **{k: getattr(FLAT, k) + v * t / 3600 for k, v in slopes.items()}) for t in times]


def test_what_leaks_slowly_is_named():
    assert verdict(summarise(rows_with())["growth"]) == []
    found = verdict(summarise(rows_with(node_resident_mb=40.0, camera_handles=4))["growth"])
    assert [sentence.split(" grew")[0] for sentence in found] == ["node_resident_mb", "camera_handles"]


def test_what_fills_up_once_is_no_leak():
    rows = [replace(row, node_resident_mb=300.0 if row.seconds < 900 else 340.0) for row in rows_with()]
    summary = summarise(rows)
    assert verdict(summary["growth"]) == []
    assert (summary["first"]["node_resident_mb"], summary["last"]["node_resident_mb"]) == (300.0, 340.0)


HUNGRY = """
print("ready", flush=True)
input()
files, block = [open("/dev/null") for _ in range(3)], bytearray(b"x") * (64 << 20)
print("done", flush=True)
input()
"""


def test_the_usage_of_a_process_is_what_it_holds():
    with subprocess.Popen([sys.executable, "-c", HUNGRY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        before = Usage.of(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"done\n"
        during = Usage.of(process.pid)
    assert during.handles == before.handles + 3
    assert 60 < during.private_mb - before.private_mb < 70
    assert during.cpu_s >= before.cpu_s and during.threads == 1
    with pytest.raises(ProcessLookupError, match=f"process {process.pid} has ended"):
        Usage.of(process.pid)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--duration", "3"], "soak: --duration must be at least 8 seconds"), (["--model", "/no.onnx"], "the node ended")],
)
def test_a_mistake_is_one_sentence(tmp_path, arguments, sentence):
    command = [sys.executable, "-m", "depth_estimation_ros.bench.soak", "--output", str(tmp_path), *arguments]
    environment = {**os.environ, **ros_environment()}
    result = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "summary.json").exists()
