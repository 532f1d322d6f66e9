"""Rendered rooms become a prepared folder whose depth is that of the rooms."""

import cv2
import numpy as np
import pytest
from commands import in_process, in_this_process

pytest.importorskip("torch", reason="the training package needs PyTorch")

from training.data.folder import PreparedFolder, split_names
from training.data.synthetic import main


def test_the_command_writes_rooms_as_a_prepared_folder_and_none_twice(tmp_path):
    output = tmp_path / "rooms"
    arguments = (output, "--rooms", 2, "--views", 2, "--jobs", 2)
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
