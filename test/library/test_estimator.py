import cv2
import numpy as np
import pytest

from depth_estimation_ros import DepthEstimator, DepthMap, PinholeCamera
from depth_estimation_ros.backends import BackendError
from depth_estimation_ros.evaluation.metrics import depth_metrics

CAMERA = PinholeCamera(640, 480, 518.8579, 519.4696, 324.5824, 252.7362)


@pytest.fixture(scope="module")
def estimator():
    return DepthEstimator.load("default", threads=1)


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)


def test_depth_comes_at_the_networks_size_with_its_camera(estimator, noise):
    result = estimator.estimate(noise, CAMERA)
    h, w = result.depth.shape
    assert result.depth.dtype == np.float32
    assert (result.camera.width, result.camera.height) == (w, h)
    assert result.camera == CAMERA.resized(w, h)
    assert (result.depth > 0).all()


def test_without_a_camera_depth_has_none(estimator, noise):
    assert estimator.estimate(noise).camera is None
    assert estimator.estimate(noise).resized(100, 80).camera is None


def test_depth_is_proportional_to_the_focal_length(estimator, noise):
    longer = PinholeCamera(640, 480, 2 * CAMERA.fx, 2 * CAMERA.fy, CAMERA.cx, CAMERA.cy)
    once, twice = estimator.estimate(noise, CAMERA).depth, estimator.estimate(noise, longer).depth
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)


def test_at_the_training_focal_length_nothing_is_corrected(estimator, noise):
    info = estimator.model.info
    camera = PinholeCamera.from_fov(640, 480, 1.0)
    focal = info.focal_length * np.sqrt((640 / info.input_width) * (480 / info.input_height))
    camera = PinholeCamera(640, 480, focal, focal, camera.cx, camera.cy)
    np.testing.assert_allclose(estimator.estimate(noise, camera).depth, estimator.estimate(noise).depth, rtol=1e-5)


def test_image_size_changes_nothing_but_detail(estimator, rendered_data):
    image = cv2.imread(str(rendered_data / "rgbd_samples" / "color" / "00000.jpg"))[..., ::-1]
    full = np.ascontiguousarray(image)
    half = cv2.resize(full, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    camera = PinholeCamera(full.shape[1], full.shape[0], 525, 525, 319.5, 239.5)
    a = estimator.estimate(full, camera).depth
    b = estimator.estimate(half, camera.resized(half.shape[1], half.shape[0])).depth
    np.testing.assert_allclose(np.median(a / b), 1.0, atol=0.01)


def test_real_rooms_come_out_in_metres(estimator, rgbd_data):
    """Five frames of a dataset the network never saw, held against a sensor: not good, but metres."""
    camera = PinholeCamera(640, 480, 525, 525, 319.5, 239.5)
    errors = []
    for i in range(5):
        image = cv2.imread(str(rgbd_data / f"rgbd_samples/color/{i:05d}.jpg"))[..., ::-1]
        truth = cv2.imread(str(rgbd_data / f"rgbd_samples/depth/{i:05d}.png"), cv2.IMREAD_UNCHANGED) * 1e-3
        depth = estimator.estimate(np.ascontiguousarray(image), camera).resized(640, 480).depth
        errors.append(depth_metrics(depth, truth)["abs_rel"])
    assert np.mean(errors) < 0.4


def test_an_image_that_is_none_is_refused(estimator):
    shapes = (4, 4), (4, 4, 4), (0, 4, 3), (4, 0, 3), (1, 4, 4, 3), ()
    arrays = [np.zeros(shape, np.uint8) for shape in shapes]
    for bad in (*arrays, np.zeros((4, 4, 3), np.float32), [[[0, 0, 0]]], "image.png", b"\xff\xd8", 7):
        with pytest.raises(ValueError, match="rgb must be a uint8 array"):
            estimator.estimate(bad)
    unreadable = cv2.imread("/nowhere/typo.png")
    with pytest.raises(ValueError, match=r"rgb must be a uint8 array \[height, width, 3\], got None"):
        estimator.estimate(unreadable, CAMERA)


@pytest.mark.parametrize("camera", [(640, 480, 500, 500, 320, 240), np.eye(3), "camera.yaml", 525.0, {}])
def test_intrinsics_that_are_no_camera_are_refused(estimator, noise, camera):
    with pytest.raises(ValueError, match="camera must be a PinholeCamera or None, got"):
        estimator.estimate(noise, camera)


def test_a_view_of_one_pixel_and_one_of_an_extreme_shape_have_depth(estimator, noise):
    usual = estimator.estimate(noise, CAMERA).depth.shape
    for height, width in ((1, 1), (1, 3000), (3000, 1), (7, 5)):
        rgb = np.full((height, width, 3), 100, np.uint8)
        depth = estimator.estimate(rgb, PinholeCamera(width, height, 900.0, 900.0, 0.0, 0.0)).depth
        assert np.isfinite(depth).all() and depth.shape == usual


def test_views_that_are_none_are_refused():
    depth = np.ones((4, 6), np.float32)
    for bad in (None, 2.0, [[1.0]], np.ones(4), np.ones((4, 6, 1)), np.ones((0, 6))):
        with pytest.raises(ValueError, match=r"depth must be an array \[height, width\], got"):
            DepthMap(bad)
    with pytest.raises(ValueError, match="the camera is 640x480, the depth 6x4"):
        DepthMap(depth, CAMERA)
    with pytest.raises(ValueError, match=r"deviation must be an array \[4, 6\] too, got float32 \[6, 4\]"):
        DepthMap(depth, None, depth.T)


@pytest.mark.parametrize("size", [(0, 4), (6, -4), (6.0, 4), ("6", "4"), (None, None), (10**9, 10**9)])
def test_a_view_is_not_resized_to_what_is_no_size(size):
    with pytest.raises(ValueError, match="depth size must be"):
        DepthMap(np.ones((4, 6), np.float32)).resized(*size)


def test_intrinsics_of_another_size_are_refused(estimator, noise):
    with pytest.raises(ValueError, match="the camera is 320x240, the image 640x480"):
        estimator.estimate(noise, CAMERA.resized(320, 240))


def test_a_backend_that_is_not_there_is_refused_by_name():
    with pytest.raises(BackendError, match="'gpu' is unknown; choose one of"):
        DepthEstimator.load("default", backend="gpu")
    with pytest.raises(BackendError, match=r"no cuda provider \(it has: .*cpu"):
        DepthEstimator.load("default", backend="cuda")


def test_resizing_keeps_invalid_pixels_invalid_and_values_in_place():
    depth = np.full((40, 60), 2.0, np.float32)
    depth[:, :20] = np.nan
    resized = DepthMap(depth).resized(120, 80).depth
    assert np.isnan(resized[:, :38]).all()
    np.testing.assert_allclose(resized[:, 44:], 2.0)


def test_depth_out_of_range_or_no_number_is_invalid(estimator, noise):
    depth = np.array([0.1, 1.0, 9.0, np.nan, np.inf, -1.0, 0.0], np.float32).reshape(1, 1, 1, 7)
    outputs = {"depth": depth}
    nan = np.nan
    limited = estimator.postprocess(outputs, noise).limited(0.5, 5.0).depth
    np.testing.assert_array_equal(limited, np.array([[nan, 1.0, nan, nan, nan, nan, nan]], np.float32))
    anything = estimator.postprocess(outputs, noise).depth
    np.testing.assert_array_equal(anything, np.array([[0.1, 1.0, 9.0, nan, nan, nan, nan]], np.float32))


def test_the_deviation_goes_with_the_focal_length_and_is_invalid_where_depth_is(estimator, noise):
    depth = np.array([1.0, np.nan, 2.0, 20.0], np.float32).reshape(1, 1, 1, 4)
    outputs = {"depth": depth, "log_variance": np.full_like(depth, 2 * np.log(0.5))}
    once = estimator.postprocess(outputs, noise, CAMERA).limited(0.0, 10.0)
    longer = PinholeCamera(640, 480, 2 * CAMERA.fx, 2 * CAMERA.fy, CAMERA.cx, CAMERA.cy)
    twice = estimator.postprocess(outputs, noise, longer)
    ratio = once.depth[0, 0]
    np.testing.assert_allclose(once.deviation[0], [0.5 * ratio, np.nan, 0.5 * ratio, np.nan], rtol=1e-5)
    np.testing.assert_allclose(twice.deviation[0], [ratio, np.nan, ratio, ratio], rtol=1e-5)
    assert once.deviation.dtype == np.float32
    assert estimator.postprocess({"depth": depth}, noise, CAMERA).deviation is None


def test_resizing_carries_the_deviation_along():
    deviation = np.full((40, 60), 0.25, np.float32)
    deviation[:, :20] = np.nan
    resized = DepthMap(np.where(np.isnan(deviation), np.nan, np.float32(2)), None, deviation).resized(120, 80)
    np.testing.assert_array_equal(np.isnan(resized.deviation), np.isnan(resized.depth))
    np.testing.assert_allclose(resized.deviation[:, 44:], 0.25)
