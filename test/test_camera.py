import math

import cv2
import numpy as np
import pytest

from depth_estimation_ros import PinholeCamera

NYU = PinholeCamera(640, 480, 518.8579, 519.4696, 324.5824, 252.7362)


def test_resizing_keeps_every_viewing_ray():
    half = NYU.resized(320, 240)
    # The centre of pixel (10, 20) at half size lies between pixels 20 and 21 (40 and 41) of the full size.
    x, y = half.rays()[20, 10]
    assert x == pytest.approx((20.5 - NYU.cx) / NYU.fx, rel=1e-6)
    assert y == pytest.approx((40.5 - NYU.cy) / NYU.fy, rel=1e-6)


def test_resizing_agrees_with_what_opencv_does_to_pixels():
    ramp = np.tile(np.arange(640, dtype=np.float32), (480, 1))
    shrunk = cv2.resize(ramp, (160, 120), interpolation=cv2.INTER_AREA)
    small = NYU.resized(160, 120)
    # Pixel 7 shows the mean of columns 28 to 31: the ray through 29.5.
    assert (shrunk[0, 7] - NYU.cx) / NYU.fx == pytest.approx(small.rays()[0, 7, 0], rel=1e-6)


def test_cropping_moves_the_principal_point_only():
    window = NYU.cropped(100, 50, 200, 150)
    assert (window.width, window.height, window.fx, window.fy) == (200, 150, NYU.fx, NYU.fy)
    np.testing.assert_allclose(window.rays(), NYU.rays()[50:200, 100:300], atol=1e-6)


def test_a_right_angle_of_view_has_half_the_width_as_focal_length():
    camera = PinholeCamera.from_fov(640, 480, math.radians(90))
    assert camera.fx == pytest.approx(320) and camera.cx == 319.5


@pytest.mark.parametrize("values", [(0, 480, 1, 1, 1, 1), (640, 480, 0, 1, 1, 1), (640, 480, 1, math.nan, 1, 1)])
def test_impossible_intrinsics_are_refused(values):
    with pytest.raises(ValueError, match=r"camera (size|intrinsics) must be"):
        PinholeCamera(*values)
