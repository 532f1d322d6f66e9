"""Where nothing measures depth but the camera's poses are known, the truth is triangulated: held against true depth."""

import weakref
from itertools import pairwise

import bags
import numpy as np
import pytest
from bag_writer import BagWriter
from small_bags import CAMERA, picture

from depth_estimation_ros.bags.pairing import Received
from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.evaluation.recording.poses import AROUND, Shot, surrounded
from depth_estimation_ros.evaluation.recording.recording import Recording, Topics
from depth_estimation_ros.evaluation.recording.triangulation import Posed, triangulate
from depth_estimation_ros.geometry.pose import camera_pose
from depth_estimation_ros.synthetic import Room


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return bags.synthetic_room(tmp_path_factory.mktemp("room") / "room", count=20)


def errors(samples, truths):
    """Return the relative errors of triangulated depths, one array a frame."""
    found = []
    for sample in samples:
        truth = truths[sample.index].truth
        both = np.isfinite(sample.truth) & np.isfinite(truth)
        found.append(sample.truth[both] / truth[both] - 1)
    return found


def test_exact_poses_give_the_depth_of_an_exact_world(room):
    by_poses = list(Recording(room, Topics(depth="/mocap/camera")).samples())
    found = errors(by_poses, {s.index: s for s in Recording(room).samples()})
    assert len(by_poses) == 20 and min(map(len, found)) > 100
    every = np.concatenate(found)
    assert np.median(np.abs(every)) < 0.02
    assert abs(np.median(every)) < 0.01
    # Most of the rest lies at edges, where a pixel beside is of another thing.
    assert np.mean(np.abs(every) > 0.1) < 0.15
    # What it says of itself is a standard deviation; half of the errors are within two thirds of one.
    told = np.median([s.deviation for s in by_poses])
    assert 0.5 < np.median(np.abs(every)) / (0.674 * told) < 2


@pytest.mark.parametrize(
    ("data", "truth", "topic"),
    [
        ("rendered_data", "odometry", "/odom"),
        ("rendered_data", "pose", "/pose"),
        ("rendered_data", "tf", "/tf"),
        ("rgbd_data", "odometry", "/odom"),
    ],
)
def test_poses_of_each_kind_agree_with_a_depth_camera(tmp_path, request, data, truth, topic):
    frames = request.getfixturevalue(data)
    depth_camera = Recording(bags.red_kitchen(tmp_path / "depth", frames))
    recording = Recording(
        bags.red_kitchen(tmp_path / "poses", frames, "bag" if topic == "/tf" else "mcap", truth=truth)
    )
    assert (recording.kind, recording.topics.depth) == ("poses (triangulated)", topic)
    assert any("no depth sensor" in note for note in recording.notes)
    samples = list(recording.samples(0, None, 8))
    assert [s.index for s in samples] == [0, 8, 16, 24, 32] and not recording.problems
    found = errors(samples, {s.index: s for s in depth_camera.samples(0, None, 8)})
    assert np.median(np.abs(np.concatenate(found))) < 0.045
    assert min(map(len, found)) > 80 and np.median([len(f) for f in found]) > 200
    # Only rendered poses are exact.
    deviations = [s.deviation for s in samples]
    assert (0.0 if data == "rendered_data" else 0.02) < min(deviations) <= max(deviations) < 0.15, deviations


def test_what_an_image_gives_does_not_depend_on_where_reading_begins(room):
    recording = Recording(room, Topics(depth="/mocap/camera"))
    whole = list(recording.samples())
    parts = [s for a, b in pairwise((0, 7, 8, 20)) for s in recording.samples(a, b)]
    assert [(s.index, s.deviation) for s in parts] == [(s.index, s.deviation) for s in whole]
    for a, b in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(a.truth, b.truth)


def test_little_is_kept_of_a_long_recording():
    alive, most = weakref.WeakSet(), 0

    def shots():
        for k in range(400):
            posed = Posed(np.zeros(1), CAMERA, np.eye(4))
            alive.add(posed)
            yield Shot(Received(k * 10**6, k * 10**6, None, k), None, posed)

    seen = []
    for shot, before, after in surrounded(shots()):
        seen.append(shot.image.index)
        most = max(most, len(alive))
        assert (len(before), len(after)) == (min(seen[-1], AROUND), min(399 - seen[-1], AROUND))
    assert seen == list(range(400)) and most <= 2 * AROUND + 3


def scene(poses, turn=None):
    """Return images of a room from poses, told to be from others where `turn` [4, 4] is not None."""
    camera, room = PinholeCamera.from_fov(160, 120, 1.1), Room(0)
    start = room.trajectory(0.0)
    images = []
    for k, pose in enumerate(poses):
        rgb, _ = room.render(camera, start @ pose)
        told = start @ pose @ (turn if turn is not None and k else np.eye(4))
        images.append(Posed(rgb[..., 1].copy(), camera, told))
    return images


def moved(x):
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


def test_a_camera_that_stands_still_has_no_truth():
    target, *others = scene([moved(0.0)] * 4)
    with pytest.raises(ValueError, match="moved too little"):
        triangulate(target, others, [])


def test_poses_of_another_camera_are_found_out():
    off = np.eye(4)
    off[:3, :3] = camera_pose(0.0, 0.0, 0.15)[:3, :3] @ camera_pose(0.0)[:3, :3].T
    poses = [moved(x) for x in (0.0, 0.05, 0.1, 0.15)]
    target, *others = scene(poses)
    assert np.isfinite(triangulate(target, others, [])[0]).sum() > 30
    target, *others = scene(poses, off)
    with pytest.raises(ValueError, match="poses do not fit the images"):
        triangulate(target, others, [])


def test_a_blank_wall_gives_no_points():
    blank = Posed(np.full((120, 160), 90, np.uint8), PinholeCamera.from_fov(160, 120, 1.1), np.eye(4))
    with pytest.raises(ValueError, match="too few corners"):
        triangulate(blank, [blank], [])


def write(path, poses, count=10, info=True, **options):
    """Write plain images and poses at times."""
    with BagWriter(path, "mcap") as bag:
        for k in range(count):
            bag.image("/image", 100 + 0.1 * k, picture(k), "rgb8", "camera")
            if info:
                bag.info("/camera_info", 100 + 0.1 * k, CAMERA, "camera")
        for time in poses:
            bag.pose("/odom", time, np.eye(4), "odom", **options)
    return path


def test_images_without_a_pose_of_their_time_are_counted(tmp_path):
    recording = Recording(write(tmp_path / "run", [100.0, 100.1, 100.2, 100.6, 100.7, 100.8]))
    assert list(recording.samples()) == []
    assert dict(recording.problems) == {"too few corners to triangulate": 6, "no pose at the image's time": 4}


def test_what_is_missing_to_know_the_cameras_pose_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"/odom .* pose of frame 'base', the image is in frame 'camera'.*record /tf_static"
    ):
        Recording(write(tmp_path / "mount", [100.0, 100.1], child="base"))
    with pytest.raises(ValueError, match=r"/odom .*camera_info.*--camera-info"):
        Recording(write(tmp_path / "info", [100.0, 100.1], info=False))
    with BagWriter(tmp_path / "still", "mcap") as bag:
        bag.image("/image", 100.0, picture(1), "rgb8", "camera")
        bag.info("/camera_info", 100.0, CAMERA, "camera")
        bag.transform("/tf", 100.0, "base", "wheel", np.eye(4))
    with pytest.raises(ValueError, match=r"/tf .*no moving transform above 'camera'.*--depth"):
        Recording(tmp_path / "still")
    with BagWriter(tmp_path / "two", "mcap") as bag:
        bag.image("/image", 100.0, picture(1), "rgb8", "camera")
        for topic in ("/odom", "/vio"):
            bag.pose(topic, 100.0, np.eye(4), "odom", "base")
    with pytest.raises(ValueError, match="choose one with --depth: /odom, /vio"):
        Recording(tmp_path / "two")
