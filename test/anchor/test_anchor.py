"""Scale anchoring: right depth from a few true ones, whatever a third of them say, and never a jump."""

import math

import cv2
import numpy as np
import pytest

from depth_estimation_ros import PinholeCamera
from depth_estimation_ros.anchor import CORRECTIONS, ScaleAnchor, SparseDepth, points_reference
from depth_estimation_ros.anchor.filter import Timing
from depth_estimation_ros.estimator import DepthMap

CAMERA = PinholeCamera(80, 64, 65.0, 65.0, 39.5, 31.5)


def scene(camera=CAMERA):
    """Make the true depth of a wall that recedes from 2 to 5 m, with a box of 1.5 m in front of it."""
    depth = np.tile(np.linspace(2, 5, camera.width, dtype=np.float32), (camera.height, 1))
    rows, columns = camera.height // 4, camera.width // 4
    depth[2 * rows : 3 * rows, columns : 2 * columns] = 1.5
    return depth


def reference(truth, points, wrong=0.0, seed=0, camera=CAMERA):
    """Give true depths at random pixels with 1 % noise, some of them replaced by anything between 0.5 and 10 m."""
    generator = np.random.default_rng(seed)
    chosen = generator.choice(truth.size, points, replace=False)
    depth = truth.reshape(-1)[chosen] * np.exp(generator.normal(0, 0.01, points))
    bad = np.arange(points) < round(wrong * points)
    depth = np.where(bad, generator.uniform(0.5, 10, points), depth)
    return SparseDepth(camera.rays().reshape(-1, 2)[chosen].astype(float), depth)


def error(anchored, truth):
    return float(np.mean(np.abs(anchored.depth_map.depth - truth) / truth))


@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("factor", [0.7, 1.5])
def test_a_scale_that_is_wrong_everywhere_is_found_by_every_correction(correction, factor):
    truth = scene()
    estimate = DepthMap(truth * np.float32(factor), CAMERA)
    anchor = ScaleAnchor(correction)
    found = anchor.update(estimate, reference(truth, 50), 0.0)
    assert error(found, truth) < 0.03
    assert found.state == "anchored" and found.confidence > 0.4
    # What of a field is the scale shows in time.
    for i in range(1, 20):
        found = anchor.update(estimate, reference(truth, 50, seed=i), 0.1 * i)
    assert found.scale == pytest.approx(1 / factor, rel=0.03)


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_a_third_of_the_points_may_be_wrong(correction):
    truth = scene()
    estimate = DepthMap(truth * np.float32(1.4), CAMERA)
    for seed in range(5):
        found = ScaleAnchor(correction).update(estimate, reference(truth, 60, wrong=1 / 3, seed=seed), 0.0)
        assert error(found, truth) < 0.08  # 40 % before
        assert found.inliers <= 0.9 * found.points


def test_a_shift_is_found_where_it_is_asked_for():
    truth = scene()
    estimate = DepthMap((truth - np.float32(0.5)) * np.float32(0.9), CAMERA)
    points = reference(truth, 100)
    assert error(ScaleAnchor("scale_shift").update(estimate, points, 0.0), truth) < 0.02
    assert error(ScaleAnchor("scale").update(estimate, points, 0.0), truth) > 0.05


def test_a_field_corrects_what_differs_over_the_image():
    truth = scene()
    tilt = np.exp(np.linspace(-0.3, 0.3, 64, dtype=np.float32))[:, None]
    estimate = DepthMap(truth * tilt, CAMERA)
    points = reference(truth, 60)
    field, scale = (error(ScaleAnchor(c).update(estimate, points, 0.0), truth) for c in ("field", "scale"))
    assert field < 0.04 < 0.1 < scale


def test_the_field_keeps_the_edges_of_surfaces_that_err_differently():
    truth = scene()
    box = truth == 1.5
    estimate = DepthMap(np.where(box, truth * 0.7, truth * 1.1).astype(np.float32), CAMERA)
    found = ScaleAnchor("field").update(estimate, reference(truth, 150), 0.0).depth_map.depth
    assert np.mean(np.abs(found - truth)[box] / 1.5) < 0.06  # 30 % before
    assert np.mean(np.abs(found - truth)[~box] / truth[~box]) < 0.03


def test_it_does_not_matter_at_which_size_depth_is_anchored():
    large = CAMERA.resized(640, 512)
    truth = np.tile(np.linspace(2, 5, 640, dtype=np.float32), (512, 1))
    tilt = np.exp(np.linspace(-0.3, 0.3, 512, dtype=np.float32))[:, None]
    points = reference(truth, 60, camera=large)
    whole = DepthMap(truth * tilt, large)
    small = whole.resized(80, 64)
    a = ScaleAnchor("field").update(whole, points, 0.0).depth_map.resized(80, 64).depth
    b = ScaleAnchor("field").update(small, points, 0.0).depth_map.depth
    assert np.max(np.abs(a / b - 1)) < 0.03


def test_invalid_pixels_stay_invalid_and_deviations_are_scaled_along():
    truth = scene()
    depth = truth * np.float32(1.25)
    depth[5:9, 7:20] = np.nan
    found = ScaleAnchor("scale").update(DepthMap(depth, CAMERA, depth * 0.1), reference(truth, 60), 0.0).depth_map
    np.testing.assert_array_equal(np.isnan(found.depth), np.isnan(depth))
    np.testing.assert_allclose(found.deviation, found.depth * 0.1, rtol=1e-5)
    assert found.camera == CAMERA


def test_points_hidden_behind_nearer_ones_do_not_count():
    truth = scene()
    sees = np.concatenate([CAMERA.rays(), np.ones((64, 80, 1))], axis=2).reshape(-1, 3)[::7]
    near = sees * truth.reshape(-1, 1)[::7]
    # A lidar above the camera also sees what is behind: as many points 2 m farther in the same pixels.
    hidden = sees * (truth.reshape(-1, 1)[::7] + 2)
    found = ScaleAnchor("scale").update(
        DepthMap(truth * np.float32(1.2), CAMERA), points_reference(np.concatenate([hidden, near])), 0.0
    )
    assert found.scale == pytest.approx(1 / 1.2, rel=0.02)


def test_more_points_make_it_surer_and_wrong_ones_less_sure():
    truth = scene()
    estimate = DepthMap(truth * np.float32(1.2), CAMERA)

    def confidence(points, wrong=0.0):
        return ScaleAnchor("field").update(estimate, reference(truth, points, wrong), 0.0).confidence

    assert 0 < confidence(1) < confidence(5) < confidence(50) < 1
    assert confidence(50, wrong=1 / 3) < confidence(50)


def test_one_reading_moves_the_scale_only_as_far_as_it_can_be_believed():
    truth = scene()
    found = ScaleAnchor("scale", prior=0.2).update(DepthMap(truth * np.float32(0.8), CAMERA), reference(truth, 1), 0.0)
    assert 1.05 < found.scale < 1.2  # it says 1.25
    assert 0.05 < found.deviation < 0.2


def test_points_that_contradict_each_other_are_not_believed():
    truth = scene()
    generator = np.random.default_rng(3)
    rays = CAMERA.rays().reshape(-1, 2)[generator.choice(truth.size, 200, replace=False)].astype(float)
    nonsense = SparseDepth(rays, np.exp(generator.uniform(-3, 6, 200)))
    found = ScaleAnchor("field").update(DepthMap(truth, CAMERA), nonsense, 0.0)
    assert found.confidence < 0.3
    assert found.inliers < 0.5 * found.points


def run(anchor, estimates, references, interval=0.1):
    """Anchor a stream of images and return what was found of each."""
    return [anchor.update(e, r, i * interval) for i, (e, r) in enumerate(zip(estimates, references, strict=True))]


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_when_the_reference_is_lost_depth_goes_back_without_a_jump(correction):
    truth = scene()
    tilt = np.exp(np.linspace(-0.2, 0.2, 80, dtype=np.float32))
    estimate = DepthMap(truth * tilt * np.float32(1.5), CAMERA)
    timing = Timing(smoothing=0.3, hold=0.5, release=5.0)
    references = [reference(truth, 60, seed=i) for i in range(30)] + [None] * 400 + [reference(truth, 60)] * 30
    found = run(ScaleAnchor(correction, timing), [estimate] * 460, references)
    depths = np.log([f.depth_map.depth for f in found])
    steps = np.abs(np.diff(depths, axis=0)).max(axis=(1, 2))
    # Nothing moves while the correction is held; then at most the share 0.1 s / (1 s or 5 s) of the way.
    assert [f.state for f in found[30:34]] == ["held"] * 4
    assert steps[29:33].max() == 0.0
    assert steps[29:429].max() < 0.1 * (0.6 / 1.0 + 0.6 / 5.0)
    # Coming back, at most 1 - exp(-0.1 / 0.3) of the way.
    assert steps[429:].max() < 0.29 * (0.6 + 0.1)
    # In the end it is the estimate itself, and known to be.
    np.testing.assert_allclose(found[429].depth_map.depth, estimate.depth, rtol=5e-3)
    assert found[429].state == "released" and found[429].confidence < 0.01
    assert found[429].deviation == pytest.approx(0.2, rel=0.01)
    assert error(found[-1], truth) == pytest.approx(error(found[29], truth), abs=0.03)


def test_the_last_good_scale_is_kept_where_that_is_asked_for():
    truth = scene()
    estimate = DepthMap(truth * np.float32(1.5), CAMERA)
    anchor = ScaleAnchor("field", Timing(release=math.inf))
    found = run(anchor, [estimate] * 300, [reference(truth, 60, seed=i) for i in range(10)] + [None] * 290)
    assert error(found[-1], truth) < 0.03
    assert found[-1].confidence < 0.1 < found[9].confidence


def test_noise_of_the_reference_is_smoothed_in_time():
    truth = scene()
    estimate = DepthMap(truth * np.float32(1.2), CAMERA)
    references = [reference(truth, 4, wrong=0.25, seed=i) for i in range(60)]

    def unrest(smoothing):
        found = run(ScaleAnchor("scale", Timing(smoothing=smoothing)), [estimate] * 60, references)
        return np.std([f.scale for f in found[20:]])

    assert unrest(1.0) < 0.6 * unrest(0.0)


def test_nothing_happens_without_a_reference():
    estimate = DepthMap(scene(), CAMERA)
    found = ScaleAnchor().update(estimate, None, 0.0)
    assert found.depth_map is estimate
    assert (found.state, found.scale, found.confidence, found.points) == ("none", 1.0, 0.0, 0)
    # Without a reference there is no need of a camera either.
    assert ScaleAnchor().update(DepthMap(scene()), None, 0.0).state == "none"


def test_time_that_goes_back_starts_anew():
    truth = scene()
    estimate = DepthMap(truth * np.float32(1.5), CAMERA)
    anchor = ScaleAnchor()
    anchor.update(estimate, reference(truth, 60), 100.0)
    assert anchor.update(estimate, None, 99.9).state == "held"  # late, no more
    assert anchor.update(estimate, None, 3.0).state == "none"
    assert anchor.update(estimate, reference(truth, 60), 3.1).state == "anchored"


def test_the_same_correction_serves_another_size_of_the_view():
    truth = scene()
    estimate = DepthMap(truth * np.float32(1.3), CAMERA)
    anchor = ScaleAnchor("scale")
    small = anchor.update(estimate, reference(truth, 60), 0.0).depth_map
    large = anchor.apply(estimate.resized(640, 512))
    assert large.depth.shape == (512, 640)
    np.testing.assert_allclose(cv2.resize(small.depth, (640, 512)), large.depth, rtol=1e-3)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"must be one of field, scale, scale_shift, got 'affine'"):
        ScaleAnchor("affine")
    with pytest.raises(ValueError, match="prior deviation"):
        ScaleAnchor(prior=0.0)
    with pytest.raises(ValueError, match="release more than 0 s"):
        Timing(release=0.0)
    with pytest.raises(ValueError, match="needs the camera's intrinsics"):
        ScaleAnchor().update(DepthMap(scene()), reference(scene(), 5), 0.0)
