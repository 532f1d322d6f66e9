"""Where the camera sits, from numbers or from TF."""

import math

import numpy as np
import pytest

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry.pose import camera_pose, height_interval, pose_from_transform

CAMERA = PinholeCamera(5, 5, 4.0, 4.0, 2.0, 2.0)


def test_a_point_ahead_of_a_level_camera():
    # Optical (right, down, forward) = (1, 2, 5) is 5 ahead, 1 to the right, 2 below the camera.
    np.testing.assert_allclose(camera_pose(3.0) @ (1, 2, 5, 1), (5, -1, 1, 1), atol=1e-12)


def test_angles_have_the_signs_of_tf():
    def ahead(**angles):
        return camera_pose(0.0, **angles) @ (0, 0, 1, 1)

    s = math.sin(0.3)
    assert ahead(pitch=0.3)[2] == pytest.approx(-s)  # looks down
    assert ahead(yaw=0.3)[1] == pytest.approx(s)  # looks left
    assert (camera_pose(0.0, roll=0.3) @ (1, 0, 0, 1))[2] == pytest.approx(-s)  # right side lower


def test_tf_and_numbers_give_the_same_pose():
    # roll, pitch and yaw about fixed axes, then the turn into the optical frame (REP 103: rpy -90, 0, -90).
    half = [a / 2 for a in (0.1, 0.4, -0.7)]
    body = quaternion_product(
        quaternion_product((0, 0, math.sin(half[2]), math.cos(half[2])), (0, math.sin(half[1]), 0, math.cos(half[1]))),
        (math.sin(half[0]), 0, 0, math.cos(half[0])),
    )
    optical = quaternion_product(body, (-0.5, 0.5, -0.5, 0.5))
    np.testing.assert_allclose(
        pose_from_transform((0.2, -0.1, 0.9), optical), camera_pose(0.9, 0.4, 0.1, -0.7, 0.2, -0.1), atol=1e-12
    )


def quaternion_product(a, b):
    (x, y, z, w), (i, j, k, r) = a, b
    return (
        w * i + x * r + y * k - z * j,
        w * j - x * k + y * r + z * i,
        w * k + x * j - y * i + z * r,
        w * r - x * i - y * j - z * k,
    )


def test_heights_become_depths():
    near, far = height_interval(CAMERA, camera_pose(1.0), 0.0, 0.5)
    # The last row looks 2 / 4 down for each metre: 0.5 m high at depth 1, on the floor at 2.
    np.testing.assert_allclose(near[4], 1.0)
    np.testing.assert_allclose(far[4], 2.0)
    assert (far[:2] < 0).all()  # rays that rise never come down to the band
    assert not ((near[2] < 1e9) & (far[2] > -1e9)).any()  # nor do level ones
    near, far = height_interval(CAMERA, camera_pose(1.0), -math.inf, math.inf)
    assert (near == -math.inf).all() and (far == math.inf).all()


def test_poses_that_are_none_are_refused():
    with pytest.raises(ValueError, match="pose must be finite, got height=nan"):
        camera_pose(math.nan)
    for quaternion in ((0, 0, 0, 0), (0, 0, 0, math.nan)):
        with pytest.raises(ValueError, match="transform of the camera is not valid"):
            pose_from_transform((0, 0, 0), quaternion)
    for translation in ((math.nan, 0, 0), (0, 0, -math.inf), (0, -1.8e308, 0)):
        with pytest.raises(ValueError, match="transform of the camera is not valid"):
            pose_from_transform(translation, (0, 0, 0, 1))
