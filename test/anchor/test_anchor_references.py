"""True depths from a scan, a cloud, a range sensor and the floor, against geometry worked out by hand."""

import math

import numpy as np
import pytest

from depth_estimation_ros import PinholeCamera
from depth_estimation_ros.anchor import (
    ScaleAnchor,
    SparseDepth,
    floor_reference,
    points_reference,
    range_reference,
)
from depth_estimation_ros.anchor.matching import MOST_CELLS, match
from depth_estimation_ros.anchor.references import MOST_POINTS
from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.geometry.laser_scan import scan_points
from depth_estimation_ros.geometry.pose import camera_pose
from depth_estimation_ros.synthetic import Room

CAMERA = PinholeCamera(80, 64, 65.0, 65.0, 39.5, 31.5)

# From a sensor frame (x forward, y left, z up) at the camera's place to the optical frame.
LEVEL = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


def test_a_scan_lies_where_its_angles_say():
    ranges = np.array([2.0, np.inf, np.nan, 0.01, 4.0])
    # From the right, in steps of 45 degrees, to the left.
    points = scan_points(ranges, -math.pi / 2, math.pi / 4, 0.1, 10.0)
    np.testing.assert_allclose(points, [[0, -2, 0], [0, 4, 0]], atol=1e-12)
    np.testing.assert_allclose(
        scan_points(np.array([np.inf, 3.0]), 0.0, math.pi / 2, 0.1, np.inf), [[0, 3, 0]], atol=1e-12
    )


def test_points_are_moved_to_the_camera_and_those_behind_it_left_out():
    to_optical = LEVEL.copy()
    to_optical[:3, 3] = (0.0, -0.5, 0.1)  # the sensor is half a metre above the camera and 0.1 m before it
    found = points_reference(np.array([[2.0, 1.0, 0.5], [-1, 0, 0], [np.nan, 0, 0], [3, 0, 0]]), to_optical)
    np.testing.assert_allclose(found.depth, [2.1, 3.1])
    np.testing.assert_allclose(found.rays, [[-1 / 2.1, -1.0 / 2.1], [0.0, -0.5 / 3.1]])


def test_a_dense_cloud_is_thinned_to_a_bounded_number_all_over_the_image():
    rays = np.concatenate([CAMERA.resized(640, 512).rays(), np.ones((512, 640, 1))], axis=2).reshape(-1, 3)
    dense = points_reference(rays * 2.0)
    assert MOST_POINTS / 2 < len(dense) <= MOST_POINTS
    found = match(DepthMap(np.full((64, 80), 4.0, np.float32), CAMERA), dense)
    assert MOST_CELLS / 3 < len(found) <= MOST_CELLS
    np.testing.assert_allclose(found.log_ratio, math.log(0.5), atol=1e-6)
    assert found.rays.min(axis=0) == pytest.approx([-0.6, -0.47], abs=0.08)
    assert found.rays.max(axis=0) == pytest.approx([0.6, 0.47], abs=0.08)


def test_a_row_of_a_scan_keeps_its_resolution():
    row = np.concatenate([CAMERA.rays()[32], np.ones((80, 1))], axis=1) * 3.0
    assert len(match(DepthMap(np.full((64, 80), 3.0, np.float32), CAMERA), points_reference(row))) == 80


def test_points_outside_the_image_and_on_invalid_depth_do_not_count():
    depth = np.full((64, 80), 3.0, np.float32)
    depth[:32] = np.nan
    rays = np.array([[0.0, 0.2], [0.0, -0.2], [0.7, 0.0], [0.0, 0.55]])
    found = match(DepthMap(depth, CAMERA), SparseDepth(rays, np.full(4, 3.0)))
    np.testing.assert_allclose(found.rays, rays[:1])


def test_a_range_reading_is_the_distance_to_the_nearest_thing_in_its_cone():
    # A wall at 3 m, a post at 1.5 m ahead. The estimate is wrong by a factor; the order of depths is right.
    truth = np.full((64, 80), 3.0, np.float32)
    truth[:, 36:43] = 1.5
    to_optical = LEVEL.copy()
    to_optical[:3, 3] = (0.0, 0.2, 0.0)  # 0.2 m under the camera
    found = range_reference(DepthMap(truth * np.float32(1.3), CAMERA), 1.5, math.radians(20), to_optical)
    assert len(found) == 1
    # The point lies on the pixel's ray, 1.5 m from the sensor.
    point = np.append(found.rays[0], 1.0) * found.depth[0]
    assert np.linalg.norm(point - (0, 0.2, 0)) == pytest.approx(1.5)
    assert abs(found.rays[0, 0]) < 4 / 65
    assert found.depth[0] == pytest.approx(1.5, rel=0.03)
    found = ScaleAnchor("scale", prior=1.0).update(DepthMap(truth * np.float32(1.3), CAMERA), found, 0.0)
    assert found.scale == pytest.approx(1 / 1.3, rel=0.04)


def test_a_range_sensor_that_looks_elsewhere_gives_no_reference():
    behind = LEVEL.copy()
    behind[:3, :3] = LEVEL[:3, :3] @ np.diag([-1.0, -1.0, 1.0])
    depth = DepthMap(np.full((64, 80), 3.0, np.float32), CAMERA)
    assert len(range_reference(depth, 1.5, 0.3, behind)) == 0
    with pytest.raises(ValueError, match="range reading must be a positive number"):
        range_reference(depth, math.inf, 0.3, LEVEL)


def test_the_pose_of_a_camera_that_looks_down():
    pose = camera_pose(1.5, math.radians(30))
    # The optical axis points forward and 30 degrees down; the image's right is the robot's right.
    np.testing.assert_allclose(pose[:3, :3] @ (0, 0, 1), [math.cos(math.pi / 6), 0, -0.5], atol=1e-12)
    np.testing.assert_allclose(pose[:3, :3] @ (1, 0, 0), [0, -1, 0], atol=1e-12)
    assert pose[2, 3] == 1.5
    # Rolled clockwise by 90 degrees, the image's right points down.
    np.testing.assert_allclose(camera_pose(1, 0, math.pi / 2)[:3, :3] @ (1, 0, 0), [0, 0, -1], atol=1e-12)


def test_the_floor_is_where_the_height_says():
    # An empty floor 1.2 m under a camera that looks 20 degrees down, estimated 1.4 times too far, up to a wall at 4 m.
    pose = camera_pose(1.2, math.radians(20))
    rays = np.concatenate([CAMERA.rays(), np.ones((64, 80, 1))], axis=2) @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        to_floor = np.where(rays[..., 2] < 0, -1.2 / rays[..., 2], np.inf)
    truth = np.minimum(to_floor, 4.0 / rays[..., 0])
    found = floor_reference(DepthMap((truth * 1.4).astype(np.float32), CAMERA), pose)
    columns, rows = np.rint(found.rays * 65 + (39.5, 31.5)).astype(int).T
    assert len(found) > 100
    np.testing.assert_allclose(found.depth, to_floor[rows, columns], rtol=1e-5)
    anchored = ScaleAnchor("scale", prior=1.0).update(DepthMap((truth * 1.4).astype(np.float32), CAMERA), found, 0.0)
    assert anchored.scale == pytest.approx(1 / 1.4, rel=0.03)


def test_a_wall_is_no_floor():
    pose = camera_pose(1.2, 0.0)
    assert len(floor_reference(DepthMap(np.full((64, 80), 3.0, np.float32), CAMERA), pose)) == 0


def test_in_a_furnished_room_the_floor_gives_the_scale_or_says_nothing():
    room, camera = Room(0), CAMERA.resized(160, 128)
    scales, silent = [], 0
    for t in np.arange(0.0, 40.0, 4.0):
        pose = room.trajectory(t)
        estimate = DepthMap(room.render(camera, pose)[1] * np.float32(1.3), camera)
        found = floor_reference(estimate, pose)
        if not len(found):
            silent += 1
            continue
        scales.append(ScaleAnchor("scale", prior=1.0).update(estimate, found, 0.0).scale)
    assert len(scales) >= 5 and silent <= 5
    np.testing.assert_allclose(scales, 1 / 1.3, rtol=0.05)


def test_mistakes_are_named():
    depth = DepthMap(np.full((64, 80), 3.0, np.float32), CAMERA)
    with pytest.raises(ValueError, match=r"points must be \[N, 3\]"):
        points_reference(np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"finite \[4, 4\] matrix"):
        points_reference(np.zeros((4, 3)), np.eye(3))
    with pytest.raises(ValueError, match="depths positive"):
        SparseDepth(np.zeros((1, 2)), np.array([-1.0]))
    with pytest.raises(ValueError, match="is the frame on the floor"):
        floor_reference(depth, np.eye(4))


@pytest.mark.parametrize(
    ("angle", "sentence"),
    [
        (
            15.0,
            r"field_of_view must be between 0 and pi radians, got 15 rad; 15 degrees are 0.262 rad$",
        ),
        (-0.1, r"^the range sensor's field_of_view must be between 0 and pi radians, got -0.1 rad$"),
        (math.nan, r"got nan rad$"),
    ],
)
def test_a_field_of_view_that_cannot_be_is_named_with_its_unit_and_degrees_are_recognised(angle, sentence):
    depth = DepthMap(np.full((64, 80), 3.0, np.float32), CAMERA)
    with pytest.raises(ValueError, match=sentence):
        range_reference(depth, 2.0, angle, np.eye(4))
    with pytest.raises(ValueError, match=r"must be a positive number of metres, got inf m$"):
        range_reference(depth, math.inf, 0.2, np.eye(4))


def test_a_scan_of_more_than_a_turn_is_refused_as_one_in_degrees():
    with pytest.raises(ValueError, match=r"of 0.5 rad make more than a turn: are its angles in degrees"):
        scan_points(np.ones(540), -135.0, 0.5, 0.1, 10.0)
    with pytest.raises(ValueError, match=r"must be finite angles, got nan and 0.5 rad"):
        scan_points(np.ones(5), math.nan, 0.5, 0.1, 10.0)
    assert len(scan_points(np.ones(360), -math.pi, math.radians(1.0), 0.1, 10.0)) == 360
