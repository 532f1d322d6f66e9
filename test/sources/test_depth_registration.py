"""True depth of a bag is that of its image, or none: which topic is taken, how another camera's is projected."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from bag_writer import KINDS, BagWriter
from small_bags import picture, place

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.evaluation.recording.recording import Recording
from depth_estimation_ros.geometry.pose import camera_pose
from depth_estimation_ros.sources import open_source

COLOUR = PinholeCamera(64, 48, 60.0, 60.0, 31.5, 23.5)
DEPTH = PinholeCamera(64, 48, 45.0, 45.0, 31.5, 23.5)  # sees more
RIGHT = np.eye(4)  # takes points of the depth camera, 6 cm left of the colour camera, to it
RIGHT[0, 3] = -0.06
FRAMES = ("color_optical_frame", "depth_optical_frame")
TOPICS = ("/camera/color/image_raw", "/camera/depth/image_rect_raw")


def board(camera=DEPTH, columns=slice(28, 36)):
    """Return depth [h, w]: a wall at 2 m, before it a board at 1 m of some columns."""
    metres = np.full((camera.height, camera.width), 2.0, np.float32)
    metres[:, columns] = 1.0
    return metres


def write(
    path, kind="mcap", frames=FRAMES, camera=DEPTH, metres=None, colour=COLOUR, infos=True, transform=None, **extra
):
    """Write five moments of a colour and a depth camera; `transform` (bag) writes what connects them."""
    metres = board(camera) if metres is None else metres
    with BagWriter(path, kind) as bag:
        if transform is not None:
            transform(bag)
        for k in range(5):
            t = 100 + k / 10
            bag.at(t).image(TOPICS[0], t, picture(k, (48, 64)), "rgb8", frames[0])
            bag.info("/camera/color/camera_info", t, COLOUR, frames[0], **extra)
            bag.image(TOPICS[1], t, (metres * 1000).astype(np.uint16), "16UC1", frames[1])
            if infos:
                bag.info("/camera/depth/camera_info", t, camera, frames[1])
    return path


def static(pose=RIGHT, frames=FRAMES, received=99.0):
    return lambda bag: bag.at(received).transform("/tf_static", 1.0, *frames, pose)


def truths(path):
    """Return the depth of the middle moment as a source and as the evaluation give it, and what the source notes."""
    source = open_source(str(path))
    frames, samples = list(source), list(Recording(path).samples())
    assert len(frames) == len(samples) == 5
    np.testing.assert_array_equal(frames[2].depth, samples[2].truth)
    return frames[2].depth, " ".join(source.notes)


def expected_columns(camera, move, columns, source=DEPTH, z=1.0):
    """Return the columns (first and last) where a board of some columns of the depth camera is seen in the image."""
    edges = np.array([columns.start - 0.5, columns.stop - 0.5])
    return camera.fx * ((edges - source.cx) / source.fx * z + move) / z + camera.cx


def assert_board(depth, move=-0.06, camera=COLOUR, columns=slice(28, 36), source=DEPTH):
    known = depth[depth.shape[0] // 2]
    near = np.flatnonzero(np.abs(known - 1.0) < 0.01)
    scaled = camera.resized(depth.shape[1], depth.shape[0])
    first, last = expected_columns(scaled, move, columns, source)
    assert near.min() == pytest.approx(first + 0.5, abs=1.01) and near.max() == pytest.approx(last - 0.5, abs=1.01)
    assert np.nanmax(np.abs(known[~np.isin(np.arange(len(known)), near)] - 2.0)) < 0.01


def test_depth_of_another_camera_is_no_truth_without_a_transform(tmp_path):
    source = open_source(str(write(tmp_path / "run")))
    assert all(frame.depth is None for frame in source)
    assert any(
        "depth_optical_frame" in note and "no transform of the bag connects them" in note for note in source.notes
    )
    with pytest.raises(ValueError, match="no transform of the bag connects them"):
        Recording(tmp_path / "run")
    with pytest.raises(ValueError, match="no transform of the bag connects them"):
        open_source(str(tmp_path / "run"), depth_topic=TOPICS[1])


@pytest.mark.parametrize("kind", KINDS)
def test_depth_of_another_camera_is_projected_by_the_static_transforms(tmp_path, kind):
    depth, notes = truths(write(place(tmp_path, kind), kind, transform=static()))
    assert_board(depth)
    assert "is projected into its view" in notes


def test_what_the_depth_camera_does_not_see_behind_the_board_is_not_known(tmp_path):
    depth, _ = truths(write(tmp_path / "run", transform=static()))
    row = depth[24]
    last = np.flatnonzero(np.abs(row - 1.0) < 0.01).max()
    # The colour camera is further right: there it looks behind the board, where the depth camera saw nothing.
    assert np.isnan(row[last + 1]) and row[last + 4] == pytest.approx(2.0)


@pytest.mark.parametrize("received", [99.0, 100.35])
@pytest.mark.parametrize("slashes", [("", ""), ("/", "/"), ("/", "")])
def test_transforms_may_be_recorded_late_and_frames_have_slashes(tmp_path, received, slashes):
    frames = tuple(slash + frame for slash, frame in zip(slashes, FRAMES, strict=True))
    depth, _ = truths(write(tmp_path / "run", frames=frames, transform=static(received=received)))
    assert_board(depth)


def test_frames_that_move_are_taken_where_they_are(tmp_path):
    def slide(bag):
        for k in range(-2, 8):
            pose = RIGHT.copy()
            pose[0, 3] = -0.06 - 0.02 * k
            bag.at(100 + k / 10 + 0.04).transform("/tf", 100 + k / 10, *FRAMES, pose)

    depth, _ = truths(write(tmp_path / "run", transform=slide))
    assert_board(depth, move=-0.10)


def test_aligned_depth_is_taken_before_the_sensors_own(tmp_path):
    aligned = "/camera/aligned_depth_to_color/image_raw"

    def both(bag):
        static()(bag)
        for k in range(5):
            bag.at(100 + k / 10).image(aligned, 100 + k / 10, board(COLOUR, slice(10, 20)), "32FC1", FRAMES[0])

    depth, notes = truths(write(tmp_path / "run", transform=both))
    np.testing.assert_array_equal(depth, board(COLOUR, slice(10, 20)))
    assert f"took {aligned} as depth" in notes
    # Who asks for the other one gets it, projected.
    assert_board(next(iter(open_source(str(tmp_path / "run"), depth_topic=TOPICS[1]))).depth)


def test_names_do_not_make_depth_aligned(tmp_path):
    # Registered to something else, as the frame says; the plain name lies over the image.
    def beside(bag):
        for k in range(5):
            t = 100 + k / 10
            bag.at(t).image("/other/depth_registered/image", t, board(DEPTH), "32FC1", "elsewhere")
            bag.info("/other/depth_registered/camera_info", t, DEPTH, "elsewhere")

    path = write(tmp_path / "run", frames=(FRAMES[0],) * 2, camera=COLOUR, transform=beside)
    depth, notes = truths(path)
    np.testing.assert_array_equal(depth, board(COLOUR))
    assert f"took {TOPICS[1]} as depth" in notes


@pytest.mark.parametrize("frames", [(FRAMES[0],) * 2, ("", ""), (FRAMES[0], ""), ("", FRAMES[1])])
@pytest.mark.parametrize("infos", [True, False])
def test_depth_of_the_images_frame_or_of_none_lies_over_it(tmp_path, frames, infos):
    path = write(tmp_path / "run", frames=frames, camera=COLOUR, infos=infos)
    np.testing.assert_array_equal(truths(path)[0], board(COLOUR))


def test_depth_of_the_images_frame_with_other_intrinsics_is_projected(tmp_path):
    path = write(tmp_path / "run", frames=(FRAMES[0],) * 2)
    assert_board(truths(path)[0], move=0.0)


@pytest.mark.parametrize(("width", "height"), [(32, 24), (128, 96)])
def test_depth_and_colour_of_two_sizes_of_one_view_belong_together(tmp_path, width, height):
    camera = COLOUR.resized(width, height)
    path = write(tmp_path / "run", frames=(FRAMES[0],) * 2, camera=camera)
    np.testing.assert_array_equal(truths(path)[0], board(camera))
    # The same where the colour was made smaller, and kept the camera_info of its sensor.
    with BagWriter(tmp_path / "small", "mcap") as bag:
        for k in range(5):
            t = 100 + k / 10
            bag.image("/color/image_raw", t, picture(k, (height, width)), "rgb8", FRAMES[0])
            bag.info("/color/camera_info", t, COLOUR, FRAMES[0])
            bag.image("/depth/image_raw", t, board(COLOUR), "32FC1", FRAMES[0])
            bag.info("/depth/camera_info", t, COLOUR, FRAMES[0])
    np.testing.assert_array_equal(truths(tmp_path / "small")[0], board(COLOUR))


def test_depth_of_another_shape_without_intrinsics_is_left_out(tmp_path):
    square = PinholeCamera(48, 48, 45.0, 45.0, 23.5, 23.5)
    source = open_source(str(write(tmp_path / "run", frames=(FRAMES[0],) * 2, camera=square, infos=False)))
    assert all(frame.depth is None for frame in source)
    recording = Recording(tmp_path / "run")
    assert not list(recording.samples())
    assert dict(recording.problems) == {"depth of 48x48 does not fit images of 64x48": 5}


@pytest.mark.parametrize("body", ["image", "depth", "both"])
@pytest.mark.parametrize("optical", [True, False])
def test_a_frame_of_a_cameras_body_is_understood(tmp_path, body, optical):
    # The frames' x looks forward, the images are those of cameras: drivers of old and simulators mix the two up.
    names = ("color_link" if body != "depth" else FRAMES[0], "depth_link" if body != "image" else FRAMES[1])
    turns = [np.eye(4) if "optical" in name else camera_pose(0.0) for name in names]
    pose = turns[0] @ RIGHT @ np.linalg.inv(turns[1])

    def transform(bag):
        bag.at(99.0).transform("/tf_static", 1.0, *names, pose)
        for link, frame in zip(names, FRAMES, strict=True):
            if optical and link != frame:
                bag.transform("/tf_static", 1.0, link, frame, camera_pose(0.0))

    if body == "both" and not optical:
        pytest.skip("two frames of bodies are not told from two optical ones by how they lie to each other")
    assert_board(truths(write(tmp_path / "run", frames=names, transform=transform))[0])


def test_the_right_image_of_a_stereo_pair_is_not_where_the_depth_is_seen_from(tmp_path):
    # Both are in the left camera's frame; P of the right one says how far it is (REP 104, CameraInfo).
    path = tmp_path / "run"
    with BagWriter(path, "mcap") as bag:
        for k in range(5):
            t = 100 + k / 10
            bag.image("/right/image_rect", t, picture(k, (48, 64)), "rgb8", FRAMES[0])
            bag.info("/right/camera_info", t, COLOUR, FRAMES[0], baseline=-0.06)
            bag.image("/left/depth", t, board(COLOUR), "32FC1", FRAMES[0])
            bag.info("/left/camera_info", t, COLOUR, FRAMES[0])
    assert_board(truths(path)[0], source=COLOUR)


def test_depth_is_brought_into_the_rectified_image_of_a_lens(tmp_path):
    distortion = (-0.25, 0.05, 0.0, 0.0, 0.0)
    rectified = replace(COLOUR, fx=50.0, fy=50.0)
    path = write(tmp_path / "run", transform=static(), distortion=distortion, projection=rectified)
    assert_board(truths(path)[0], camera=rectified)


def test_the_lens_of_the_depth_camera_counts(tmp_path):
    distortion = (0.3, 0.1, 0.0, 0.0, 0.0)
    rays = cv2.undistortPoints(np.float64([[[60.0, 24.0]]]), DEPTH.k, np.array(distortion)).ravel()
    metres = np.full((48, 64), 2.0, np.float32)
    metres[20:29, 56:] = 1.0  # at the edge, where the lens distorts
    with BagWriter(tmp_path / "run", "mcap") as bag:
        static()(bag)
        for k in range(5):
            t = 100 + k / 10
            bag.at(t).image(TOPICS[0], t, picture(k, (48, 64)), "rgb8", FRAMES[0])
            bag.info("/camera/color/camera_info", t, DEPTH, FRAMES[0])
            bag.image("/camera/depth/image_raw", t, metres, "32FC1", FRAMES[1])
            bag.info("/camera/depth/camera_info", t, DEPTH, FRAMES[1], distortion=distortion)
    depth, _ = truths(tmp_path / "run")
    column = DEPTH.fx * (rays[0] - 0.06) + DEPTH.cx
    assert column < 60 - 2.7 - 1  # than without distortion
    assert depth[24, round(column)] == pytest.approx(1.0, abs=0.01)


def test_what_sensors_publish_beside_depth_is_no_depth(tmp_path):
    def confidence(bag):
        for k in range(5):
            bag.at(100 + k / 10).image(
                "/a/confidence/confidence_map", 100 + k / 10, board(COLOUR) * 30, "32FC1", FRAMES[0]
            )

    depth, _ = truths(write(tmp_path / "run", frames=(FRAMES[0],) * 2, camera=COLOUR, transform=confidence))
    np.testing.assert_array_equal(depth, board(COLOUR))


def test_the_depth_cameras_intrinsics_are_not_the_images(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for k in range(5):
            t = 100 + k / 10
            bag.image(TOPICS[0], t, picture(k, (48, 64)), "rgb8", FRAMES[0])
            bag.image(TOPICS[1], t, board(), "32FC1", FRAMES[1])
            bag.info("/camera/depth/camera_info", t, DEPTH, FRAMES[1])
    source = open_source(str(tmp_path / "run"))
    assert source.camera_info_topic == "" and next(iter(source)).camera is None


def test_a_depth_camera_that_changes_its_mode_is_projected_from_then_on(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for k in range(6):
            t, camera = 100 + k / 10, COLOUR if k < 3 else DEPTH
            bag.info("/camera/color/camera_info", t, COLOUR, FRAMES[0])
            bag.info("/camera/depth/camera_info", t, camera, FRAMES[0])
            bag.image(TOPICS[1], t, board(camera), "32FC1", FRAMES[0])
            bag.image(TOPICS[0], t, picture(k, (48, 64)), "rgb8", FRAMES[0])
    frames = list(open_source(str(tmp_path / "run")))
    np.testing.assert_array_equal(frames[2].depth, board(COLOUR))
    assert_board(frames[3].depth, move=0.0)
