"""A bag with images and truth becomes images with true depth."""

import itertools
import tracemalloc

import bags
import numpy as np
import pytest
from bag_writer import KINDS, BagWriter, compressed_depth
from small_bags import CAMERA, EXPECTED, depth, picture, place, read, write, write_noise

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.evaluation.recording.recording import Recording, Topics


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


def test_frames_of_each_data_set_come_out_as_they_went_in(tmp_path, rendered_data):
    nyu = Recording(bags.nyu_test_frames(tmp_path / "nyu", rendered_data, "sqlite3"))
    redwood = Recording(bags.redwood(tmp_path / "redwood.bag", rendered_data, "bag"))
    tum = Recording(bags.tum(tmp_path / "tum", rendered_data))
    samples = [list(recording.samples()) for recording in (nyu, redwood, tum)]
    assert [len(s) for s in samples] == [8, 5, 1]
    folder = rendered_data / "rgbd_samples"
    rgb, millimetres = bags.read_pair(folder / "color" / "00002.jpg", folder / "depth" / "00002.png")
    assert (samples[1][2].rgb == rgb).all()
    expected = np.where(millimetres > 0, millimetres / np.float32(1000), np.float32(np.nan))
    np.testing.assert_array_equal(samples[1][2].truth, expected)
    assert samples[0][0].camera == bags.NYU_CAMERA and samples[0][0].truth.shape == (240, 320)


def test_the_kitchens_depth_camera_is_projected_from_images_compressed_images_and_clouds(tmp_path, rendered_data):
    plain = Recording(bags.red_kitchen(tmp_path / "plain", rendered_data, "sqlite3", count=3))
    packed = Recording(bags.red_kitchen(tmp_path / "packed", rendered_data, count=3, compressed=True))
    cloud = Recording(bags.red_kitchen(tmp_path / "cloud.bag", rendered_data, "bag", count=3, truth="cloud"))
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
        bag.compressed("/depth/compressedDepth", 1.0, *compressed_depth(depth(2.5)), "camera")
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
    assert any("/points is used as ground truth; --depth selects one of /points, /scan" in note for note in cloud.notes)


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
    assert problems.pop("no ground truth within 20 ms") == 1
    assert problems.pop("no valid ground truth") == 2
    assert problems.pop("camera_info for 32x24 does not fit images of 20x20") == 1
    assert [(("cannot be decoded" in reason), count) for reason, count in problems.items()] == [(True, 1)]
    assert len(list(recording.samples(3, 5))) == 0 and dict(recording.problems) == {"no valid ground truth": 2}


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


def test_a_long_recording_is_not_kept_in_memory(tmp_path):
    recording = Recording(write_noise(tmp_path / "run", "mcap", count=400))  # 54 MB
    tracemalloc.start()
    count = sum(1 for _ in recording.samples())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400
    assert peak < 15e6
