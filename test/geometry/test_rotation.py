"""A camera mounted on its side gives the network an upright picture and the robot its own geometry."""

import math

import numpy as np
import pytest

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.point_cloud import point_cloud
from depth_estimation_ros.geometry.pose import camera_pose
from depth_estimation_ros.geometry.rotation import degrees_to_upright, turned

CAMERA = PinholeCamera(6, 4, 5.0, 5.5, 2.2, 1.9)
TURNS = (0, 90, 180, 270, -90)


@pytest.mark.parametrize("degrees", TURNS)
def test_every_pixel_keeps_its_viewing_ray(degrees):
    """Of each pixel: the ray by the turned camera is the ray by the camera, turned about the optical axis."""
    rays = np.concatenate([CAMERA.rays(), np.ones((4, 6, 1), np.float32)], axis=2)
    found = CAMERA.turned(degrees).rays()
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    expected = turned(np.ascontiguousarray(rays @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])), degrees)
    np.testing.assert_allclose(found, expected[..., :2], atol=1e-6)


@pytest.mark.parametrize("degrees", TURNS)
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_turning_back_gives_the_same_image_and_camera(degrees, kind):
    image = np.arange(72).reshape(4, 6, 3).astype(kind)
    upright, camera = turned(image, degrees), CAMERA.turned(degrees)
    assert upright.shape[:2] == (camera.height, camera.width) and upright.flags.c_contiguous
    np.testing.assert_array_equal(turned(upright, -degrees), image)
    back = camera.turned(-degrees)
    np.testing.assert_allclose(
        (back.fx, back.fy, back.cx, back.cy), (CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy), rtol=1e-12
    )


def test_a_quarter_turn_clockwise_brings_the_left_column_to_the_top():
    image = np.zeros((4, 6), np.uint8)
    image[:, 0] = 9
    assert (turned(image, 90)[0] == 9).all()


def test_depth_turned_back_gives_the_cloud_of_the_mounted_camera():
    depth = np.random.default_rng(0).uniform(1, 5, (4, 6)).astype(np.float32)
    upright = turned(depth, 90)  # what the network would give
    camera = CAMERA.turned(90)
    np.testing.assert_allclose(
        point_cloud(turned(upright, -90), camera.turned(-90)), point_cloud(depth, CAMERA), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("roll", "degrees"),
    # Rolled to its right side, the camera sees the world turned counter-clockwise: the picture turns back clockwise.
    [(0, 0), (30, 0), (90, 90), (-90, 270), (180, 180), (100, 90), (-170, 180)],
)
@pytest.mark.parametrize("pitch", [0.0, 0.6])
def test_the_pose_says_how_far_to_turn(roll, degrees, pitch):
    pose = camera_pose(1.0, pitch, math.radians(roll), 0.7)
    assert degrees_to_upright(pose) == degrees
    # A point straight above another lies above it in the turned picture.
    rotation = pose[:3, :3].T
    ahead = camera_pose(1.0, pitch, 0, 0.7)[:3, 2] * 3
    low, high = rotation @ ahead, rotation @ (ahead + np.array([0, 0, 0.1]))
    camera = PinholeCamera(101, 101, 100, 100, 50, 50)
    picture = np.zeros((101, 101), np.uint8)
    for value, point in ((1, low), (2, high)):
        picture[round(100 * point[1] / point[2] + 50), round(100 * point[0] / point[2] + 50)] = value
    upright = turned(picture, degrees)
    assert camera.turned(degrees) == camera
    assert np.argwhere(upright == 2)[0, 0] < np.argwhere(upright == 1)[0, 0]


def test_a_camera_that_looks_straight_down_is_not_turned():
    assert degrees_to_upright(camera_pose(1.0, pitch=math.pi / 2)) == 0


def test_other_angles_are_refused():
    for call in (lambda: turned(np.zeros((2, 2)), 45), lambda: CAMERA.turned(45)):
        with pytest.raises(ValueError, match="multiples of 90 degrees, not by 45"):
            call()
