"""Relative depth becomes metric by a few true depths: whatever a third of them say, over time, and never in silence."""

import math
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from depth_estimation_ros import PinholeCamera
from depth_estimation_ros.anchor import CORRECTIONS, RelativeAnchor, ScaleAnchor, SparseDepth
from depth_estimation_ros.anchor.alignment import FARTHEST
from depth_estimation_ros.anchor.filter import Timing
from depth_estimation_ros.estimator import DepthMap

CAMERA = PinholeCamera(80, 64, 65.0, 65.0, 39.5, 31.5)
KINDS = ("inverse_relative", "depth_relative")


def scene(near=2.0, far=5.0):
    """Make the true depth of a wall that recedes, with a box in front of it."""
    depth = np.tile(np.linspace(near, far, CAMERA.width, dtype=np.float32), (CAMERA.height, 1))
    depth[32:48, 20:40] = 0.75 * near
    return depth


def relative(truth, kind, scale=0.05, shift=0.1):
    """Return what a relative network outputs: 1/Z or Z is `scale` times its values plus `shift`."""
    target = 1.0 / truth if kind == "inverse_relative" else truth
    return DepthMap(((target - shift) / scale).astype(np.float32), CAMERA, kind=kind)


def reference(truth, points=50, wrong=0.0, seed=0):
    """Give true depths at random pixels with 1 % noise, some of them replaced by anything between 0.5 and 10 m."""
    generator = np.random.default_rng(seed)
    chosen = generator.choice(truth.size, points, replace=False)
    depth = truth.reshape(-1)[chosen] * np.exp(generator.normal(0, 0.01, points))
    depth = np.where(np.arange(points) < round(wrong * points), generator.uniform(0.5, 10, points), depth)
    return SparseDepth(CAMERA.rays().reshape(-1, 2)[chosen].astype(float), depth)


def error(anchored, truth):
    return float(np.mean(np.abs(anchored.depth_map.depth - truth) / truth))


@pytest.mark.parametrize("correction", ["field", "scale_shift"])
@pytest.mark.parametrize("kind", KINDS)
def test_scale_and_shift_are_found_whatever_they_are_and_a_third_of_the_points_say(kind, correction):
    truth = scene()
    for scale, shift in ((1.0, 0.0), (1e-4, -0.3), (300.0, 0.2)):
        for seed in range(3):
            anchor = RelativeAnchor(kind, correction)
            found = anchor.update(relative(truth, kind, scale, shift), reference(truth, 60, 1 / 3, seed), 0.0)
            assert found.state == "anchored" and found.inliers < 0.9 * found.points
            assert found.depth_map.kind == "metric"
            assert error(found, truth) < 0.08  # as of metric depth with these points
    exact = RelativeAnchor(kind, correction).update(relative(truth, kind), reference(truth), 0.0)
    assert error(exact, truth) < 0.02
    assert (exact.scale, exact.shift) == pytest.approx((0.05, 0.1), rel=0.35)
    assert 0.0 < exact.deviation < 0.1 and exact.confidence > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_one_scale_is_fitted_where_only_that_is_asked_for(kind):
    truth = scene()
    found = RelativeAnchor(kind, "scale").update(relative(truth, kind, 0.3, 0.0), reference(truth, 30, 1 / 3), 0.0)
    assert found.scale == pytest.approx(0.3, rel=0.05) and found.shift == 0.0
    assert error(found, truth) < 0.05


def test_the_field_corrects_what_scale_and_shift_cannot():
    truth = scene()
    bent = relative(truth * np.exp(np.linspace(-0.3, 0.3, 64, dtype=np.float32))[:, None], "inverse_relative")
    line, field = (
        error(RelativeAnchor("inverse_relative", name).update(bent, reference(truth, 100), 0.0), truth)
        for name in ("scale_shift", "field")
    )
    assert field < 0.05 < 0.1 < line


def test_there_is_no_depth_before_the_first_good_fit_and_the_reason_is_said():
    truth = scene()
    anchor, depth = RelativeAnchor("inverse_relative"), relative(scene(), "inverse_relative")
    everywhere = reference(truth, 300)
    one_depth = (everywhere.depth > 3.0) & (everywhere.depth < 3.6)
    generator = np.random.default_rng(1)
    nonsense = SparseDepth(everywhere.rays, np.exp(generator.uniform(-3, 6, 300)))
    beside = SparseDepth(np.full((9, 2), 3.0), np.full(9, 2.0))
    cases = (
        (None, ""),
        (reference(truth, 3), "need 5 points"),
        (SparseDepth(everywhere.rays[one_depth], everywhere.depth[one_depth]), "span depths of 1 to 1.16, and"),
        (SparseDepth(everywhere.rays, 6.6 - everywhere.depth), "does not rise and fall with the model's"),
        (nonsense, "contradict"),
        (beside, "none of its points lies where there is depth"),
    )
    for i, (points, why) in enumerate(cases):
        found = anchor.update(depth, points, 0.1 * i)
        assert found.state == "none" and np.isnan(found.depth_map.depth).all(), why
        assert why in found.trouble and bool(why) == bool(found.trouble)
        assert math.isnan(found.scale) and math.isnan(found.shift) and found.confidence == 0.0
    flat = DepthMap(np.full((64, 80), 3.0, np.float32), CAMERA, kind="inverse_relative")
    assert "the same all over the image" in anchor.update(flat, everywhere, 1.0).trouble
    assert anchor.update(depth, everywhere, 1.1).state == "anchored"


def test_depth_of_unknown_scale_needs_no_spread():
    truth = scene()
    points = reference(truth, 300)
    one_depth = (points.depth > 3.0) & (points.depth < 3.6)
    narrow = SparseDepth(points.rays[one_depth], points.depth[one_depth])
    found = RelativeAnchor("depth_relative").update(relative(truth, "depth_relative", 0.2, 0.0), narrow, 0.0)
    assert found.state == "anchored" and error(found, truth) < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_points_of_one_depth_move_the_scale_and_leave_the_shape(kind):
    truth, wall = scene(), np.full((64, 80), 3.0, np.float32) * np.linspace(0.95, 1.05, 80, dtype=np.float32)
    anchor = RelativeAnchor(kind, "scale_shift", Timing(smoothing=0.0))
    for i in range(10):
        anchor.update(relative(truth, kind, 0.05 * 1.01**i), reference(truth, seed=i), 0.1 * i)
    for i in range(10, 60):
        found = anchor.update(relative(wall, kind), reference(wall, seed=i), 0.1 * i)
        assert error(found, wall) < 0.05
    assert error(anchor.update(relative(truth, kind), None, 6.0), truth) < 0.15


@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_follows_a_drifting_scale_and_shift_without_jumps(kind, correction):
    truth, anchor = scene(), RelativeAnchor(kind, correction)
    shift = 0.0 if correction == "scale" else 0.1
    depths = []
    for i in range(150):
        drifted = relative(truth, kind, 0.05 * math.exp(0.01 * i), shift * (1 + 0.01 * i))
        found = anchor.update(drifted, reference(truth, 40, 0.25, seed=i), 0.1 * i)
        assert error(found, truth) < 0.12
        depths.append(np.log(found.depth_map.depth))
    assert max(np.abs(b - a).max() for a, b in pairwise(depths)) < 0.2


def test_a_scale_that_changes_at_once_is_followed_by_smoothing():
    truth, kind, anchor = scene(), "inverse_relative", RelativeAnchor("inverse_relative")
    stream = [(0.05, 0.1)] * 20 + [(0.02, -0.2)] * 60
    errors = [
        error(anchor.update(relative(truth, kind, *of), reference(truth, seed=i), 0.1 * i), truth)
        for i, of in enumerate(stream)
    ]
    assert errors[19] < 0.03 < 0.2 < errors[20] and errors[-1] < 0.03


def test_a_lost_reference_is_held_then_trusted_less_and_then_there_is_no_depth():
    truth, kind = scene(), "inverse_relative"
    anchor = RelativeAnchor(kind, timing=Timing(hold=0.5, release=2.0))
    depth = relative(truth, kind)
    first = [anchor.update(depth, reference(truth, seed=i), 0.1 * i) for i in range(10)][-1]
    lost = [anchor.update(depth, None, 0.9 + 0.1 * i) for i in range(1, 40)]
    states = [found.state for found in lost]
    assert [name for name, after in pairwise([*states, ""]) if name != after] == ["held", "released", "lost"]
    assert states.count("held") == pytest.approx(5, abs=1) and states.count("released") == pytest.approx(20, abs=1)
    for found in lost:
        assert np.isnan(found.depth_map.depth).all() == (found.state == "lost")
        assert found.state == "lost" or error(found, truth) < 0.05
    assert all(a.confidence >= b.confidence for a, b in pairwise([first, *lost]))
    released = [found for found in lost if found.state == "released"]
    assert released[-1].deviation > 2 * first.deviation and math.isnan(lost[-1].scale)
    again = anchor.update(relative(truth, kind, 3.0, -1.0), reference(truth), 6.0)
    assert again.state == "anchored" and error(again, truth) < 0.03
    # A pause without any image counts as well.
    assert anchor.update(depth, None, 60.0).state == "lost"


def test_a_reference_that_comes_back_before_that_does_not_make_depth_jump():
    truth, kind, anchor = scene(), "inverse_relative", RelativeAnchor("inverse_relative")
    for i in range(10):
        anchor.update(relative(truth, kind), reference(truth, seed=i), 0.1 * i)
    changed, depths = relative(truth, kind, 0.07, 0.05), []
    for i in range(10, 200):
        points = None if i < 60 else reference(truth, seed=i)
        depths.append(np.log(anchor.update(changed, points, 0.1 * i).depth_map.depth))
    steps = [np.abs(b - a).max() for a, b in pairwise(depths)]
    assert max(steps) < 0.29 * (steps[49] / 0.28 + 0.1)  # the first step back, and no larger one
    assert np.abs(depths[-1] - np.log(truth)).mean() < 0.03


def test_what_lies_beyond_infinity_is_far_and_never_negative():
    truth, kind = scene(), "inverse_relative"
    depth = relative(truth, kind)
    depth.depth[:8] = -4.0  # sky: 1/Z = 0.05 * -4 + 0.1 < 0
    depth.depth[8:10] = np.nan
    points = reference(truth, 300)
    below = points.rays[:, 1] > -0.3
    points = SparseDepth(points.rays[below], points.depth[below])
    found = RelativeAnchor(kind, "scale_shift").update(depth, points, 0.0).depth_map.depth
    assert np.allclose(found[:8], FARTHEST) and np.isnan(found[8:10]).all() and (found[10:] > 0).all()


def test_time_that_goes_back_starts_anew():
    truth, kind, anchor = scene(), "depth_relative", RelativeAnchor("depth_relative")
    anchor.update(relative(truth, kind), reference(truth), 100.0)
    assert anchor.update(relative(truth, kind), None, 99.9).state == "held"
    assert anchor.update(relative(truth, kind), None, 3.0).state == "none"


def test_memory_does_not_grow_with_the_stream():
    truth, kind, anchor = scene(), "inverse_relative", RelativeAnchor("inverse_relative")
    depth, points = relative(truth, kind), reference(truth, 20)
    tracemalloc.start()
    try:
        for i in range(300):
            anchor.update(depth, points if i % 50 else None, 0.1 * i)
            if i == 100:
                before = tracemalloc.get_traced_memory()[0]
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()


def test_relative_depth_is_taken_for_metres_nowhere():
    depth = relative(scene(), "inverse_relative")
    for use in (
        lambda: depth.limited(0.1, 10.0),
        lambda: ScaleAnchor().update(depth, None, 0.0),
        lambda: depth.resized(8, 6).require_metres(),
    ):
        with pytest.raises(ValueError, match=r"depth is relative \(inverse_relative\), not metres"):
            use()
    with pytest.raises(ValueError, match="is for depth_relative depth, and the depth map is inverse_relative"):
        RelativeAnchor("depth_relative").update(depth, None, 0.0)
    with pytest.raises(ValueError, match="one of inverse_relative, depth_relative, got 'metric'"):
        RelativeAnchor("metric")
    with pytest.raises(ValueError, match="the correction must be one of"):
        RelativeAnchor("depth_relative", "affine")
