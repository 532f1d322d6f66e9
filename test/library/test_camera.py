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


@pytest.mark.parametrize("size", [(0, 480), (640, -1), (640.0, 480), ("640", "480"), (None, None), (1 << 17, 480)])
def test_a_size_that_is_none_is_refused(size):
    made = (
        lambda: PinholeCamera(*size, 500.0, 500.0, 320.0, 240.0),
        lambda: PinholeCamera.from_fov(*size, 1.0),
        lambda: NYU.resized(*size),
        lambda: NYU.cropped(0, 0, *size),
    )
    for make in made:
        with pytest.raises(ValueError, match=r"camera size must be"):
            make()


BAD = (0, -1.0, math.nan, math.inf, -math.inf, 1e-300, 1e300, "500", None, 1j, np.zeros(2))


@pytest.mark.parametrize("bad", BAD, ids=map(str, BAD))
@pytest.mark.parametrize("place", range(4))
def test_intrinsics_that_no_camera_has_are_refused(place, bad):
    values = [500.0, 500.0, 320.0, 240.0]
    values[place] = bad
    if place > 1 and isinstance(bad, int | float) and abs(bad) <= 1:
        assert PinholeCamera(640, 480, *values).cx == values[2]  # the optical axis may leave the image anywhere
        return
    with pytest.raises(ValueError, match=r"camera intrinsics must be finite .*calibrated"):
        PinholeCamera(640, 480, *values)


def test_focal_lengths_in_millimetres_are_refused():
    with pytest.raises(ValueError, match=r"fx=3.6 and fy=3.6 .* 640x480 wider than 170 degrees: give them in pixels"):
        PinholeCamera(640, 480, 3.6, 3.6, 319.5, 239.5)
    with pytest.raises(ValueError, match="wider than 170 degrees"):
        PinholeCamera(640, 480, 500.0, 20.0, 319.5, 239.5)
    for width in range(1, 2000, 7):  # the widest view is allowed, however it is rounded
        PinholeCamera.from_fov(width, 1, math.radians(170))
    assert PinholeCamera(640, 480, 28.0, 21.0, 319.5, 239.5).cropped(0, 0, 20, 10).fx == 28.0


def test_numbers_of_numpy_are_numbers():
    camera = PinholeCamera(np.int64(640), np.uint16(480), np.float32(500), np.float64(500), np.int32(320), 240)
    assert camera.resized(320, 240).fx == 250 and camera.rays().shape == (480, 640, 2)


@pytest.mark.parametrize("fov", [0, -1.0, math.pi, math.nan, "1.0", None])
def test_a_field_of_view_that_is_none_is_refused(fov):
    with pytest.raises(ValueError, match=r"horizontal_fov must lie between 0 and 2.97 radians \(170 degrees\)"):
        PinholeCamera.from_fov(640, 480, fov)


def test_steps_and_turns_that_are_none_are_refused():
    for step in (0, -2, 1.5, "2", None):
        with pytest.raises(ValueError, match="the step must be a whole number from 1 on"):
            NYU.strided(step)
    for degrees in (45, math.nan, math.inf, "90", None):
        with pytest.raises(ValueError, match="multiples of 90 degrees"):
            NYU.turned(degrees)
