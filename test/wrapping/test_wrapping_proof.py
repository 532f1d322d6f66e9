"""What a wrapped model makes of rendered rooms is told: figures where it is right, else the likely option."""

import re
from dataclasses import replace

import numpy as np
import pytest

from depth_estimation_ros.model import ModelInfo
from depth_estimation_ros.wrapping.preset import Focal, Mask, Preset
from depth_estimation_ros.wrapping.proof import prove, rooms

INFO = ModelInfo("tested", 80, 60, 70.0, 0.1, 20.0, "none", "none", "0" * 64)
METRIC = Preset("tested", "Tested", "metric", "none", None, "", "", "", focal=Focal(70.0, 80, 60))


@pytest.fixture(scope="module")
def views():
    return rooms(INFO)


@pytest.fixture(scope="module")
def truth(views):
    """Return a network that knows the true depth of the rooms, and of everything else nothing but 2 m."""
    known = {view.rgb.tobytes(): view.depth for view in views}

    def infer(images):
        return known.get(images.tobytes(), np.full((60, 80), 2.0, np.float32))[None, None]

    return infer


def test_a_right_model_is_proven(views, truth):
    proof = prove(truth, METRIC, views, lambda _: truth)
    assert not proof.failures and not proof.warnings
    assert proof.correlation == pytest.approx(1.0) and proof.ratio == pytest.approx(1.0)
    assert 0 < proof.milliseconds < 1e4


def test_the_rooms_are_those_of_the_models_camera(views):
    wide = rooms(replace(INFO, focal_length=20.0, focal_length_y=70.0))
    assert all(view.rgb.shape == (60, 80, 3) and view.depth.shape == (60, 80) for view in [*views, *wide])
    assert not np.array_equal(wide[0].depth, views[0].depth)


def inverse_of(truth):
    return lambda images: 1 / truth(images)


@pytest.mark.parametrize(
    ("spoil", "said"),
    {
        "not a number": (lambda d: np.full_like(d, np.nan), "none of its depth is a number.*float32"),
        "partly not a number": (lambda d: np.where(d > 2.5, np.nan, d), "% of its depth in rooms is not a number"),
        "infinite": (lambda d: np.full_like(d, np.inf), "none of its depth is a number"),
        "constant": (lambda d: np.full_like(d, 3.0), "the same everywhere.*--normalisation.*--depth"),
        "zero": (lambda d: np.zeros_like(d), "100.0% of its depth is zero.*early metric files"),
        "mostly zero": (lambda d: np.where(d > d.max() - 1e-3, d, 0), "of its depth is zero"),
        "inverse": (lambda d: 1 / d, "falls where the truth rises.*--kind inverse_relative, or canonical_inverse"),
    }.values(),
)
def test_a_useless_model_fails_with_the_likely_option(views, truth, spoil, said):
    proof = prove(lambda images: spoil(truth(images)), METRIC, views)
    (failure,) = proof.failures
    assert failure.isprintable()
    assert re.search(said, failure)


def test_a_mask_may_hide_a_part_but_not_all(views, truth):
    masked = replace(METRIC, mask=Mask(("sky",), 0.3, "below"))
    assert not prove(lambda images: np.where(truth(images) > 3, np.nan, truth(images)), masked, views).failures
    (failure,) = prove(lambda images: np.full_like(truth(images), np.nan), masked, views).failures
    assert "its mask hides every pixel" in failure


def test_relative_depth_has_no_ratio_and_its_direction_is_checked(views, truth):
    inverse, depth = (replace(METRIC, kind=kind, focal=None) for kind in ("inverse_relative", "depth_relative"))
    for preset, right, wrong, option in (
        (inverse, inverse_of(truth), truth, "--kind depth_relative, or metric"),
        (depth, truth, inverse_of(truth), "--kind inverse_relative"),
    ):
        proof = prove(right, preset, views)
        assert not proof.failures and proof.correlation == pytest.approx(1.0) and np.isnan(proof.ratio)
        assert option in prove(wrong, preset, views).failures[0]
    upside_down = replace(METRIC, kind="canonical_inverse", focal=Focal(70.0))
    assert "--kind canonical" in prove(inverse_of(truth), upside_down, views).failures[0]


@pytest.mark.parametrize(
    ("factor", "preset", "said"),
    [
        (1000.0, METRIC, "millimetres"),
        (4.0, METRIC, "4 times the truth in rooms: --focal-length"),
        (0.2, METRIC, "0.2 times the truth"),
        (10 / 3, replace(METRIC, kind="canonical", focal=Focal(300.0)), "--focal-length, of its canonical camera"),
    ],
)
def test_a_scale_that_is_off_by_more_than_three_is_told(views, truth, factor, preset, said):
    (warning,) = prove(lambda images: factor * truth(images), preset, views).warnings
    assert said in warning


def test_twice_the_scale_is_nothing_to_tell(views, truth):
    assert not prove(lambda images: 2 * truth(images), METRIC, views).warnings


def test_double_normalisation_is_found_by_trying_without(views, truth):
    rng = np.random.default_rng(0)

    def blurred(images):
        return truth(images) + rng.normal(0.0, 2.0, (1, 1, 60, 80)).clip(-1, 5)

    variants = {"unit": truth, "half": blurred, "raw": blurred}
    (warning,) = prove(blurred, METRIC, views, variants.__getitem__).warnings
    assert "--normalisation unit (the network probably normalises its image itself)" in warning
    variants = {"half": truth, "unit": blurred, "raw": blurred}
    (warning,) = prove(blurred, METRIC, views, variants.__getitem__).warnings
    assert warning.endswith("--normalisation half")


def test_depth_that_has_nothing_to_do_with_the_room_is_told(views):
    rng = np.random.default_rng(0)
    (warning,) = prove(lambda _: rng.uniform(1, 4, (1, 1, 30, 40)).astype(np.float32), METRIC, views).warnings
    assert "hardly follows the truth" in warning
