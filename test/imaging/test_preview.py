"""The preview shows depth in colours that its scale bar explains."""

import numpy as np
import pytest

from depth_estimation_ros.imaging.preview import COLOUR_MAPS, INVALID_COLOUR, colour_depth, render_preview


def ramp(height=240, width=320, near=0.0, far=10.0):
    return np.tile(np.linspace(near, far, width, dtype=np.float32), (height, 1))


@pytest.mark.parametrize("colour_map", COLOUR_MAPS)
def test_every_colour_map_tells_near_from_far(colour_map):
    coloured = colour_depth(ramp(), colour_map, 0.0, 10.0)
    assert coloured.shape == (240, 320, 3) and coloured.dtype == np.uint8
    assert len(np.unique(coloured[0], axis=0)) > 100


def test_near_is_bright_in_gray_and_red_in_turbo():
    assert colour_depth(ramp(), "gray", 0.0, 10.0)[0, 0].tolist() == [255, 255, 255]
    assert colour_depth(ramp(), "gray", 0.0, 10.0)[0, -1].tolist() == [0, 0, 0]
    red, green, blue = colour_depth(ramp(), "turbo", 0.0, 10.0)[0, 32].astype(int)
    assert red > 150 and blue < 80 and red > green


def test_invalid_pixels_are_dark_grey_and_out_of_range_takes_the_end():
    depth = np.array([[np.nan, np.inf, 0.1, 1.0, 5.0, 80.0]], np.float32)
    coloured = colour_depth(depth, "gray", 1.0, 5.0)
    assert coloured[0, :2].tolist() == [list(INVALID_COLOUR)] * 2
    assert coloured[0, 2:, 0].tolist() == [255, 255, 0, 0]


def test_scale_bar_stands_right_of_the_depth_in_the_same_colours():
    preview = render_preview(None, ramp(), "gray", 0.0, 10.0)
    assert preview.dtype == np.uint8 and preview.shape[0] == 240 and 340 < preview.shape[1] < 480
    assert np.array_equal(preview[:, :320], colour_depth(ramp(), "gray", 0.0, 10.0))
    bar = preview[:, 320:]
    column = bar[:, next(c for c in range(bar.shape[1]) if len(np.unique(bar[:, c])) > 100), 0].astype(int)
    inside = column[30:-30]
    assert (np.diff(inside) >= 0).all() and inside[-1] - inside[0] > 150  # far at the top, near at the bottom


def test_labels_follow_the_range():
    def bar(near, far):
        return render_preview(None, ramp(), "gray", near, far)[:, 320:]

    assert (bar(0.0, 10.0) > 200).sum() > 300  # something is written
    narrow, wide = bar(0.0, 4.0), bar(0.0, 8.0)
    assert narrow.shape != wide.shape or not np.array_equal(narrow, wide)


def test_the_image_stands_left_of_the_depth_at_its_size():
    rgb = np.full((480, 640, 3), (10, 200, 30), np.uint8)
    preview = render_preview(rgb, ramp(), "turbo", 0.0, 10.0)
    assert (preview[:, :320] == (10, 200, 30)).all()
    assert np.array_equal(preview[:, 320:640], colour_depth(ramp(), "turbo", 0.0, 10.0))


def test_a_small_depth_is_enlarged_until_labels_are_readable():
    assert render_preview(None, ramp(60, 80), "turbo", 0.0, 10.0).shape[0] == 240


def test_a_depth_without_a_valid_pixel_still_has_its_scale():
    preview = render_preview(None, np.full((240, 320), np.nan, np.float32), "turbo", 0.3, 10.0)
    assert (preview[:, :320] == INVALID_COLOUR).all() and (preview[:, 320:] > 200).any()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"colour_map": "rainbows"}, "unknown colour map 'rainbows'; choose one of turbo"),
        ({"near": 5.0, "far": 5.0}, "near=5.0, far=5.0"),
        ({"near": -1.0}, "0 <= near < far"),
        ({"far": float("nan")}, "far=nan"),
    ],
)
def test_wrong_settings_are_named(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        render_preview(None, ramp(), **{"colour_map": "turbo", "near": 0.0, "far": 10.0} | arguments)
