"""Images and compressed images with wrong numbers, names and bytes are read, or refused in one line."""

import numpy as np
from hypothesis import given
from judge import survive
from strategies import COLOUR_LAYOUTS, DEPTH_LAYOUTS, compressed_images, images, mutated

from depth_estimation_ros.bags.messages import depth_of, is_depth, rgb_of
from depth_estimation_ros.conversions import compressed_to_rgb, image_to_depth, image_to_rgb


def check_rgb(rgb, message) -> None:
    if rgb is not None:
        assert (rgb.dtype, rgb.shape) == (np.uint8, (message.height, message.width, 3))


def check_depth(depth) -> None:
    if depth is not None:
        assert depth.dtype == np.float32 and depth.ndim == 2
        valid = depth[~np.isnan(depth)]
        assert ((valid > 0) & np.isfinite(valid)).all()


@given(images(layouts=COLOUR_LAYOUTS))
def test_a_good_image_of_any_encoding_is_read(message):
    check_rgb(image_to_rgb(message), message)


@given(mutated(images(layouts=COLOUR_LAYOUTS)))
def test_a_mutated_image_is_read_or_refused(message):
    check_rgb(survive(image_to_rgb, message, weight=len(message.data)), message)


@given(mutated(images(layouts=DEPTH_LAYOUTS)))
def test_a_mutated_depth_image_is_read_or_refused(message):
    check_depth(survive(image_to_depth, message, weight=len(message.data)))


@given(mutated(compressed_images()))
def test_a_mutated_compressed_image_is_read_or_refused(message):
    rgb = survive(compressed_to_rgb, message, weight=len(message.data))
    assert rgb is None or (rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3)


@given(mutated(images()) | mutated(compressed_images()))
def test_a_mutated_image_of_a_bag_is_read_or_refused(message):
    if is_depth(message, "/camera/depth"):
        check_depth(survive(depth_of, message, weight=len(message.data)))
    else:
        survive(rgb_of, message, weight=len(message.data))
