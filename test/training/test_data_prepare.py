"""Any RGB-D recording becomes a prepared folder."""

import csv
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from commands import in_process, in_this_process

pytest.importorskip("torch", reason="the training package needs PyTorch")

from training.data import prepare as command
from training.data.folder import PreparedFolder, split_names

REPOSITORY = Path(__file__).resolve().parents[2]


prepare = partial(in_this_process, command.main)


@pytest.fixture
def tum(tmp_path):
    """Make a recording of four colour images and three depth images, the last of which comes too late."""
    root = tmp_path / "freiburg_desk"
    for name in ("rgb", "depth"):
        (root / name).mkdir(parents=True)
    lists = {"rgb": ["# timestamp filename"], "depth": ["# timestamp filename"]}
    for i in range(4):
        cv2.imwrite(str(root / "rgb" / f"{i}.png"), np.full((48, 64, 3), (10, 20, 50 * i), np.uint8))
        lists["rgb"].append(f"{1000 + i / 10:.4f} rgb/{i}.png")
    for i, late in enumerate((0.01, -0.01, 0.05)):
        cv2.imwrite(str(root / "depth" / f"{i}.png"), np.full((48, 64), 5000 * (i + 1), np.uint16))
        lists["depth"].append(f"{1000.1 + i / 10 + late:.4f} depth/{i}.png")
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def test_a_tum_recording_becomes_a_folder_that_training_reads(tum, tmp_path):
    done = in_process("training.data.prepare", tum, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "2 frames in" in done.stdout and "1 depth images have no partner" in done.stdout
    names = split_names(tmp_path / "out" / "split.txt", "train")
    frames = PreparedFolder(tmp_path / "out", names, depth_scale=0.001)
    for i in range(2):
        np.testing.assert_allclose(frames[i]["image"][20, 20], (50 * (i + 1), 20, 10), atol=2)
        np.testing.assert_allclose(frames[i]["depth"], i + 1, atol=1e-6)
    with open(tmp_path / "out" / "index.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["scene"], r["time"], r["split"]) for r in rows] == [
        ("freiburg_desk", "1000.100000", "train"),
        ("freiburg_desk", "1000.200000", "train"),
    ]
    assert not (tmp_path / "out" / "camera.yaml").exists()


def test_a_tum_pair_keeps_its_depth(tmp_path, rendered_data):
    samples = rendered_data / "rgbd_samples" / "other_formats"
    root = tmp_path / "desk"
    root.mkdir()
    for name, file in (("rgb", "TUM_color.png"), ("depth", "TUM_depth.png")):
        (root / file).symlink_to(samples / file)
        (root / f"{name}.txt").write_text(f"# {name}\n1305031102.175304 {file}\n")
    assert prepare(root, "--output", tmp_path / "out").returncode == 0
    stored = cv2.imread(str(samples / "TUM_depth.png"), cv2.IMREAD_UNCHANGED)
    written = cv2.imread(str(tmp_path / "out" / "depth" / "desk_000000.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(written / 1000, stored / 5000, atol=0.0006)
    assert 0.5 < np.median(written[written > 0]) / 1000 < 5


def test_a_bag_gives_frames_with_depth_and_its_camera(tmp_path):
    pytest.importorskip("rclpy", reason="messages are decoded with ROS message classes")
    from test_sources import CAMERA, BagWriter, picture

    depth = np.full((24, 32), 2.5, np.float32)
    depth[:3] = np.nan
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for i in range(6):
            bag.info("/camera/camera_info", 100 + i / 10, CAMERA)
            if i != 4:
                bag.image("/camera/depth", 100 + i / 10, depth, "32FC1")
            bag.image("/camera/image", 100.001 + i / 10, picture(40 * i), "rgb8")
    done = prepare(tmp_path / "run", "--stride", 2, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "2 frames in" in done.stdout and "1 left out without depth" in done.stdout
    frames = PreparedFolder(tmp_path / "out", split_names(tmp_path / "out" / "split.txt", "train"), depth_scale=0.001)
    assert [int(frames[i]["image"][10, 10, 0]) // 10 for i in range(2)] == [0, 8]
    found = frames[0]["depth"][0].numpy()
    assert (found[:3] == 0).all() and found[3:] == pytest.approx(2.5)
    camera = yaml.safe_load((tmp_path / "out" / "camera.yaml").read_text())["camera"]
    assert camera == {"width": 32, "height": 24, "fx": 30.0, "fy": 31.0, "cx": 15.5, "cy": 11.5}


def test_depth_of_another_camera_or_size_becomes_that_of_the_image(tmp_path):
    pytest.importorskip("rclpy", reason="messages are decoded with ROS message classes")
    from test_depth_registration import static, truths, write

    expected, _ = truths(write(tmp_path / "run", transform=static()))
    assert prepare(tmp_path / "run", "--output", tmp_path / "out").returncode == 0
    written = cv2.imread(str(tmp_path / "out" / "depth" / "run_000002.png"), cv2.IMREAD_UNCHANGED)
    assert written.shape == (48, 64)
    shown = cv2.resize(np.nan_to_num(expected), (64, 48), interpolation=cv2.INTER_NEAREST_EXACT)
    np.testing.assert_allclose(written / 1000, shown, atol=0.001)
    done = prepare(write(tmp_path / "apart"), "--output", tmp_path / "none")
    assert done.returncode == 1 and "no transform of the bag connects them" in done.stdout
    assert not (tmp_path / "none").exists()


def test_recordings_are_divided_into_training_and_test(tum, tmp_path):
    other = tmp_path / "office"
    for name in ("rgb", "depth"):
        (other / name).mkdir(parents=True)
    cv2.imwrite(str(other / "rgb" / "a.png"), np.zeros((48, 64, 3), np.uint8))
    cv2.imwrite(str(other / "depth" / "a.png"), np.full((48, 64), 3000, np.uint16))
    assert prepare(tum, "--test", other, "--output", tmp_path / "out").returncode == 0
    split = tmp_path / "out" / "split.txt"
    assert len(split_names(split, "train")) == 2 and split_names(split, "test") == ["office_000000"]
    depth = cv2.imread(str(tmp_path / "out" / "depth" / "office_000000.png"), cv2.IMREAD_UNCHANGED)
    assert (depth == 3000).all()


def test_mistakes_are_one_sentence_and_leave_nothing(tum, tmp_path):
    (tmp_path / "exists").mkdir()
    colour_only = tmp_path / "colour"
    colour_only.mkdir()
    cv2.imwrite(str(colour_only / "a.png"), np.zeros((4, 4, 3), np.uint8))
    small = tmp_path / "small"
    for name, shape in (("rgb", (48, 64, 3)), ("depth", (24, 24))):
        (small / name).mkdir(parents=True)
        cv2.imwrite(str(small / name / "a.png"), np.ones(shape, np.uint8))
    before = sorted(tmp_path.iterdir())
    for arguments, sentence in (
        ((tmp_path / "none",), "does not exist"),
        ((tum, "--max-gap", "0.001"), "no colour and depth image within"),
        ((colour_only,), "no frame has depth"),
        ((small,), "depth registered to the colour image is needed"),
        ((tum, "--stride", "0"), "must be positive"),
        ((tum, "--max-gap", "-1"), "--max-gap must be positive"),
        ((tum, tum), "two recordings have one name"),
        ((), "at least one recording"),
    ):
        done = prepare(*arguments, "--output", tmp_path / "out")
        assert done.returncode != 0 and sentence in done.stderr and "Traceback" not in done.stderr, done.stderr
    within_a_file = prepare(tum, "--output", tum / "rgb.txt" / "out")
    assert f"prepare: '{tum / 'rgb.txt'}': " in within_a_file.stderr and "Traceback" not in within_a_file.stderr
    assert "exists already" in prepare(tum, "--output", tmp_path / "exists").stderr
    (tum / "rgb.txt").write_text("yesterday rgb/0.png\n")
    assert "line 1 is not" in prepare(tum, "--output", tmp_path / "out").stderr
    assert sorted(tmp_path.iterdir()) == before
