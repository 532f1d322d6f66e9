"""A bag with images and truth becomes images with true depth, or one sentence that says why not."""

import itertools
import re
import shutil
import sqlite3
import tracemalloc

import bags
import numpy as np
import pytest
from bags import KINDS, BagWriter

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.evaluation.recording import Recording, Topics, find_recordings

CAMERA = PinholeCamera(32, 24, 30.0, 31.0, 15.5, 11.5)


def picture(value, size=(24, 32)):
    """Make a plain picture whose red channel tells which one it is."""
    return np.dstack([np.full(size, c, np.uint8) for c in (value, 100, 200)])


def depth(metres, size=(24, 32)):
    return np.full(size, metres, np.float32)


def place(path, kind):
    return path / ("run.bag" if kind == "bag" else "run")


def write(path, kind="mcap", count=20, rate=10.0, late=0.0, truth_frame="camera", **options):
    """Write images with a red of their index and depth of 1 m plus 1 cm an index; `late` is the truth's stamp's."""
    with BagWriter(path, kind, **options) as bag:
        for k in range(count):
            time = 100 + k / rate
            bag.at(time).image("/camera/image", time, picture(k), "rgb8", "camera")
            bag.info("/camera/camera_info", time, CAMERA, "camera")
            bag.at(time + 0.003).image("/camera/depth", time + late, depth(1 + 0.01 * k), "32FC1", truth_frame)
    return path


def read(recording, *slices):
    """Return (index, red, truth) of the samples."""
    return [(s.index, int(s.rgb[0, 0, 0]), round(float(np.nanmedian(s.truth)), 4)) for s in recording.samples(*slices)]


EXPECTED = [(k, k, round(1 + 0.01 * k, 4)) for k in range(20)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_image_comes_with_its_truth_and_camera(tmp_path, kind):
    recording = Recording(write(place(tmp_path, kind), kind, late=0.008))
    assert (recording.images, recording.kind, recording.clock_offset) == (20, "depth image", 0.0)
    assert recording.topics == Topics("/camera/image", "/camera/depth", "/camera/camera_info")
    assert read(recording) == EXPECTED
    sample = next(recording.samples(3))
    assert (sample.camera, sample.frame_id, sample.stamp) == (CAMERA, "camera", 100_300_000_000)
    assert sample.delay == pytest.approx(8_000_000, abs=2)
    assert not recording.problems and not recording.notes


@pytest.mark.parametrize("kind", KINDS)
def test_reading_may_begin_anywhere_and_gives_the_same(tmp_path, kind):
    recording = Recording(write(place(tmp_path, kind), kind, 100, rate=25.0))
    whole = read(recording)
    assert len(whole) == 100
    for start, stop in ((0, 7), (7, 60), (60, 100), (99, 300), (100, 120)):
        assert read(recording, start, stop) == whole[start:stop]
    assert [s[0] for a, b in itertools.pairwise((0, 33, 66, 100)) for s in read(recording, a, b)] == list(range(100))


def test_a_topic_of_two_publishers_is_one_stream(tmp_path):
    with BagWriter(tmp_path / "run.bag", "bag") as bag:
        for k in range(20):
            if k == 10:  # a camera driver that was started again
                bag.connections = {
                    c.topic: bag.writer.add_connection(c.topic, c.msgtype, typestore=bag.types, callerid="/again")
                    for c in bag.connections.values()
                }
            bag.image("/image", 100 + 0.1 * k, picture(k), "rgb8")
            bag.image("/depth", 100 + 0.1 * k, depth(1 + 0.01 * k), "32FC1")
    recording = Recording(tmp_path / "run.bag")
    assert recording.images == 20
    assert read(recording) == EXPECTED
    assert read(recording, 12, 15) == EXPECTED[12:15]


def test_real_frames_come_out_as_they_went_in(tmp_path, rgbd_data):
    nyu = Recording(bags.nyu_test_frames(tmp_path / "nyu", rgbd_data, "sqlite3"))
    redwood = Recording(bags.redwood(tmp_path / "redwood.bag", rgbd_data, "bag"))
    tum = Recording(bags.tum(tmp_path / "tum", rgbd_data))
    samples = [list(recording.samples()) for recording in (nyu, redwood, tum)]
    assert [len(s) for s in samples] == [8, 5, 1]
    folder = rgbd_data / "rgbd_samples"
    rgb, millimetres = bags.read_pair(folder / "color" / "00002.jpg", folder / "depth" / "00002.png")
    assert (samples[1][2].rgb == rgb).all()
    expected = np.where(millimetres > 0, millimetres / np.float32(1000), np.float32(np.nan))
    np.testing.assert_array_equal(samples[1][2].truth, expected)
    assert samples[0][0].camera == bags.NYU_CAMERA and samples[0][0].truth.shape == (240, 320)


def test_the_kitchens_depth_camera_is_projected_from_images_compressed_images_and_clouds(tmp_path, rgbd_data):
    plain = Recording(bags.red_kitchen(tmp_path / "plain", rgbd_data, "sqlite3", count=3))
    packed = Recording(bags.red_kitchen(tmp_path / "packed", rgbd_data, count=3, compressed=True))
    cloud = Recording(bags.red_kitchen(tmp_path / "cloud.bag", rgbd_data, "bag", count=3, truth="cloud"))
    assert [r.kind for r in (plain, packed, cloud)] == ["unregistered depth image"] * 2 + ["point cloud"]
    assert plain.topics.depth_camera_info == "/camera/depth/camera_info"
    assert packed.topics.depth == "/camera/depth/image_raw/compressedDepth"
    for a, b, c in zip(*(r.samples() for r in (plain, packed, cloud)), strict=True):
        np.testing.assert_array_equal(a.truth, b.truth)  # 16UC1 is compressed without loss
        both = np.isfinite(a.truth) & np.isfinite(c.truth)
        assert both.mean() > 0.65
        assert np.abs(a.truth - c.truth)[both].max() < 1e-3
        assert a.camera == bags.KITCHEN_COLOUR_CAMERA


def test_compressed_depth_of_32_bits_is_read(tmp_path):
    import cv2

    with BagWriter(tmp_path / "run", "mcap") as bag:
        png = cv2.imencode(".png", picture(5)[..., ::-1])[1].tobytes()
        bag.compressed("/image/compressed", 1.0, png, "rgb8; png compressed bgr8", "camera")
        bag.compressed("/depth/compressedDepth", 1.0, *bags.compressed_depth(depth(2.5)), "camera")
    recording = Recording(tmp_path / "run")
    assert read(recording) == [(0, 5, pytest.approx(2.5, abs=0.01))]
    assert any("no camera_info" in note for note in recording.notes)


def lidar_and_scan(path, kind="mcap", transforms=(("/tf_static", 0.0),)):
    """Write a wall 2 m ahead, as a cloud and as a scan, seen by a lidar 0.3 m behind the camera."""
    wall = np.stack(np.meshgrid([2.3], np.linspace(-1, 1, 60), np.linspace(-1, 1, 60), indexing="ij"), -1).reshape(
        -1, 3
    )
    angles = np.linspace(-0.4, 0.4, 81)
    to_camera = np.eye(4)
    to_camera[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    to_camera[:3, 3] = 0, 0, -0.3
    with BagWriter(path, kind) as bag:
        for topic, time in transforms:
            shift = np.eye(4)
            shift[2, 3] = time / 10  # of a camera on a slide
            bag.at(100 + time).transform(topic, 100 + time, "camera", "lidar", shift @ to_camera)
        for k in range(5):
            time = 100 + 0.1 * k
            bag.at(time).image("/image", time, picture(k), "rgb8", "camera")
            bag.info("/camera_info", time, CAMERA, "camera")
            bag.cloud("/points", time, wall, "lidar")
            bag.scan("/scan", time, 2.3 / np.cos(angles), angles[0], angles[1] - angles[0], "/lidar")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_clouds_and_scans_are_projected_through_the_static_transforms(tmp_path, kind):
    path = lidar_and_scan(place(tmp_path, kind), kind)
    cloud, scan = Recording(path), Recording(path, Topics(depth="/scan"))
    assert (cloud.kind, scan.kind) == ("point cloud", "laser scan")
    for recording in (cloud, scan):
        samples = list(recording.samples())
        assert len(samples) == 5
        for sample in samples:
            known = np.isfinite(sample.truth)
            assert sample.truth[known] == pytest.approx(2.0)
            rows = np.nonzero(known.any(axis=1))[0]
            # The scan is a line through the principal point's row; the cloud is everywhere.
            assert rows.tolist() == ([12] if recording is scan else list(range(24)))
    assert any("/points is the truth; --depth chooses among /points, /scan" in note for note in cloud.notes)


@pytest.mark.parametrize("kind", ["mcap", "bag"])
def test_frames_that_move_are_taken_where_they_were_at_the_images_time(tmp_path, kind):
    moves = [("/tf", round(0.025 + 0.05 * k, 3)) for k in range(-1, 10)]
    recording = Recording(lidar_and_scan(place(tmp_path, kind), kind, moves))
    found = [float(np.nanmedian(s.truth)) for s in recording.samples()]
    assert found == pytest.approx([2.0 + 0.01 * k for k in range(5)], abs=1e-4)
    assert read(recording, 3) == read(recording)[3:]


def test_a_moment_without_transform_is_counted(tmp_path):
    recording = Recording(lidar_and_scan(tmp_path / "run", "mcap", [("/tf", 0.0), ("/tf", 0.15)]))
    assert [s.index for s in recording.samples()] == [0, 1, 2]
    assert dict(recording.problems) == {"no transform from lidar to camera at the image's time": 2}


def test_a_missing_transform_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"'lidar'.*'camera'.*no transform.*frames: none.*record /tf_static"):
        Recording(lidar_and_scan(tmp_path / "run", "mcap", ()))


def test_depth_of_another_frame_without_camera_info_of_its_own_is_taken_as_registered_and_told(tmp_path):
    recording = Recording(write(tmp_path / "run", truth_frame="elsewhere"))
    assert recording.kind == "depth image"
    assert any("taken as registered" in note for note in recording.notes)


def test_topics_that_are_not_certain_are_listed(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for topic in ("/left/image", "/right/image"):
            bag.image(topic, 1.0, picture(1), "rgb8")
            bag.info(topic.replace("image", "camera_info"), 1.0, CAMERA)
        bag.image("/infra", 1.0, picture(1)[..., 0], "mono8")
        for topic in ("/depth/a", "/depth/b"):
            bag.image(topic, 1.0, depth(1.0), "32FC1")
    with pytest.raises(ValueError, match=r"3 images; choose one with --image: /left/image, /right/image, /infra"):
        Recording(tmp_path / "run")
    with pytest.raises(ValueError, match=r"2 topics with truth; choose one with --depth: /depth/a, /depth/b"):
        Recording(tmp_path / "run", Topics(image="/left/image"))
    with pytest.raises(ValueError, match=r"no messages of /up \(--image\).*/left/image, /right/image, /infra"):
        Recording(tmp_path / "run", Topics(image="/up"))
    with pytest.raises(ValueError, match=r"/infra of .* cannot be --depth; there are /depth/a, /depth/b"):
        Recording(tmp_path / "run", Topics(image="/left/image", depth="/infra"))
    chosen = Recording(tmp_path / "run", Topics(image="/right/image", depth="/depth/b"))
    assert chosen.topics.camera_info == "/right/camera_info"


def test_one_image_in_colour_is_taken_before_grey_ones_and_a_raw_one_before_its_compressed_twin(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        bag.image("/infra", 1.0, picture(1)[..., 0], "mono8")
        bag.image("/rgb", 1.0, picture(1), "bgr8")
        bag.compressed("/rgb/compressed", 1.0, b"-", "bgr8; jpeg compressed bgr8")
        bag.image("/depth", 1.0, depth(1.0), "32FC1")
    recording = Recording(tmp_path / "run")
    assert recording.topics.image == "/rgb"
    assert any("--image chooses among /infra, /rgb" in note for note in recording.notes)


@pytest.mark.parametrize(("missing", "sentence"), [("image", "no image topic"), ("depth", "no depth images, point")])
def test_a_bag_without_images_or_truth_names_its_topics(tmp_path, missing, sentence):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        if missing == "image":
            bag.image("/depth", 1.0, depth(1.0), "32FC1")
        else:
            bag.image("/image", 1.0, picture(1), "rgb8")
    with pytest.raises(ValueError, match=rf"{sentence}.*its topics are /\w+ \(sensor_msgs/msg/Image\)"):
        Recording(tmp_path / "run")


def test_no_overlap_in_time_is_told_with_both_spans(tmp_path):
    with BagWriter(tmp_path / "run", "sqlite3") as bag:
        for k in range(10):
            bag.image("/image", 100 + k, picture(k), "rgb8")
            bag.image("/depth", 200 + k, depth(1.0), "32FC1")
    with pytest.raises(
        ValueError, match=r"do not overlap.*/image is from 100\.000 to 109\.000 s, /depth from 200\.000"
    ):
        Recording(tmp_path / "run")
    assert read(Recording(tmp_path / "run", clock_offset=100.0)) == []  # received 100 s apart: not one moment
    with pytest.raises(ValueError, match="tolerance"):
        Recording(tmp_path / "run", tolerance=-1)


@pytest.mark.parametrize("offset", [7.25, -0.75])
def test_a_clock_that_is_ahead_is_estimated_told_and_corrected(tmp_path, offset):
    recording = Recording(write(tmp_path / "run", count=200, late=offset))
    assert recording.clock_offset == pytest.approx(offset, abs=1e-3)
    assert any("clock" in note for note in recording.notes)
    assert len(read(recording)) == 200
    assert all(abs(sample.delay) < 2e6 for sample in recording.samples(0, 5))
    given = Recording(tmp_path / "run", recording.topics, clock_offset=offset)
    assert given.clock_offset == offset and not given.notes
    assert read(given, 190) == read(recording)[190:]


def test_stamps_of_zero_are_replaced_by_the_times_of_receipt(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for k in range(20):
            bag.at(100 + 0.1 * k).image("/image", 0.0, picture(k), "rgb8")
            bag.at(100.004 + 0.1 * k).image("/depth", 100 + 0.1 * k, depth(1 + 0.01 * k), "32FC1")
    recording = Recording(tmp_path / "run")
    assert read(recording) == EXPECTED
    assert any("stamps are zero" in note for note in recording.notes)
    assert next(recording.samples()).delay == pytest.approx(4e6, abs=100)


def test_images_without_a_sample_are_counted_by_reason(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for k in range(10):
            time = 100 + 0.1 * k
            size = (20, 20) if k == 7 else (48, 64) if k == 8 else (24, 32)
            bag.info("/camera_info", time, CAMERA)
            bag.compressed("/image/compressed", time, _jpeg(picture(k, size))[: 200 if k == 5 else None], "rgb8; jpeg")
            if k != 2:
                bag.image("/depth", time, depth(np.nan if k in (3, 4) else 1 + 0.01 * k), "32FC1")
    recording = Recording(tmp_path / "run")
    samples = list(recording.samples())
    assert [s.index for s in samples] == [0, 1, 6, 8, 9]
    assert samples[3].camera == CAMERA.resized(64, 48)  # of the same shape: scaled
    problems = dict(recording.problems)
    assert problems.pop("no truth within 20 ms") == 1
    assert problems.pop("no valid truth") == 2
    assert problems.pop("camera_info is of 32x24, which does not fit 20x20") == 1
    assert [(("cut off" in reason), count) for reason, count in problems.items()] == [(True, 1)]
    assert len(list(recording.samples(3, 5))) == 0 and dict(recording.problems) == {"no valid truth": 2}


def _jpeg(rgb):
    import cv2

    return cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()


def test_a_camera_that_changes_its_resolution_keeps_its_own_intrinsics(tmp_path):
    other = PinholeCamera(40, 20, 44.0, 44.0, 19.5, 9.5)
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for k in range(10):
            camera = CAMERA if k < 5 else other
            time, size = 100 + 0.1 * k, (camera.height, camera.width)
            bag.at(time).image("/image", time, picture(k, size), "rgb8")
            bag.at(time + 0.001).info("/camera_info", time, camera)  # behind the image, as drivers publish it
            bag.at(time + 0.002).image("/depth", time, depth(1 + 0.01 * k, size), "32FC1")
    samples = list(Recording(tmp_path / "run").samples())
    assert [s.camera for s in samples] == [CAMERA] * 5 + [other] * 5


def test_an_image_of_a_distorting_lens_is_rectified_with_its_truth(tmp_path):
    wide = PinholeCamera(32, 24, 20.0, 20.0, 15.5, 11.5)
    with BagWriter(tmp_path / "run", "mcap") as bag:
        bag.image("/image_raw", 1.0, picture(3), "rgb8")
        bag.image("/image_rect", 1.0, picture(3), "rgb8")
        bag.info("/camera_info", 1.0, CAMERA, distortion=(-0.3, 0.1, 0, 0, 0), projection=wide)
        bag.image("/depth", 1.0, depth(2.0), "32FC1")
    recording = Recording(tmp_path / "run", Topics(image="/image_raw"))
    (sample,) = recording.samples()
    assert sample.camera == wide
    assert any("distortion" in note for note in recording.notes)
    assert np.isnan(sample.truth).any()  # what the lens did not see
    assert np.nanmax(sample.truth) == np.nanmin(sample.truth) == 2.0
    (rectified,) = Recording(tmp_path / "run", Topics(image="/image_rect")).samples()
    assert np.isfinite(rectified.truth).all() and rectified.camera == sample.camera


def test_a_camera_that_nobody_calibrated_is_done_without(tmp_path):
    from types import SimpleNamespace

    with BagWriter(tmp_path / "run", "mcap") as bag:
        bag.info("/camera_info", 1.0, SimpleNamespace(width=32, height=24, k=np.zeros((3, 3))))
        bag.image("/image", 1.0, picture(1), "rgb8")
        bag.image("/depth", 1.0, depth(2.0), "32FC1")
    recording = Recording(tmp_path / "run")
    assert [s.camera for s in recording.samples()] == [None]
    assert any("/camera_info is not used" in note for note in recording.notes)


def storage(path):
    return path if path.is_file() else next(f for f in path.iterdir() if f.suffix in (".mcap", ".db3"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bag_that_is_cut_off_gives_what_is_left_and_says_so(tmp_path, kind):
    path = _large(place(tmp_path, kind), kind)
    whole = read(Recording(path))
    file = storage(path)
    with open(file, "r+b") as damaged:
        damaged.truncate(int(0.6 * file.stat().st_size))
    for damaged in {path, file}:
        recording = Recording(damaged)
        found = read(recording)
        assert 0.3 * len(whole) < len(found) < 0.7 * len(whole)
        assert found == whole[: len(found)]
        assert any("is damaged" in note and "cannot be read" in note for note in recording.notes)
        assert len(found) + sum(recording.problems.values()) == recording.images


def _large(path, kind, count=60, **options):
    """Write noise, which is more than a chunk of it; the first pixel of each image tells its index."""
    random = np.random.default_rng(0)
    with BagWriter(path, kind, **options) as bag:
        for k in range(count):
            rgb = random.integers(0, 255, (120, 160, 3), np.uint8)
            rgb[0, 0, 0] = k % 256
            bag.image("/image", 100 + 0.1 * k, rgb, "rgb8")
            bag.image("/depth", 100 + 0.1 * k, depth(1 + 0.01 * k, (120, 160)), "32FC1")
    return path


@pytest.mark.parametrize("compress", ["", "message"])
@pytest.mark.parametrize("kind", ["mcap", "sqlite3"])
def test_a_bag_that_was_never_closed_is_read(tmp_path, kind, compress):
    path = write(tmp_path / "run", kind, compress=compress)
    assert read(Recording(path)) == EXPECTED
    for content, sentence in (("", "A metadata key|NoneType"), (None, "the recording was not closed")):
        (path / "metadata.yaml").unlink() if content is None else (path / "metadata.yaml").write_text(content)
        recording = Recording(path)
        assert read(recording) == EXPECTED
        assert re.search(f"is read without a metadata.yaml: .*({sentence})", " ".join(recording.notes))


def test_a_split_of_a_bag_that_is_missing_is_told(tmp_path):
    path = write(tmp_path / "run", "mcap")
    shutil.copy(storage(path), path / "run_1.mcap")
    shutil.copy(storage(_large(tmp_path / "more", "mcap", count=3)), path / "run_2.mcap")
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace("- run.mcap", "- run.mcap\n    - run_3.mcap"))
    (path / "run_1.mcap").write_bytes(b"")
    recording = Recording(path, Topics("/camera/image", "/camera/depth"))
    assert read(recording) == EXPECTED
    assert any("run_3.mcap" in note for note in recording.notes)
    assert any("'run_1.mcap' is left out" in note for note in recording.notes)


def test_a_ros1_bag_that_was_being_written_is_read(tmp_path):
    path = _large(tmp_path / "run.bag", "bag")
    whole, content = read(Recording(path)), path.read_bytes()
    # The recorder fills in where the index is when it closes the bag.
    at = content.index(b"index_pos=") + 10
    active = tmp_path / "run.bag.active"
    active.write_bytes(content[:at] + bytes(8) + content[at + 8 :])
    assert find_recordings([str(active)]) == [active]
    assert read(Recording(active)) == whole


def test_a_damaged_chunk_in_the_middle_is_left_out(tmp_path):
    path = _large(tmp_path / "run", "mcap", compress="storage")
    whole, file = read(Recording(path)), storage(path)
    with open(file, "r+b") as damaged:
        damaged.seek(file.stat().st_size // 2)
        damaged.write(b"\xa5" * 3000)
    recording = Recording(path, clock_offset=0.0)
    found = read(recording)
    assert set(found) < set(whole) and len(found) >= len(whole) // 2
    assert found[-1] == whole[-1]
    assert recording.problems["the recording is damaged where the image is"] >= 1
    assert any("1 damaged chunk cannot be read" in note for note in recording.notes)
    assert read(recording, 50) == [row for row in found if row[0] >= 50]


def test_what_a_write_ahead_log_says_counts(tmp_path):
    path = write(tmp_path / "run", "sqlite3")
    file = storage(path)
    live = tmp_path / "live.db3"
    shutil.copy(file, live)
    database = sqlite3.connect(live)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    database.execute("DELETE FROM messages WHERE timestamp > 101450000000")
    database.commit()
    crashed = tmp_path / "crashed.db3"  # the files as they are, while the database is open
    shutil.copy(live, crashed)
    shutil.copy(f"{live}-wal", f"{crashed}-wal")
    database.close()
    assert read(Recording(crashed)) == EXPECTED[:15]


@pytest.mark.parametrize("name", ["run.mcap", "run.bag", "run.db3"])
@pytest.mark.parametrize("content", [b"", b"no bag" * 1000])
def test_what_is_no_bag_is_refused_in_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="is not a readable bag"):
        Recording(tmp_path / name)


def test_a_long_recording_is_not_kept_in_memory(tmp_path):
    recording = Recording(_large(tmp_path / "run", "mcap", count=400))  # 54 MB
    tracemalloc.start()
    count = sum(1 for _ in recording.samples())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400
    assert peak < 15e6


def test_recordings_are_found_by_names_folders_and_patterns(tmp_path, monkeypatch):
    for name in ("run2", "run10", "other"):
        write(tmp_path / name, count=1)
    write(tmp_path / "old.bag", "bag", count=1)
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / "down", count=1)
    (tmp_path / "run10" / "metadata.yaml").unlink()
    (tmp_path / "notes.txt").write_text("no bag")
    names = [p.relative_to(tmp_path).as_posix() for p in find_recordings([str(tmp_path)])]
    assert sorted(names) == ["deep/down", "old.bag", "other", "run10", "run2"]
    assert [p.name for p in find_recordings([f"{tmp_path}/run*"])] == ["run2", "run10"]
    assert len(find_recordings([f"{tmp_path}/run*", str(tmp_path / "run2")])) == 2
    assert [p.name for p in find_recordings([f"{tmp_path}/**/*.mcap"])] == [
        "down.mcap",
        "other.mcap",
        "run2.mcap",
        "run10.mcap",
    ]
    monkeypatch.chdir(tmp_path)
    assert [str(p) for p in find_recordings(["old.bag"])] == ["old.bag"]
    for pattern, sentence in (
        ("missing.bag", "does not exist"),
        ("no*", "no recording"),
        ("notes.txt", "no recording"),
    ):
        with pytest.raises(ValueError, match=sentence):
            find_recordings([pattern])
