"""Images shrink to the network's size without aliasing."""

import cv2
import numpy as np
import pytest

from depth_estimation_ros.imaging.resample import shrink


def test_shrinking_by_four_is_the_mean_of_sixteen_pixels():
    rgb = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    mean = rgb.reshape(120, 4, 160, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrink(rgb, 160, 120) - mean).max() <= 1.0


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (1280, 720), (752, 480)])
def test_a_pattern_finer_than_the_result_turns_grey(size):
    width, height = size
    checks = np.indices((height, width)).sum(0) % 2 * 255
    rgb = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    assert np.abs(shrink(rgb, 160, 120).astype(int) - 127).max() <= 48


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (752, 480), (1000, 500)])
def test_content_stays_where_area_interpolation_puts_it(size):
    small = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    rgb = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
    area = cv2.resize(rgb, (160, 120), interpolation=cv2.INTER_AREA)
    assert np.abs(shrink(rgb, 160, 120).astype(int) - area).max() <= 3


def test_smaller_images_grow_and_equal_ones_pass_through():
    rgb = np.full((60, 80, 3), 9, np.uint8)
    assert (shrink(rgb, 160, 120) == 9).all() and shrink(rgb, 160, 120).shape == (120, 160, 3)
    assert shrink(rgb, 80, 60) is rgb
