"""Images of lenses with distortion are rectified, and the geometry of what comes out is that of a pinhole."""

import cv2
import numpy as np
import pytest
from lenses import distorted

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.lens import Lens
from depth_estimation_ros.geometry.rectify import Rectifier

CAMERA = PinholeCamera(640, 480, 500.0, 505.0, 322.0, 236.0)
NARROW = PinholeCamera(640, 480, 600.0, 600.0, 319.5, 239.5)
TURN = tuple(cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0].ravel().tolist())
LENSES = {
    "plumb_bob": Lens(CAMERA, "plumb_bob", (-0.3, 0.1, 0.001, -0.001, 0.0)),
    "plumb_bob with P": Lens(CAMERA, "plumb_bob", (-0.2, 0.05, 0.001, -0.001), projection=NARROW),
    "plumb_bob with R and P": Lens(CAMERA, "plumb_bob", (-0.2, 0.05, 0.0, 0.0, 0.0), TURN, NARROW),
    "rational_polynomial": Lens(CAMERA, "rational_polynomial", (0.4, -0.2, 0.001, 0.0, 0.01, 0.7, -0.1, 0.02)),
    "thin prism": Lens(CAMERA, "rational_polynomial", (-0.2, 0.0, 0, 0, 0, 0, 0, 0, 0.01, 0.002, -0.01, 0.001)),
    "equidistant": Lens(
        PinholeCamera(640, 480, 330.0, 330.0, 320.0, 240.0), "equidistant", (-0.01, 0.02, -0.01, 0.002)
    ),
}
WIDE = PinholeCamera(1600, 1200, 520.0, 520.0, 799.5, 599.5)
EVERY_LENS = pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES.keys())


@pytest.fixture(scope="module")
def wide_view(room, pose):
    """Picture and depth by a camera that sees all that the lenses see."""
    return room.render(WIDE, pose)


@pytest.fixture(scope="module")
def picture(room, pose):
    return room.render(CAMERA, pose)[0]


def rectified_pose(lens, pose):
    """R takes points of the camera to the rectified frame."""
    turned = pose.copy()
    turned[:3, :3] = pose[:3, :3] @ np.reshape(lens.rotation, (3, 3)).T
    return turned


def project(lens, points):
    """Pixel of points [n, 3] of the unrectified optical frame in the distorted image, by OpenCV."""
    k, d, none = lens.camera.k, np.array(lens.coefficients), np.zeros(3)
    if lens.model == "equidistant":
        return cv2.fisheye.projectPoints(points[:, None], none, none, k, d)[0][:, 0]
    return cv2.projectPoints(points, none, none, k, d)[0][:, 0]


@EVERY_LENS
def test_a_rectified_pixel_is_taken_from_where_opencv_projects_its_points(lens):
    view = lens.rectified.resized(160, 120)
    u, v = lens.pixels_of(view)
    random = np.random.default_rng(0)
    row, column = random.integers(0, 120, 50), random.integers(0, 160, 50)
    depth = random.uniform(0.5, 8.0, (50, 1))
    points = np.concatenate([view.rays()[row, column].astype(np.float64), np.ones((50, 1))], axis=1) * depth
    expected = project(lens, points @ np.reshape(lens.rotation, (3, 3)))
    np.testing.assert_allclose(np.stack([u, v], axis=-1)[row, column], expected, atol=1e-3)


@EVERY_LENS
@pytest.mark.parametrize("size", [(160, 120), (640, 480)])
def test_a_rectified_picture_is_that_of_a_pinhole_camera(lens, size, room, pose, wide_view):
    rectify = Rectifier(lens, lens.rectified.resized(*size))
    found = rectify(distorted(lens, wide_view[0], WIDE)).astype(float)
    expected, _ = room.render(lens.rectified, rectified_pose(lens, pose))
    expected = cv2.resize(expected, size, interpolation=cv2.INTER_AREA)
    shown = lens.shows(rectify.view)
    valid = np.ones(found.shape[:2], bool) if shown is None else shown
    error = np.abs(found - expected)[valid]
    shifted = np.abs(np.roll(found, 1, axis=1) - expected)[valid]
    assert error.mean() < 4.0  # of 255 grey levels: the picture is resampled three times here
    assert error.mean() < 0.7 * shifted.mean()  # one pixel to the side fits worse


@EVERY_LENS
def test_depth_of_the_rectified_picture_is_that_of_the_pinhole_camera(lens, room, pose, wide_view):
    """Depth takes the same way as pictures: within 1 % of the rendered one, but for borders of objects."""
    rays = np.concatenate([WIDE.rays(), np.ones((1200, 1600, 1), np.float32)], axis=2)
    # Depth is along the rectified axis.
    along = rays @ np.reshape(lens.rotation, (3, 3))[2].astype(np.float32) * wide_view[1]
    found = cv2.remap(distorted(lens, along, WIDE), *lens.pixels_of(lens.rectified), cv2.INTER_LINEAR)
    _, expected = room.render(lens.rectified, rectified_pose(lens, pose))
    valid = lens.shows(lens.rectified)
    error = np.abs(found / expected - 1)[slice(None) if valid is None else valid]
    assert np.median(error) < 1e-3
    assert np.mean(error < 0.01) > 0.95


def test_without_p_the_rectified_picture_has_no_empty_corners():
    for name in ("plumb_bob", "rational_polynomial", "equidistant"):
        assert LENSES[name].shows(LENSES[name].rectified.resized(160, 120)) is None, name


def test_with_p_the_rectified_camera_is_p_and_what_the_image_does_not_show_is_marked():
    wide = PinholeCamera(640, 480, 380.0, 380.0, 319.5, 239.5)
    lens = Lens(CAMERA, "plumb_bob", (-0.2, 0.05, 0.0, 0.0, 0.0), projection=wide)
    assert lens.rectified is wide
    valid = lens.shows(wide.resized(160, 120))
    assert not valid[:, 0].any() and valid[60, 80] and 0.5 < valid.mean() < 0.9


def test_where_the_polynomial_turns_round_nothing_is_shown():
    # r (1 - 0.3 r^2) grows up to r = 1.05 only.
    lens = Lens(CAMERA, "plumb_bob", (-0.3, 0.0, 0.0, 0.0))
    view = PinholeCamera(300, 300, 60.0, 60.0, 149.5, 149.5)
    radius = np.hypot(*np.moveaxis(view.rays(), -1, 0))
    valid = lens.shows(view)
    assert not valid[radius > 1.1].any() and valid[radius < 0.4].all()


@pytest.mark.parametrize("size", [(160, 120), (80, 60), (224, 224), (304, 228)])
@pytest.mark.parametrize("image", [(640, 480), (1920, 1080), (752, 480)])
def test_a_pattern_finer_than_the_view_turns_grey(size, image):
    lens = Lens(PinholeCamera.from_fov(*image, 1.1), "plumb_bob", (-0.1, 0.02, 0.0, 0.0, 0.0))
    checks = (np.indices(image[::-1]).sum(0) % 2 * 255).astype(np.uint8)
    found = Rectifier(lens, lens.rectified.resized(*size))(np.repeat(checks[..., None], 3, axis=2))
    assert found.shape == (size[1], size[0], 3)
    assert np.abs(found.astype(int) - 127).mean() < 32


def test_rectifying_to_the_networks_size_is_rectifying_and_shrinking(picture):
    lens = LENSES["plumb_bob"]
    whole = Rectifier(lens, lens.rectified)(picture)
    for size in ((160, 120), (304, 228), (100, 100)):
        small = Rectifier(lens, lens.rectified.resized(*size))(picture)
        error = small.astype(float) - cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
        assert np.sqrt(np.mean(error**2)) < 3.0, size


def test_a_window_of_the_rectified_picture_may_be_asked_for(picture):
    lens = LENSES["plumb_bob"]
    whole = Rectifier(lens, lens.rectified)(picture)
    window = Rectifier(lens, lens.rectified.cropped(100, 50, 320, 240))(picture)
    assert np.abs(window.astype(int) - whole[50:290, 100:420]).max() <= 1


def test_roi_and_binning_crop_and_scale_the_lens():
    lens = LENSES["plumb_bob with P"]
    part = lens.cropped(100, 60, 400, 300).resized(200, 150)
    found, whole = (np.stack(a.pixels_of(a.rectified), axis=-1) for a in (part, lens))
    # Pixel (10, 20) of the binned window lies between pixels 20 and 21 (40 and 41) of the window.
    middle = whole[60 + 40 : 60 + 42, 100 + 20 : 100 + 22].mean(axis=(0, 1))
    np.testing.assert_allclose(found[20, 10], (middle - (100, 60) + 0.5) / 2 - 0.5, atol=0.01)


def test_the_fields_of_camera_info_are_read():
    k, d = [500.0, 0, 322, 0, 505, 236, 0, 0, 1], [-0.3, 0.1, 0.001, -0.001, 0.0]
    zeros, p = [0.0] * 12, [600.0, 0, 319.5, 0, 0, 600, 239.5, 0, 0, 0, 1, 0]
    assert Lens.from_calibration(640, 480, k, d, "plumb_bob", [0.0] * 9, zeros) == LENSES["plumb_bob"]
    lens = Lens.from_calibration(640, 480, k, d, "plumb_bob", TURN, p)
    assert lens.rectified == NARROW and lens.rotation == TURN
    assert lens.distorts and not Lens.from_calibration(640, 480, k, [0.0] * 5, "plumb_bob").distorts


@pytest.mark.parametrize(
    ("model", "coefficients", "sentence"),
    [
        ("fov", (0.9,), "distortion model 'fov' is unknown .known: plumb_bob, rational_polynomial, equidistant"),
        ("plumb_bob", (0.1, 0.2), "plumb_bob takes 4, 5, 8, 12 or 14 coefficients, got 2"),
        ("equidistant", (0.1, 0.2, 0.0, float("nan")), "coefficients of the distortion must be finite"),
        ("plumb_bob", (0.1, float("inf"), 0.0, 0.0), "coefficients of the distortion must be finite"),
        ("rational_polynomial", (0.1,) * 15, "rational_polynomial takes 4, 5, 8, 12 or 14 coefficients, got 15"),
        ("equidistant", (0.1,) * 5, "equidistant takes 4 coefficients, got 5"),
        ("", (0.1,) * 5, "distortion model '' is unknown"),
    ],
)
def test_calibrations_that_are_none_are_refused(model, coefficients, sentence):
    with pytest.raises(ValueError, match=sentence):
        Lens(CAMERA, model, coefficients)
    with pytest.raises(ValueError, match=sentence):
        Lens.from_calibration(640, 480, CAMERA.k.ravel(), coefficients, model)


FIVE = (-0.03, 0.035, -0.0001, -0.0002, -0.012)
EIGHT = (0.07, -0.1, 0.0002, -0.0003, 0.04, 0.4, -0.06, 0.03)
TILTED = (*EIGHT, 0.01, 0.002, -0.01, 0.001, 0.02, -0.01)
FISHEYE = (-0.009, 0.046, -0.043, 0.008)


@pytest.mark.parametrize(
    ("model", "sent", "taken"),
    [
        ("plumb_bob", FIVE[:4], FIVE[:4]),
        ("plumb_bob", (*FIVE, 0.0, 0.0, 0.0), FIVE),  # Orbbec
        ("plumb_bob", EIGHT, EIGHT),
        ("plumb_bob", TILTED[:12], TILTED[:12]),
        ("rational_polynomial", TILTED, TILTED),
        ("rational_polynomial", FIVE, FIVE),
        ("rational_polynomial", EIGHT[:6], (*EIGHT[:6], 0.0, 0.0)),
        ("rational_polynomial", (*EIGHT, *(0.0,) * 12), EIGHT),
        ("radtan", FIVE[:4], FIVE[:4]),  # Kalibr
        ("Brown-Conrady", FIVE, FIVE),
        ("equidistant", (*FISHEYE, 0.0), FISHEYE),  # T265
        ("fisheye", FISHEYE, FISHEYE),
        ("Kannala-Brandt4", (*FISHEYE, *(0.0,) * 10), FISHEYE),
    ],
)
def test_a_distortion_is_that_of_opencv_whatever_the_driver_calls_it(model, sent, taken):
    lens = Lens.from_calibration(640, 480, CAMERA.k.ravel(), sent, model)
    u, v = lens.pixels_of(lens.rectified)
    rows, columns = np.mgrid[20:480:80, 20:640:80].reshape(2, -1)
    rays = np.concatenate([lens.rectified.rays()[rows, columns].astype(np.float64), np.ones((len(rows), 1))], axis=1)
    opencv = cv2.fisheye if taken is FISHEYE else cv2
    pixels = opencv.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), CAMERA.k, np.array(taken))[0][:, 0]
    np.testing.assert_allclose(np.stack([u, v], axis=-1)[rows, columns], pixels, atol=2e-3)
    back = opencv.undistortPoints(pixels[:, None], CAMERA.k, np.array(taken))[:, 0]
    near = np.abs(rays[:, :2]).max(axis=1) < 0.3  # its five iterations do for these
    np.testing.assert_allclose(back[near], rays[near, :2], atol=1e-3)


@pytest.mark.parametrize("rotation", [(float("nan"),) * 9, (1.0,) * 9, (2.0, 0, 0, 0, 2.0, 0, 0, 0, 2.0)])
def test_an_r_that_is_no_rotation_is_refused(rotation):
    with pytest.raises(ValueError, match="R is not a rotation matrix"):
        Lens(CAMERA, "plumb_bob", FIVE, rotation, NARROW)


def test_coefficients_that_nothing_can_be_rectified_by_are_refused():
    with pytest.raises(ValueError, match=r"cannot be rectified to a view of at most 170 degrees: set P"):
        Lens(CAMERA, "plumb_bob", (1e300,) * 5).rectified  # noqa: B018


def test_a_fisheye_of_more_than_half_a_turn_needs_a_view():
    wide = PinholeCamera(960, 960, 280.0, 280.0, 479.5, 479.5)  # 196 degrees
    coefficients = (0.02, -0.01, 0.002, -0.0005)
    with pytest.raises(ValueError, match="cannot be rectified to a view of at most 170 degrees: set P of camera_info"):
        Lens(wide, "equidistant", coefficients).rectified  # noqa: B018
    view = PinholeCamera(960, 960, 300.0, 300.0, 479.5, 479.5)
    assert Lens(wide, "equidistant", coefficients, projection=view).rectified == view


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match="the image is 320x240, its camera_info 640x480"):
        Rectifier(LENSES["plumb_bob"], NARROW)(np.zeros((240, 320, 3), np.uint8))


@pytest.mark.filterwarnings("error")
def test_nonsense_in_the_coefficients_shows_nothing_and_warns_of_nothing():
    lens = Lens(CAMERA, "plumb_bob", (1e300, -1e300, 500.0, 0.1, 0.0), projection=NARROW)
    assert lens.shows(NARROW.resized(80, 60)).mean() < 0.01
