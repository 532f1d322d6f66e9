"""The rendered room: exact depth, free walk, no cracks, another room for another seed."""

import math

import numpy as np
import pytest

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.synthetic.renderer import Quad, QuadRenderer
from depth_estimation_ros.synthetic.room import Room, look
from depth_estimation_ros.synthetic.solids import Box
from depth_estimation_ros.synthetic.textures import paint

CAMERA = PinholeCamera(160, 120, 129.7, 129.9, 80.2, 61.7)


def cast_rays(room, camera, pose):
    """Depth from every pixel's ray against every box and the walls: slow, and shares nothing with Quad."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    ray = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    direction, start = ray @ pose[:3, :3].T, pose[:3, 3]
    # The direction has z = 1 in the camera's frame, so its multiple is the depth.
    depth = np.maximum((0 - start) / direction, (room.size - start) / direction).min(axis=-1)
    for box in room.boxes:
        R = np.array([[math.cos(box.yaw), -math.sin(box.yaw), 0], [math.sin(box.yaw), math.cos(box.yaw), 0], [0, 0, 1]])
        origin, along = R.T @ (start - box.centre), direction @ R
        for axis in range(3):
            for side in (-0.5, 0.5):
                reach = (side * box.size[axis] - origin[axis]) / along[..., axis]
                point = origin + reach[..., None] * along
                others = [k for k in range(3) if k != axis]
                inside = (np.abs(point[..., others]) <= box.size[others] / 2).all(axis=-1) & (reach > 0)
                depth = np.where(inside & (reach < depth), reach, depth)
    return depth


@pytest.mark.parametrize("t", [0.0, 11.3, 23.0, 34.7])
def test_depth_is_that_of_rays_cast_one_by_one(room, t):
    pose = room.trajectory(t)
    _, depth = room.render(CAMERA, pose)
    truth = cast_rays(room, CAMERA, pose)
    difference = np.abs(depth - truth)
    # A ray that meets an edge exactly may fall on either side of it.
    assert np.mean(difference > 1e-3) < 2e-4
    assert np.median(difference) < 1e-5


def test_depth_of_a_wall_known_by_hand():
    # A wall 4 m ahead of a camera that looks along x, and a floor 1.5 m below it.
    grey = np.full((8, 8, 3), 128, np.uint8)
    wall = Quad(np.array([4.0, 10, 10]), np.array([0, -20.0, 0]), np.array([0, 0, -11.5]), grey)
    floor = Quad(np.array([15.0, 10, -1.5]), np.array([0, -20.0, 0]), np.array([-20.0, 0, 0]), grey)
    camera = PinholeCamera(101, 101, 100.0, 100.0, 50.0, 50.0)
    _, depth = QuadRenderer([wall, floor]).render(camera, look(np.zeros(3), 0.0, 0.0))
    # Depth is along the optical axis: the wall is 4 m away in every pixel, not farther in the corners.
    assert depth[:50] == pytest.approx(4.0, abs=1e-5)
    # 1.5 m down at 4 m lies 37.5 px below the centre; the last row sees the floor at 1.5 * 100 / 50 m.
    assert depth[87, 50] == pytest.approx(4.0, abs=1e-5)
    assert depth[88, 50] == pytest.approx(1.5 * 100 / 38, abs=1e-5)
    assert depth[100] == pytest.approx(3.0, abs=1e-5)


def test_a_surface_seen_from_behind_or_out_of_view_is_not_drawn():
    grey = np.full((8, 8, 3), 128, np.uint8)
    away = Quad(np.array([4.0, -9, 9]), np.array([0, 18.0, 0]), np.array([0, 0, -18.0]), grey)
    behind = Quad(np.array([-4.0, 9, 9]), np.array([0, -18.0, 0]), np.array([0, 0, -18.0]), grey)
    rgb, depth = QuadRenderer([away, behind]).render(CAMERA, look(np.zeros(3), 0.0, 0.0))
    assert np.isnan(depth).all()
    assert not rgb.any()


def test_the_box_slab_test_agrees_with_distances_worked_out_by_hand():
    box = Box(np.array([3.0, 0, 0]), np.array([2.0, 2, 2]), 0.0, paint)
    origin = np.zeros((4, 3))
    origin[3] = (3, 0.5, 0)
    direction = np.array([[1.0, 0, 0], [-1, 0, 0], [0.5, 0.1, 0], [1, 0, 0]])
    assert box.hit(origin, direction) == pytest.approx([2.0, np.inf, 4.0, 0.0])
    turned = Box(np.array([3.0, 0, 0]), np.array([2.0, 2, 2]), math.pi / 4, paint)
    assert turned.hit(origin[:1], direction[:1]) == pytest.approx([3 - math.sqrt(2)])


def test_every_pixel_of_the_walk_shows_something(room):
    for t in np.arange(0, 40, 2.5):
        _, depth = room.render(CAMERA, room.trajectory(t))
        assert np.isfinite(depth).all()


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5])
def test_the_walk_keeps_clear_of_walls_and_furniture(seed):
    room = Room(seed)
    positions = np.array([room.trajectory(t)[:3, 3] for t in np.arange(0, 40, 0.1)])
    assert (positions > 0.5).all()
    assert (positions[:, :2] < room.size[:2] - 0.5).all()
    assert (positions[:, 2] >= 1.0).all() and (positions[:, 2] <= 1.5).all()
    for box in room.boxes:
        assert (box.distance(positions) > 0.15).all(), box


def test_views_have_the_depths_of_indoor_photographs(room):
    medians = [np.median(room.render(CAMERA, room.trajectory(t))[1]) for t in np.arange(0, 40, 4)]
    assert min(medians) > 1.5 and max(medians) < 6.0


def test_the_walk_is_smooth_and_closes(room):
    assert room.trajectory(40.0) == pytest.approx(room.trajectory(0.0), abs=1e-9)
    poses = np.array([room.trajectory(t) for t in np.arange(0, 41, 1 / 30)])
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps.max() < 0.02  # metres in a thirtieth of a second
    assert (np.einsum("nij,nkj->nik", poses[:, :3, :3], poses[:, :3, :3]) - np.eye(3)).max() < 1e-9
    assert np.linalg.det(poses[:, :3, :3]) == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(room):
    pose = look(np.array([2.0, 2.0, 1.3]), 0.3, -0.1)
    again, other = Room(seed=0).render(CAMERA, pose), Room(seed=1).render(CAMERA, pose)
    picture, depth = room.render(CAMERA, pose)
    assert np.array_equal(picture, again[0]) and np.array_equal(depth, again[1])
    assert np.mean(picture != other[0]) > 0.5
    assert np.mean(np.abs(depth - other[1]) > 0.01) > 0.5


def test_a_picture_is_well_exposed_and_not_flat(room):
    for t in (0.0, 10.0, 20.0, 30.0):
        rgb, _ = room.render(CAMERA, room.trajectory(t))
        assert 80 < rgb.mean() < 220
        assert rgb.std() > 20


def test_the_image_scales_with_the_camera(room):
    pose = room.trajectory(5.0)
    _, small = room.render(CAMERA, pose)
    _, large = room.render(CAMERA.resized(480, 360), pose)
    assert np.mean(np.abs(large[1::3, 1::3] - small) > 1e-3) < 1e-3  # pixel centres coincide


def test_a_surface_half_in_view_or_passing_behind_the_camera_is_drawn():
    grey = np.full((8, 8, 3), 128, np.uint8)
    # A floor that begins 10 m behind the camera, and a wall of which only the far end is in view.
    floor = Quad(np.array([10.0, 10, -1.5]), np.array([0, -20.0, 0]), np.array([-20.0, 0, 0]), grey)
    wall = Quad(np.array([-5.0, 2.0, 3.0]), np.array([45.0, 0, 0]), np.array([0, 0, -6.0]), grey)
    _, depth = QuadRenderer([floor, wall]).render(CAMERA, look(np.zeros(3), 0.0, 0.0))
    row, column = 119, 80  # the last row looks 57.3 px down
    assert depth[row, column] == pytest.approx(1.5 * 129.9 / (119 - 61.7), rel=1e-4)
    assert depth[61, 2] == pytest.approx(2.0 * 129.7 / (80.2 - 2), rel=1e-4)
    # Nothing is in view above the floor and to the right of the wall's far end.
    assert np.isnan(depth[40, 100]) and np.isfinite(depth[40, 2])
