"""The training camera's view is cut out of any camera's image, and depth goes back where it belongs."""

import math

import cv2
import numpy as np
import pytest

from depth_estimation_ros import DepthEstimator, PinholeCamera
from depth_estimation_ros.geometry.focal_crop import MAX_ZOOM, training_window
from depth_estimation_ros.synthetic.room import Room

NETWORK = (160, 120, 130.0)  # size and focal length: 63 degrees across
WIDE = PinholeCamera.from_fov(640, 480, math.radians(100))
NARROW = PinholeCamera.from_fov(640, 480, math.radians(30))
FLAT = PinholeCamera(1280, 720, 910.0, 910.0, 639.5, 359.5)  # 16:9, 70 x 43 degrees


@pytest.mark.parametrize("camera", [WIDE, NARROW, FLAT, FLAT.turned(90), PinholeCamera(640, 480, 500, 700, 300, 250)])
def test_a_window_looks_to_the_network_as_the_training_camera_does(camera):
    window = training_window(camera, *NETWORK)
    seen = window.view.resized(*NETWORK[:2])
    # Magnified alike in both directions, by at most MAX_ZOOM; windows begin and end at whole pixels.
    assert seen.fx / seen.fy == pytest.approx(1.0, rel=0.01)
    assert 0.99 < seen.fx / 130.0 < MAX_ZOOM * 1.01


def test_a_wider_camera_shows_the_training_view_about_its_axis():
    window = training_window(WIDE, *NETWORK)
    assert window.width == round(160 * WIDE.fx / 130) and window.height == round(120 * WIDE.fy / 130)
    assert window.view.cx == pytest.approx(window.width / 2 - 0.5, abs=0.51)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    cut = window.cut(image)
    assert np.shares_memory(cut, image) and cut.shape == (window.height, window.width, 3)
    np.testing.assert_array_equal(cut[0, 0], image[window.y, window.x])


def test_another_aspect_is_cut_rather_than_squashed():
    window = training_window(FLAT, *NETWORK)
    assert window.height == 720 and window.y == 0
    assert window.width == pytest.approx(720 * 160 / 120, abs=1)


def test_a_much_narrower_camera_is_mirrored_at_its_borders():
    window = training_window(NARROW, *NETWORK)
    assert window.width > 640 and window.height > 480
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    cut = window.cut(image)
    assert cut.shape == (window.height, window.width, 3)
    left, top = -window.x, -window.y
    np.testing.assert_array_equal(cut[top : top + 480, left : left + 640], image)
    np.testing.assert_array_equal(cut[top : top + 480, left - 1], image[:, 0])


@pytest.mark.parametrize("camera", [WIDE, NARROW, FLAT])
def test_depth_goes_back_where_the_image_was(camera):
    window = training_window(camera, *NETWORK)
    # A "depth" that says where in the image it was seen.
    u, v = np.meshgrid(np.arange(window.width) + window.x, np.arange(window.height) + window.y)
    for plane, centre in ((u, camera.width / 2), (v, camera.height / 2)):
        small = cv2.resize(plane.astype(np.float32), (80, 60), interpolation=cv2.INTER_AREA)
        whole = window.paste(small)
        assert whole.shape == (camera.height, camera.width)
        expected = np.indices(whole.shape)[0 if plane is v else 1]
        known = np.isfinite(whole)
        assert known.mean() == pytest.approx(
            min(window.width, camera.width) * min(window.height, camera.height) / (camera.width * camera.height)
        )
        # The outermost half pixel of the network's has no neighbour to interpolate with.
        inner = known & (np.abs(expected - centre) < 0.4 * min(window.height, camera.height))
        np.testing.assert_allclose(whole[inner], expected[inner], atol=0.05)  # OpenCV interpolates in steps of 1 / 32


def test_what_is_only_mirrored_border_has_no_depth():
    window = training_window(NARROW, *NETWORK)
    depth = window.blank(np.ones((60, 80), np.float32))
    known = np.isfinite(depth)
    assert known.mean() == pytest.approx(640 * 480 / (window.width * window.height), rel=0.05)
    assert known[30, 40] and not known[0].any() and not known[:, -1].any()
    # Every pixel that is left looks into the image.
    rays, half = window.view.resized(80, 60).rays()[known], math.tan(math.radians(15))
    assert np.abs(rays[:, 0]).max() <= half
    inside = training_window(WIDE, *NETWORK)
    kept = np.ones((60, 80), np.float32)
    assert inside.blank(kept) is kept


def test_an_image_of_another_size_and_an_impossible_zoom_are_refused():
    with pytest.raises(ValueError, match="the image is 4x4, its camera 640x480"):
        training_window(WIDE, *NETWORK).cut(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"max_zoom must be at least 1, got 0.5"):
        training_window(WIDE, *NETWORK, max_zoom=0.5)


@pytest.fixture(scope="module")
def estimator():
    return DepthEstimator.load("default", threads=1)


def depth_by_crop(estimator, rgb, camera):
    info = estimator.model.info
    window = training_window(camera, info.input_width, info.input_height, info.focal_length)
    return window.paste(estimator.estimate(window.cut(rgb), window.view).depth)


def test_the_field_of_view_of_a_camera_does_not_change_the_metres(estimator):
    """A room rendered for the training camera, a wide one and a flat one: the ratio to the truth is the same."""
    room, crop, scale = Room(seed=0), [], []
    for camera in (
        PinholeCamera.from_fov(640, 480, math.radians(63)),
        WIDE,
        PinholeCamera.from_fov(640, 360, math.radians(80)),
    ):
        cropped, scaled = [], []
        for t in np.arange(0, 40, 4.0):
            rgb, truth = room.render(camera, room.trajectory(t))
            cropped.append(np.nanmedian(depth_by_crop(estimator, rgb, camera) / truth))
            scaled.append(np.median(estimator.estimate(rgb, camera).resized(*truth.shape[::-1]).depth / truth))
        crop.append(np.median(cropped))
        scale.append(np.median(scaled))
    assert crop[0] == pytest.approx(1.0, abs=0.05)
    assert crop[1:] == pytest.approx([crop[0]] * 2, abs=0.03)
    # Without the crop, a wide and a flat view change the metres.
    assert max(scale[1:]) < scale[0] - 0.06


def test_size_and_crops_of_real_frames_do_not_change_the_metres(estimator, rgbd_data):
    """Thirteen frames of NYU Depth v2; 320x240, 259.6 px focal length."""
    camera = PinholeCamera(320, 240, 259.4290, 259.7348, 162.0412, 126.1181)
    ratios = {"640x480": [], "middle 80 %": [], "16:9": []}
    for number in range(1, 1449, 120):
        rgb = cv2.imread(str(rgbd_data / f"nyu_v2_labelled/rgb/{number:04d}.jpg"))[..., ::-1].copy()
        whole = estimator.estimate(rgb, camera).resized(320, 240).depth
        double = cv2.resize(rgb, (640, 480), interpolation=cv2.INTER_LINEAR)
        for name, image, seen, part in (
            ("640x480", double, camera.resized(640, 480), np.s_[:, :]),
            ("middle 80 %", rgb[24:216, 32:288], camera.cropped(32, 24, 256, 192), np.s_[24:216, 32:288]),
            ("16:9", rgb[30:210], camera.cropped(0, 30, 320, 180), np.s_[30:210]),
        ):
            depth = cv2.resize(depth_by_crop(estimator, image, seen), whole[part].shape[::-1])
            ratios[name].append(np.nanmedian(depth / whole[part]))
    medians = {name: np.median(found) for name, found in ratios.items()}
    assert medians["640x480"] == pytest.approx(1.0, abs=0.02)
    assert medians["middle 80 %"] == pytest.approx(1.0, abs=0.05)
    assert medians["16:9"] == pytest.approx(1.0, abs=0.05)


def test_a_camera_that_sees_next_to_nothing_of_the_training_view_is_refused_before_memory_is_taken():
    with pytest.raises(ValueError, match=r"so long that its image would be .*: set focal_normalisation to scale"):
        training_window(PinholeCamera.from_fov(640, 480, 0.01), *NETWORK)
