"""The command that prepares the raw dataset, on a small dump in the dataset's own file formats."""

import csv

import cv2
import numpy as np
import pytest
from commands import in_process, in_this_process

pytest.importorskip("torch", reason="the training package needs PyTorch")

from training.data import kinect, nyu_raw
from training.data.folder import PreparedFolder, split_names
from training.data.nyu_raw import Settings, plan, prepare

FOLDER = Settings(format="folder")


def write_pair(folder, time, colour, disparity):
    """Write a pair as the dataset names and stores it."""
    (folder / f"d-{time:.6f}-17.pgm").write_bytes(b"P5 640 480 65535\n" + disparity.astype("<u2").tobytes())
    (folder / f"r-{time + 0.003:.6f}-18.ppm").write_bytes(b"P6 640 480 255\n" + colour.tobytes())


@pytest.fixture
def dump(tmp_path):
    """Make two scenes of three frames: a wall, two strips before it, one behind it, invalid pixels."""
    root = tmp_path / "dump"
    for scene, metres in (("kitchen_0001a", 2.0), ("office_0002", 3.0)):
        (root / scene).mkdir(parents=True)
        for i in range(3):
            depth = np.full((480, 640), metres)
            depth[100:200, 100:500] = metres - 0.2
            depth[200:300, 100:500] = metres - 0.5
            depth[300:310] = 5
            disparity = np.rint(1092.5 - 351.3 / depth).astype(np.uint16)
            disparity[:5] = 2047
            write_pair(root / scene, 100 + i / 10, np.full((480, 640, 3), (200, 40 * i, 10), np.uint8), disparity)
    return root


def command(*arguments):
    return in_process("training.data.nyu_raw", *arguments)


def index(output):
    with open(output / "index.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_command_makes_a_folder_that_training_reads(dump, tmp_path):
    (tmp_path / "train.txt").write_text("kitchen_0001\n")
    output = tmp_path / "out"
    done = command(
        dump, "--output", output, "--format", "folder", "--train-scenes", tmp_path / "train.txt", "--jobs", 2
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("6 frames of 2 scenes")
    rows = index(output)
    assert [(r["name"], r["scene"], r["time"], r["split"], r["shard"]) for r in rows][3:5] == [
        ("office_0002_00000", "office_0002", "100.000000", "test", ""),
        ("office_0002_00001", "office_0002", "100.100000", "test", ""),
    ]
    assert split_names(output / "split.txt", "train") == [f"kitchen_0001a_{i:05d}" for i in range(3)]
    frames = PreparedFolder(output, split_names(output / "split.txt", "train"), depth_scale=0.001)
    item = frames[2]
    np.testing.assert_allclose(item["image"][240, 320], (200, 80, 10), atol=3)
    depth = item["depth"][0].numpy()
    assert depth.shape == (480, 640) and depth.dtype == np.float32
    # The nearest (1.5 m) and the farthest (5 m) depth of the frame are gone, the wall and the first strip are there.
    assert sorted({round(float(d), 1) for d in np.unique(depth)}) == [0, 1.8, 2.0]
    assert abs(np.median(depth[60:80, 100:500]) - 2.0) < 0.01


def test_a_bad_file_is_listed_and_skipped(dump, tmp_path):
    damaged = sorted((dump / "office_0002").glob("d-*"))[1]
    damaged.write_bytes(damaged.read_bytes()[:1000])
    missing = sorted((dump / "kitchen_0001a").iterdir())
    (dump / "kitchen_0001a" / "INDEX.txt").write_text("\n".join(p.name for p in missing))
    missing[-1].unlink()
    done = command(dump, "--output", tmp_path / "out", "--format", "folder", "--jobs", 1)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert "every scene counts as training data" in done.stderr
    assert f"skipped {damaged}" in done.stderr and "4 frames of 2 scenes" in done.stdout
    with open(tmp_path / "out" / "bad_files.csv", newline="") as stream:
        bad = list(csv.DictReader(stream))
    assert len(bad) == 2 and "cut short" in bad[1]["reason"] and "No such file" in bad[0]["reason"]
    assert [row["name"] for row in index(tmp_path / "out")] == [
        "kitchen_0001a_00000", "kitchen_0001a_00001", "office_0002_00000", "office_0002_00002",
    ]  # fmt: skip


def test_a_stopped_run_goes_on_where_it_was(dump, tmp_path, monkeypatch):
    output, whole = tmp_path / "out", tmp_path / "whole"
    parts = plan(dump, FOLDER, None)
    prepare(parts, whole, FOLDER, jobs=1)

    real, calls = nyu_raw.prepare_frame, []

    def prepare_frame(pair, settings):
        calls.append(pair)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(pair, settings)

    monkeypatch.setattr(nyu_raw, "prepare_frame", prepare_frame)
    with pytest.raises(KeyboardInterrupt):
        prepare(parts, output, FOLDER, jobs=1)
    assert not (output / "index.csv").exists()
    assert prepare(parts, output, FOLDER, jobs=1) == (6, [])
    assert len(calls) == 5 + 3, "the first scene was done, the second begun"
    assert not list(output.rglob("*.part"))
    for file in whole.rglob("*.*"):
        assert file.read_bytes() == (output / file.relative_to(whole)).read_bytes(), file


def test_files_that_came_later_are_prepared_and_other_settings_refused(dump, tmp_path):
    output = tmp_path / "out"
    late = [path.rename(tmp_path / path.name) for path in (dump / "office_0002").glob("*-100.2*")]
    assert prepare(plan(dump, FOLDER, None), output, FOLDER, 1)[0] == 5
    for path in late:
        path.rename(dump / "office_0002" / path.name)
    assert prepare(plan(dump, FOLDER, None), output, FOLDER, 1)[0] == 6
    with pytest.raises(ValueError, match=r"max_gap 0\.05, now 0\.1; name a new folder"):
        prepare(plan(dump, FOLDER, None), output, Settings("folder", max_gap=0.1), 1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="not empty"):
        prepare(plan(dump, FOLDER, None), tmp_path / "mine", FOLDER, 1)


def test_frames_are_sampled_evenly_halved_and_filled_if_asked(dump, tmp_path):
    settings = Settings("folder", per_scene=2, fill=True, halve=True)
    count, _ = prepare(plan(dump, settings, None), tmp_path / "out", settings, 1)
    assert count == 4 and [row["time"] for row in index(tmp_path / "out")][:2] == ["100.000000", "100.200000"]
    depth = cv2.imread(str(tmp_path / "out" / "depth" / "office_0002_00001.png"), cv2.IMREAD_UNCHANGED)
    assert depth.shape == (240, 320) and depth.dtype == np.uint16
    assert depth.min() >= 2780 and depth.max() <= 3010, "holes lie between the strip and the wall"


def test_mistakes_are_one_sentence(dump, tmp_path):
    (tmp_path / "train.txt").write_text("bedroom_0009\n")
    for arguments, sentence in (
        ((tmp_path / "none",), "is not a folder"),
        ((dump, "--train-scenes", tmp_path / "train.txt"), "none of the training scenes"),
        ((dump, "--train-scenes", tmp_path / "absent.txt"), "No such file"),
        ((dump, "--max-gap", "0.001"), "within 0.001 s"),
        ((dump, "--jobs", "0"), "must be positive"),
    ):
        done = in_this_process(nyu_raw.main, *arguments, "--format", "folder", "--output", tmp_path / "out")
        assert done.returncode != 0 and sentence in done.stderr and "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()


def test_a_real_pair_goes_through(rgbd_data, tmp_path):
    samples = rgbd_data / "rgbd_samples" / "other_formats"
    scene = tmp_path / "dump" / "basement_0001a"
    scene.mkdir(parents=True)
    (scene / "d-1316653580.471513-1316138413.pgm").symlink_to(samples / "NYU_depth.pgm")
    (scene / "r-1316653580.484909-1316849907.ppm").symlink_to(samples / "NYU_color.ppm")
    assert prepare(plan(scene, FOLDER, None), tmp_path / "out", FOLDER, 1) == (1, [])
    depth = cv2.imread(str(tmp_path / "out" / "depth" / "basement_0001a_00000.png"), cv2.IMREAD_UNCHANGED)
    expected = kinect.project_to_colour(
        kinect.decode_disparity(kinect.undistort_disparity(kinect.read_pnm(samples / "NYU_depth.pgm")))
    )
    kept = depth > 0
    assert kept.mean() > 0.7
    np.testing.assert_allclose(depth[kept] / 1000, expected[kept], atol=0.0006)
