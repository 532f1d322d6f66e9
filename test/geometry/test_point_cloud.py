"""A depth image and its camera become an organised, coloured cloud."""

import numpy as np
import pytest

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.geometry import point_cloud

CAMERA = PinholeCamera(4, 3, 200.0, 100.0, 1.0, 2.0)


def colours(points):
    packed = np.ascontiguousarray(points[..., 3]).view(np.uint32)
    assert (packed >> 24 == 0).all()
    return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], -1)


def test_points_are_where_the_pinhole_equation_puts_them():
    depth = np.full((3, 4), 5.0, np.float32)
    points = point_cloud(depth, CAMERA)
    # Pixel (u, v) = (3, 0): x = 5 (3 - 1) / 200, y = 5 (0 - 2) / 100.
    np.testing.assert_allclose(points[0, 3, :3], [0.05, -0.1, 5.0], rtol=1e-6)
    np.testing.assert_array_equal(points[2, 1, :3], [0.0, 0.0, 5.0])


def test_every_point_projects_back_to_its_pixel():
    camera = PinholeCamera(64, 48, 57.3, 58.1, 30.2, 25.9)
    depth = np.random.default_rng(0).uniform(0.3, 12.0, (48, 64)).astype(np.float32)
    x, y, z = np.moveaxis(point_cloud(depth, camera)[..., :3].astype(np.float64), -1, 0)
    u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    np.testing.assert_allclose(u, np.tile(np.arange(64), (48, 1)), atol=1e-4)
    np.testing.assert_allclose(v, np.tile(np.arange(48)[:, None], (1, 64)), atol=1e-4)
    np.testing.assert_array_equal(z, depth)


def test_a_point_without_depth_is_nan_in_all_coordinates_and_keeps_its_place_and_colour():
    depth = np.ones((3, 4), np.float32)
    depth[1, 1] = np.nan
    rgb = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    points = point_cloud(depth, CAMERA, rgb)
    assert np.isnan(points[1, 1, :3]).all() and np.isfinite(np.delete(points.reshape(12, 4), 5, 0)).all()
    np.testing.assert_array_equal(colours(points), rgb)


def test_every_colour_survives_as_bits_even_those_that_are_no_ordinary_float():
    rgb = np.zeros((256, 256, 3), np.uint8)
    rgb[..., 0], rgb[..., 2] = np.arange(256)[:, None], np.arange(256)
    rgb[..., 1] = rgb[..., 0] ^ rgb[..., 2]
    points = point_cloud(np.ones((256, 256), np.float32), PinholeCamera(256, 256, 90.0, 90.0, 1.0, 1.0), rgb)
    np.testing.assert_array_equal(colours(points), rgb)
    assert np.isfinite(points).all()


def test_an_image_of_another_size_colours_the_points_it_covers():
    rgb = np.zeros((6, 8, 3), np.uint8)
    rgb[:, 4:] = (250, 120, 30)
    found = colours(point_cloud(np.ones((3, 4), np.float32), CAMERA, rgb))
    assert (found[:, :2] == 0).all() and (found[:, 2:] == (250, 120, 30)).all()


def test_without_an_image_the_cloud_is_white():
    assert (colours(point_cloud(np.ones((3, 4), np.float32), CAMERA)) == 255).all()


def test_a_buffer_is_reused_and_nothing_of_the_last_frame_stays():
    depth, rgb = np.ones((3, 4), np.float32), np.full((3, 4, 3), 9, np.uint8)
    buffer = np.full((3, 4, 4), 77.0, np.float32)
    points = point_cloud(depth, CAMERA, rgb, out=buffer)
    assert np.shares_memory(points, buffer)
    np.testing.assert_array_equal(buffer, point_cloud(depth, CAMERA, rgb))


def test_inputs_stay_as_they_were():
    depth, rgb = np.ones((3, 4), np.float32), np.full((3, 4, 3), 9, np.uint8)
    depth.flags.writeable = rgb.flags.writeable = False
    point_cloud(depth, CAMERA, rgb)
    assert (depth == 1.0).all() and (rgb == 9).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"depth": np.ones((4, 3), np.float32)}, "depth is 3x4 but its camera is 4x3"),
        ({"rgb": np.ones((3, 4, 3), np.float32)}, "rgb must be uint8"),
        ({"rgb": np.ones((3, 4), np.uint8)}, "rgb must be uint8"),
        ({"out": np.ones((3, 4, 3), np.float32)}, r"out must be contiguous float32 \[3, 4, 4\]"),
        ({"out": np.ones((3, 4, 4), np.float64)}, "out must be"),
        ({"out": np.ones((3, 4, 8), np.float32)[..., ::2]}, "out must be"),
    ],
)
def test_wrong_inputs_are_named(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        point_cloud(**{"depth": np.ones((3, 4), np.float32), "camera": CAMERA} | arguments)
