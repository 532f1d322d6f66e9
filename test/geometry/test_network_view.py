"""Images reach the network upright, rectified and cut, and depth comes back to where the camera saw it."""

import math

import cv2
import numpy as np
import pytest
from lenses import distorted

from depth_estimation_ros import DepthEstimator, PinholeCamera
from depth_estimation_ros.geometry.lens import Lens
from depth_estimation_ros.geometry.network_view import NetworkView
from depth_estimation_ros.geometry.rotation import turned

NETWORK, FOCAL, OUTPUT = (160, 120), 130.0, (80, 64)
CAMERA = PinholeCamera(640, 400, 400.0, 405.0, 322.0, 196.0)  # 77 degrees across
SOURCES = {
    "pinhole": CAMERA,
    "telephoto": PinholeCamera(640, 400, 1100.0, 1100.0, 330.0, 205.0),
    "lens": Lens(CAMERA, "plumb_bob", (-0.25, 0.06, 0.001, 0.0, 0.0)),
    "lens with a wide P": Lens(
        CAMERA, "plumb_bob", (-0.2, 0.05, 0.0, 0.0, 0.0), projection=PinholeCamera(640, 400, 320, 320, 319.5, 199.5)
    ),
}
WIDE = PinholeCamera(1600, 1200, 420.0, 420.0, 799.5, 599.5)
EVERY_SOURCE = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
EVERY_TURN = pytest.mark.parametrize("turn", [0, 90, 180, 270])
BOTH_MODES = pytest.mark.parametrize("focal", [None, FOCAL], ids=["scale", "crop"])


@pytest.fixture(scope="module")
def wide_picture(room, pose):
    return room.render(WIDE, pose)[0]


def upright_pose(pose, turn):
    """Pose of the camera that takes the turned pictures."""
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    turned_pose = pose.copy()
    turned_pose[:3, :3] = pose[:3, :3] @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    return turned_pose


def taken(source, wide_picture):
    """Return the picture by a camera or lens."""
    lens = source if isinstance(source, Lens) else Lens(source, "plumb_bob", (0.0,) * 5)
    return distorted(lens, wide_picture, WIDE)


@EVERY_SOURCE
@EVERY_TURN
@BOTH_MODES
def test_the_network_sees_what_its_camera_says(source, turn, focal, room, pose, wide_picture):
    view = NetworkView(source, *NETWORK, focal, turn)
    found = view.prepare(taken(source, wide_picture)).astype(float)
    assert found.shape == (120, 160, 3)
    expected = room.render(view.seen.resized(640, 480), upright_pose(pose, turn))[0]
    expected = cv2.resize(expected, NETWORK, interpolation=cv2.INTER_AREA)
    # Where the camera shows anything: elsewhere the border is repeated or mirrored.
    shown = np.isfinite(turned(view.restore(np.zeros((120, 160), np.float32))[0], turn))
    assert shown.mean() > 0.3
    error, shifted = (np.abs(a - expected)[shown].mean() for a in (found, np.roll(found, 1, axis=1)))
    assert error < 6.0 and error < 0.7 * shifted


@EVERY_SOURCE
@EVERY_TURN
@BOTH_MODES
def test_depth_of_the_seen_view_comes_back_as_that_of_the_mounted_camera(source, turn, focal, room, pose):
    view = NetworkView(source, *NETWORK, focal, turn)
    perfect = room.render(view.seen.resized(*OUTPUT), upright_pose(pose, turn))[1]  # a network that knows
    depth, camera = view.restore(perfect)
    assert depth.shape == (camera.height, camera.width) == (OUTPUT if turn % 180 else OUTPUT[::-1])
    truth = room.render(camera, pose)[1]
    known = np.isfinite(depth)
    assert known.mean() > 0.3
    assert np.mean(np.abs(depth - truth)[known] > 1e-3) < 0.002  # a ray through an edge may fall on either side
    whole = view.enlarged(depth)
    assert whole.shape == (400, 640)
    truth = room.render(view.whole, pose)[1]
    known = np.isfinite(whole)
    assert np.mean(np.abs(whole / truth - 1)[known] < 0.02) > 0.8  # interpolated: borders of objects are soft
    assert np.median(np.abs(whole / truth - 1)[known]) < 0.003


def test_what_the_network_saw_of_the_whole_image_is_all_without_crop_and_a_window_with_it():
    whole, cut = NetworkView(CAMERA, *NETWORK), NetworkView(CAMERA, *NETWORK, FOCAL)
    assert whole.is_whole and np.isfinite(whole.enlarged(np.ones((64, 80), np.float32))).all()
    assert not cut.is_whole and 0.4 < np.isfinite(cut.enlarged(np.ones((64, 80), np.float32))).mean() < 0.9


def test_the_picture_for_colours_is_rectified_only_where_there_is_a_lens(wide_picture):
    rgb = taken(SOURCES["lens"], wide_picture)
    assert NetworkView(CAMERA, *NETWORK).rectified(rgb) is rgb
    assert NetworkView(Lens(CAMERA, "plumb_bob", (0.0,) * 5), *NETWORK).rectified(rgb) is rgb
    straight = NetworkView(SOURCES["lens"], *NETWORK).rectified(rgb)
    assert straight.shape == rgb.shape and (straight != rgb).any()


def test_without_lens_turn_and_crop_the_network_sees_what_the_estimator_shows_it():
    estimator = DepthEstimator.load("default", threads=1)
    rgb = np.random.default_rng(0).integers(0, 256, (400, 640, 3), np.uint8)
    view = NetworkView(CAMERA, estimator.model.info.input_width, estimator.model.info.input_height)
    np.testing.assert_array_equal(view.prepare(rgb), estimator.preprocess(rgb)[0])
    outputs = estimator.backend.infer(view.prepare(rgb)[None])
    through_view = estimator.postprocess(outputs, view.prepare(rgb), view.seen)
    direct = estimator.postprocess(outputs, rgb, CAMERA)
    np.testing.assert_allclose(through_view.depth, direct.depth, rtol=1e-6)
    depth, camera = view.restore(through_view.depth)
    assert camera.k == pytest.approx(direct.camera.k) and depth is through_view.depth


@pytest.mark.parametrize("source", [CAMERA, SOURCES["lens"]], ids=["pinhole", "lens"])
def test_an_image_of_another_size_is_refused(source):
    for focal in (None, FOCAL):
        with pytest.raises(ValueError, match="the image is 320x200"):
            NetworkView(source, *NETWORK, focal).prepare(np.zeros((200, 320, 3), np.uint8))
