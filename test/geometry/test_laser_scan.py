"""A depth image, a pose and a band of heights become a laser scan that matches the room."""

import math

import numpy as np
import pytest

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.laser_scan import MOST_RAYS, LaserScanner
from depth_estimation_ros.geometry.pose import camera_pose
from depth_estimation_ros.synthetic.room import look

CAMERA = PinholeCamera(80, 64, 64.9, 64.9, 39.5, 31.5)


def ray_angles(scan):
    return scan.angle_min + np.arange(scan.size) * scan.angle_increment


def wall_depth(distance, camera=CAMERA):
    """Depth image of a wall ahead of a level camera."""
    return np.full((camera.height, camera.width), distance, np.float32)


def cast(room, position, angles, heights):
    """Range to the nearest wall or piece of furniture at some heights, by rays through the plan; no image involved."""
    direction = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=-1)
    nearest = np.full(angles.shape, np.inf)
    for height in heights:
        origin = np.array([*position, height])
        walls = np.maximum(-origin[:2] / direction[..., :2], (room.size - origin)[:2] / direction[..., :2]).min(axis=-1)
        nearest = np.minimum(nearest, np.min([walls, *(b.hit(origin, direction) for b in room.boxes)], axis=0))
    return nearest


def test_a_flat_wall_has_the_ranges_of_its_plan():
    scan = LaserScanner(CAMERA, camera_pose(0.5), 0.1, 1.0)
    ranges = scan(wall_depth(3.0))
    # Half a pixel to either side of a ray's direction.
    np.testing.assert_allclose(ranges * np.cos(ray_angles(scan)), 3.0, rtol=0.006)
    # The outermost pixels look atan(39.5 / 64.9) to the sides.
    assert scan.angle_max == pytest.approx(math.atan2(39.5, 64.9), abs=scan.angle_increment)
    assert scan.angle_min == pytest.approx(-scan.angle_max, abs=1e-6)
    assert scan.size == ranges.size and ranges.dtype == np.float32


@pytest.mark.parametrize(("size", "error"), [((80, 64), 0.02), ((640, 480), 0.003)])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.25, -0.1)])
def test_a_level_scan_of_the_furnished_room_matches_rays_cast_through_its_plan(room, size, error, offset):
    camera = PinholeCamera(640, 480, 518.9, 519.5, 324.6, 252.7).resized(*size)
    height, found, beyond = 0.5, 0, 0
    for heading in (0.3, 1.6, 2.9, 4.4):
        # Where the floor is free: the camera stands at knee height.
        position = room.size[:2] / 2 + (0.0, -1.3)
        _, depth = room.render(camera, look(np.array([*position, height]), heading, 0.0))
        scan = LaserScanner(camera, camera_pose(height, x=offset[0], y=offset[1]), 0.47, 0.53, range_max=10.0)
        ranges = scan(depth)
        c, s = math.cos(heading), math.sin(heading)
        origin = position - np.array([c * offset[0] - s * offset[1], s * offset[0] + c * offset[1]])
        # A ray stands for the directions of its pixel.
        spread = np.linspace(-1, 1, 17) * scan.angle_increment
        truth = cast(room, origin, heading + ray_angles(scan)[:, None] + spread, np.linspace(0.47, 0.53, 4))
        known = np.isfinite(ranges)
        # From the robot's middle the outer directions pass beside what the camera ahead of it sees.
        assert known.mean() > (0.97 if offset == (0.0, 0.0) else 0.75)
        low, high = truth.min(axis=1) * (1 - error), truth.max(axis=1) * (1 + error)
        found += known.sum()
        beyond += (known & ((ranges < low) | (ranges > high))).sum()
    # The camera looks past edges from another place than the scan's origin.
    assert beyond / found < (0.005 if offset == (0.0, 0.0) else 0.06)


@pytest.mark.parametrize("t", [23.0, 27.0, 31.0])
def test_a_camera_that_looks_down_from_head_height_sees_no_phantoms(room, t):
    pose = room.trajectory(t)
    camera = CAMERA.resized(160, 128)
    _, depth = room.render(camera, pose)
    forward = pose[:3, 2]
    scan = LaserScanner(camera, camera_pose(pose[2, 3], pitch=-math.asin(forward[2])), 0.1, 1.0)
    ranges, heading = scan(depth), math.atan2(forward[1], forward[0])
    angles = heading + ray_angles(scan)[:, None] + np.linspace(-1, 1, 9) * scan.angle_increment
    truth = cast(room, pose[:2, 3], angles, np.linspace(0.1, 1.0, 91)).min(axis=1)
    known = np.isfinite(ranges)
    assert known.mean() > 0.95
    assert (ranges[known] > 0.99 * truth[known] - 0.01).all()


def test_the_floor_and_what_hangs_above_the_robot_are_no_obstacles():
    pose = camera_pose(1.0, pitch=0.5)
    v = np.arange(64)[:, None]
    down = np.sin(0.5) + np.cos(0.5) * (v - CAMERA.cy) / CAMERA.fy
    floor = np.where(down > 0, 1.0 / np.maximum(down, 1e-3), 50.0) * np.ones((1, 80))
    scan = LaserScanner(CAMERA, pose, 0.1, 0.8, range_max=3.0)
    ranges = scan(floor.astype(np.float32))
    # Far to the sides the camera sees the floor at its feet only.
    assert np.isposinf(ranges).mean() > 0.7 and not np.isfinite(ranges).any()
    # An estimate that is 15 % short lifts the floor by 15 % of the camera's height: into the band.
    assert np.isfinite(scan(np.float32(0.85) * floor.astype(np.float32))).any()


def test_infinities_follow_rep_117():
    scan = LaserScanner(CAMERA, camera_pose(0.5), 0.1, 1.0, range_min=0.4, range_max=4.0)
    depth = wall_depth(2.0)
    depth[:, 60:] = 6.0  # right: farther than range_max
    depth[:, :20] = 0.3  # left: nearer than range_min
    depth[:, 35:45] = np.nan  # middle: not known
    ranges = scan(depth)
    assert np.isposinf(ranges[:15]).all()  # angles grow to the left, columns to the right
    assert np.isneginf(ranges[-12:]).all()
    middle = scan.size // 2
    assert np.isnan(ranges[middle - 3 : middle + 3]).all()
    assert np.isfinite(ranges[18:30]).all()


def test_a_direction_is_free_only_as_far_as_the_camera_sees_into_the_band():
    pitched = camera_pose(1.2, pitch=math.radians(45))  # the top row leaves the band at 3.2 m
    near = LaserScanner(CAMERA, pitched, 0.1, 0.5, range_max=1.5)
    far = LaserScanner(CAMERA, pitched, 0.1, 0.5, range_max=6.0)
    nothing = wall_depth(30.0)
    assert np.isposinf(near(nothing)).mean() > 0.7
    assert np.isnan(far(nothing)).all()
    assert 3.0 < far.reach < 5.0 and near.reach == far.reach


def test_invalid_depth_gives_an_unknown_scan():
    scan = LaserScanner(CAMERA, camera_pose(0.5), 0.1, 1.0)
    assert np.isnan(scan(wall_depth(np.nan))).all()


def test_the_nearest_of_several_obstacles_in_a_direction_counts():
    scan = LaserScanner(CAMERA, camera_pose(0.5), 0.05, 1.0)
    depth = wall_depth(3.0)
    depth[40, 39:41] = 1.5  # 1.5 * 8.5 / 64.9 = 0.2 m below the camera
    ranges = scan(depth)
    assert ranges[scan.size // 2] == pytest.approx(1.5, rel=0.01)
    assert (np.delete(ranges, range(scan.size // 2 - 1, scan.size // 2 + 2)) > 2.9).all()


@pytest.mark.parametrize("yaw", [math.pi, -math.pi / 2, 2.0])
def test_a_camera_may_look_anywhere(yaw):
    ahead = LaserScanner(CAMERA, camera_pose(0.5), 0.1, 1.0)
    turned = LaserScanner(CAMERA, camera_pose(0.5, yaw=yaw), 0.1, 1.0)
    np.testing.assert_allclose(turned(wall_depth(3.0)), ahead(wall_depth(3.0)), rtol=0.01)
    difference = turned.angle_min - ahead.angle_min - yaw
    assert math.remainder(difference, 2 * math.pi) == pytest.approx(0.0, abs=1e-6)
    assert turned.angle_min < turned.angle_max


def test_rays_may_be_coarser_or_finer_than_pixels():
    for increment in (0.002, 0.05):
        scan = LaserScanner(CAMERA, camera_pose(0.5), 0.1, 1.0, angle_increment=increment)
        ranges = scan(wall_depth(3.0))
        assert scan.angle_increment == increment and np.isfinite(ranges).all()
        assert scan.angle_max == pytest.approx(scan.angle_min + (scan.size - 1) * increment)
        np.testing.assert_allclose(ranges * np.cos(ray_angles(scan)), 3.0, rtol=0.03)


def test_inputs_stay_as_they_were():
    depth = wall_depth(3.0)
    depth.flags.writeable = False
    LaserScanner(CAMERA, camera_pose(0.5), 0.1, 1.0)(depth)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"range_min": 5.0, "range_max": 2.0}, "range_min must be less than range_max, got 5 and 2 m"),
        ({"min_height": 1.0, "max_height": 0.2}, "min_height must be less than max_height"),
        ({"angle_increment": -0.1}, "angle_increment must be a positive angle"),
        ({"angle_increment": 1e-9}, "an angle of 1e-09 rad between rays makes more than 100000 of them: take at least"),
        ({"min_height": 40.0, "max_height": 50.0}, "sees nothing between the heights 40 and 50 m"),
        ({"pose": camera_pose(0.5, x=9.0)}, "farther from the scan's origin than range_max"),
    ],
)
def test_wrong_arguments_are_named(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        LaserScanner(**{"camera": CAMERA, "pose": camera_pose(0.5), "min_height": 0.1, "max_height": 1.0} | arguments)


def test_depth_of_another_size_is_refused():
    with pytest.raises(ValueError, match="the scan was made for"):
        LaserScanner(CAMERA, camera_pose(0.5), 0.1, 1.0)(np.ones((4, 4), np.float32))


def test_the_memory_of_a_scan_is_bounded_whatever_the_focal_length():
    # Beside the origin, so that its rays are many directions from there, and each pixel next to none.
    tele = PinholeCamera(80, 64, 1e9, 1e9, 39.5, 31.5)
    assert LaserScanner(tele, camera_pose(0.5, y=1.0), 0.1, 1.0).size <= MOST_RAYS
