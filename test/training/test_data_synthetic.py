"""Rendered rooms become a prepared folder whose depth is that of the rooms."""

import cv2
import numpy as np
import pytest
from commands import in_process, in_this_process

pytest.importorskip("torch", reason="the training package needs PyTorch")

from depth_estimation_ros.synthetic import Room
from training.data.folder import PreparedFolder, split_names
from training.data.synthetic import _low, main


def test_the_command_writes_rooms_as_a_prepared_folder_and_none_twice(tmp_path):
    output = tmp_path / "rooms"
    arguments = (output, "--rooms", 2, "--views", 2, "--jobs", 2, "--low", 0.5)
    assert in_process("training.data.synthetic", *arguments).returncode == 0
    names = split_names(output / "split.txt", "train")
    assert names == ["00001_000", "00001_001", "00002_000", "00002_001"]
    frames = PreparedFolder(output, names, 0.001)
    for item in (frames[i] for i in range(4)):
        assert item["image"].shape == (240, 320, 3) and item["image"].float().std() > 10
        assert item["depth"].min() > 0.1 and item["depth"].max() < 10
    assert cv2.imread(str(output / "depth" / "00001_000.png"), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    again = in_this_process(main, *arguments)
    assert again.returncode == 1 and "exists already" in again.stderr and "Traceback" not in again.stderr
    assert list(tmp_path.iterdir()) == [output]


def test_low_views_are_clear_of_furniture_and_look_from_the_height_of_robots(tmp_path):
    rng, heights = np.random.default_rng(0), []
    for seed in (1, 2, 3):
        room = Room(seed)
        for _ in range(40):
            position = _low(room, rng)[:3, 3]
            heights.append(position[2])
            assert min(box.distance(position) for box in room.boxes) > 0.15
            assert (position[:2] >= 0.5).all() and (position[:2] <= room.size[:2] - 0.5).all()
    assert min(heights) >= 0.2 and max(heights) <= 1.1 and np.ptp(heights) > 0.6


def test_the_share_of_low_views_is_refused_if_it_is_none(tmp_path):
    run = in_this_process(main, tmp_path / "rooms", "--low", 1.5)
    assert run.returncode == 1 and "--low must be between 0 and 1, got 1.5" in run.stderr
    assert not list(tmp_path.iterdir())
