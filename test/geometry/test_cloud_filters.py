"""Depth that a robot should not navigate by goes, surfaces stay, and clouds thin to one point a voxel."""

import math

import cv2
import numpy as np
import pytest

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry import cloud_filters, point_cloud
from depth_estimation_ros.geometry.cloud_filters import DepthFilter, one_per_voxel
from depth_estimation_ros.geometry.pose import camera_pose
from depth_estimation_ros.synthetic.room import Room

CAMERA = PinholeCamera(640, 480, 518.9, 519.5, 324.6, 252.7)
SMALL = CAMERA.resized(80, 64)


@pytest.fixture(scope="module")
def views():
    return [room.render(CAMERA, room.trajectory(t))[1] for room in (Room(0), Room(1)) for t in (3.0, 23.0)]


def kept(filtered):
    return ~np.isnan(filtered)


def test_range_is_measured_along_the_ray():
    camera = PinholeCamera(3, 1, 1.0, 1.0, 1.0, 0.0)
    depth = np.full((1, 3), 1.5, np.float32)  # 1.5 m ahead; 2.12 m to both sides
    np.testing.assert_array_equal(kept(DepthFilter(camera, max_range=2.0)(depth)), [[False, True, False]])
    np.testing.assert_array_equal(kept(DepthFilter(camera, min_range=2.0)(depth)), [[True, False, True]])


@pytest.mark.parametrize("pitch", [0.0, 0.3])
def test_points_of_the_filtered_cloud_lie_in_the_band_and_no_other_is_lost(views, pitch):
    pose = camera_pose(1.3, pitch)
    depth = cv2.resize(views[0], (80, 64), interpolation=cv2.INTER_NEAREST)
    limits = {"min_height": 0.1, "max_height": 1.2, "max_range": 4.0}
    filtered = DepthFilter(SMALL, pose, **limits)(depth)
    points = point_cloud(depth, SMALL)[..., :3].astype(np.float64)
    height = points @ pose[2, :3] + pose[2, 3]
    inside = (height >= 0.1) & (height <= 1.2) & (np.linalg.norm(points, axis=2) <= 4.0)
    assert 0.05 < inside.mean() < 0.95
    assert np.mean(kept(filtered) != inside) < 1e-3  # rounding at the very limits
    np.testing.assert_array_equal(filtered[kept(filtered)], depth[kept(filtered)])


def nearest_true_depth(true, depth, window=9):
    """Relative distance from each depth to the nearest true one in a window about it."""
    reach = window // 2
    padded = np.pad(true, reach, mode="edge")
    h, w = depth.shape
    shifts = [(dy, dx) for dy in range(window) for dx in range(window)]
    return np.min([np.abs(padded[y : y + h, x : x + w] / depth - 1) for y, x in shifts], axis=0)


def test_points_between_foreground_and_background_go_and_surfaces_stay(views):
    camera, removed, flying, lost, surface = CAMERA.resized(320, 240), 0, 0, 0, 0
    edges = DepthFilter(camera, edge_angle=0.15)
    for view in views:
        true = cv2.resize(view, (320, 240), interpolation=cv2.INTER_NEAREST)
        # As a network's output at the camera's size: borders of objects are ramps of several pixels.
        small = cv2.resize(view, (80, 64), interpolation=cv2.INTER_AREA)
        depth = cv2.resize(small, (320, 240), interpolation=cv2.INTER_LINEAR)
        gone = ~kept(edges(depth))
        in_the_air = nearest_true_depth(true, depth) > 0.04
        on_a_surface = np.abs(true / depth - 1) < 0.02
        removed, flying = removed + (gone & in_the_air).sum(), flying + in_the_air.sum()
        lost, surface = lost + (gone & on_a_surface).sum(), surface + on_a_surface.sum()
    assert flying > 5000
    assert removed / flying > 0.85
    assert lost / surface < 0.005


def test_a_clean_step_and_a_slanted_floor_lose_nothing():
    step = np.full((64, 80), 2.0, np.float32)
    step[:, 40:], step[:, :10] = 4.0, np.nan
    v = np.arange(64)[:, None]
    floor = (1.0 * SMALL.fy / np.maximum(v - SMALL.cy, 1.0) * np.ones((1, 80))).astype(np.float32)
    floor[floor > 6.0] = np.nan  # the line of sight meets it at 0.165 rad there
    for depth in (step, floor):
        np.testing.assert_array_equal(DepthFilter(SMALL, edge_angle=0.15)(depth), depth)


@pytest.mark.parametrize("upright", [False, True])
def test_one_pixel_between_two_surfaces_goes(upright):
    camera = SMALL if upright else PinholeCamera(64, 80, SMALL.fy, SMALL.fx, 32, 40)
    depth = np.full((64, 80), 2.0, np.float32)
    depth[:, 40], depth[:, 41:] = 3.0, 4.0
    depth = depth if upright else np.ascontiguousarray(depth.T)
    gone = ~kept(DepthFilter(camera, edge_angle=0.15)(depth))
    gone = gone if upright else gone.T
    assert gone[:, 40].all() and not np.delete(gone, 40, axis=1).any()


def test_uncertain_depth_goes():
    depth = np.array([[2.0, 2.0, 4.0, 2.0]], np.float32)
    deviation = np.array([[0.3, 0.5, 0.5, np.nan]], np.float32)
    camera = PinholeCamera(4, 1, 1.0, 1.0, 1.0, 0.0)
    filtered = DepthFilter(camera, max_deviation=0.2)(depth, deviation)
    np.testing.assert_array_equal(kept(filtered), [[True, False, True, False]])
    # A model that does not say how sure it is loses nothing by the limit.
    assert kept(DepthFilter(camera, max_deviation=0.2)(depth)).all()


def test_without_limits_nothing_changes_and_inputs_stay_as_they_were():
    depth = np.array([[np.nan, 1.0, 50.0, 0.01]], np.float32)
    depth.flags.writeable = False
    camera = PinholeCamera(4, 1, 1.0, 1.0, 1.0, 0.0)
    np.testing.assert_array_equal(DepthFilter(camera)(depth), depth)
    filtered = DepthFilter(camera, max_range=10.0)(depth)
    assert filtered.dtype == np.float32 and kept(filtered).sum() == 2


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_a_strided_cloud_has_points_of_the_whole_one(views, step):
    depth = views[0][:, :639]
    camera = CAMERA.cropped(0, 0, 639, 480)
    strided = point_cloud(depth[::step, ::step], camera.strided(step))
    np.testing.assert_allclose(strided, point_cloud(depth, camera)[::step, ::step], rtol=1e-5, atol=1e-5)


def test_one_point_stays_in_each_voxel_and_it_is_a_measured_one():
    random = np.random.default_rng(0)
    points = random.uniform(-2, 2, (50, 60, 4)).astype(np.float32)
    points[0, :30, :3] = np.nan
    thin = one_per_voxel(points, 0.25)
    cells = np.floor(points.reshape(-1, 4)[30:, :3] / 0.25).astype(int)
    assert len(thin) == len(np.unique(cells, axis=0)) < 3000
    assert len(np.unique(np.floor(thin[:, :3] / 0.25), axis=0)) == len(thin)
    measured = {tuple(p) for p in points.reshape(-1, 4).tolist()}
    assert all(tuple(p) in measured for p in thin.tolist())


def test_the_first_point_of_a_voxel_stays_in_the_order_of_the_image():
    points = np.array([[0.9, 0, 1, 1], [0.1, 0, 1, 2], [0.2, 0, 1, 3], [0.8, 0, 1, 4]], np.float32)
    np.testing.assert_array_equal(one_per_voxel(points, 0.5)[:, 3], [1, 2])


def test_a_wide_cloud_of_small_voxels_is_thinned_alike():
    points = np.random.default_rng(0).uniform(-2, 2, (500, 4)).astype(np.float32)
    few, many = one_per_voxel(points, 0.25), one_per_voxel(points * 1000, 250.0)
    np.testing.assert_array_equal(few[:, 3] * 1000, many[:, 3])
    key = np.random.default_rng(0).integers(0, 300, 1000)
    small = cloud_filters._first_of_each(key, 300)
    np.testing.assert_array_equal(small, cloud_filters._first_of_each(key, 2**40))


def test_an_empty_cloud_stays_empty():
    assert one_per_voxel(np.full((3, 4, 4), np.nan, np.float32), 0.1).shape == (0, 4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"min_range": 3.0, "max_range": 2.0}, "min_range must be less than max_range, got 3 and 2 m"),
        ({"max_height": 1.0}, "height limits need the camera's pose"),
        ({"pose": np.eye(4), "min_height": 2.0, "max_height": 1.0}, "min_height must be less than max_height"),
        ({"edge_angle": math.pi}, "edge_angle must be from 0"),
        ({"max_deviation": 0.0}, "max_deviation must be positive"),
    ],
)
def test_wrong_limits_are_named(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        DepthFilter(SMALL, **arguments)


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match=r"deviation is \(4, 4\), the filter was made for \(80, 64\) pixels"):
        DepthFilter(SMALL)(np.ones((64, 80), np.float32), np.ones((4, 4), np.float32))
    with pytest.raises(ValueError, match="voxel size must be positive"):
        one_per_voxel(np.ones((2, 4), np.float32), 0.0)
    with pytest.raises(ValueError, match="too small for the extent"):
        one_per_voxel(np.array([[-1e6, -1e6, 0, 0], [1e6, 1e6, 1e6, 0]], np.float32), 1e-5)
