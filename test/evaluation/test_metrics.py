import math

import numpy as np
import pytest

from depth_estimation_ros.evaluation.metrics import METRICS, DepthMetrics, depth_metrics, eigen_crop_mask


def test_metrics_worked_out_by_hand():
    truth, prediction = np.array([1.0, 2.0, 4.0, 0.0]), np.array([1.0, 3.0, 2.0, 7.0])
    m = depth_metrics(prediction, truth)
    logs = np.array([0.0, math.log(1.5), math.log(0.5)])
    assert m["pixels"] == 3
    assert m["abs_rel"] == pytest.approx((0 + 0.5 + 0.5) / 3)
    assert m["sq_rel"] == pytest.approx((0 + 0.5 + 1.0) / 3)
    assert m["rmse"] == pytest.approx(math.sqrt((0 + 1 + 4) / 3))
    assert m["rmse_log"] == pytest.approx(math.sqrt((logs**2).mean()))
    assert m["log10"] == pytest.approx((math.log10(1.5) + math.log10(2)) / 3)
    assert m["silog"] == pytest.approx(100 * logs.std())
    # The ratios are 1, 1.5 and 2: below 1.25, 1.5625 and 1.953 lie one, two and two of them.
    assert (m["delta1"], m["delta2"], m["delta3"]) == pytest.approx((1 / 3, 2 / 3, 2 / 3))


def test_a_published_prediction_scores_what_was_published(rgbd_data):
    sample = rgbd_data / "fastdepth_nyu_sample"
    truth, prediction = (np.load(sample / f"{name}.npy").squeeze() for name in ("depth", "pred"))
    m = depth_metrics(prediction, truth)
    assert round(m["rmse"], 3) == 0.618
    assert round(m["abs_rel"], 3) == 0.140


def test_pooling_weighs_pixels_and_the_mean_weighs_images():
    metrics = DepthMetrics()
    metrics.add(np.full(3, 2.0), np.full(3, 1.0))
    metrics.add(np.full(1, 1.0), np.full(1, 1.0))
    assert metrics.mean()["abs_rel"] == pytest.approx(0.5)
    assert metrics.pooled()["abs_rel"] == pytest.approx(0.75)
    everything = depth_metrics(np.array([2.0, 2.0, 2.0, 1.0]), np.ones(4))
    assert metrics.pooled() == pytest.approx({**everything, "pixels": 4})
    assert set(metrics.mean()) == set(METRICS)


def test_nothing_is_scaled_to_fit():
    truth = np.linspace(1, 5, 50)
    assert depth_metrics(2 * truth, truth)["abs_rel"] == pytest.approx(1.0)
    assert depth_metrics(2 * truth, truth)["silog"] == pytest.approx(0.0, abs=1e-6)


def test_pixels_without_truth_or_outside_the_mask_do_not_count():
    truth = np.array([1.0, np.nan, -1.0, np.inf, 2.0])
    assert depth_metrics(np.array([1.0, 9, 9, 9, 9]), truth, np.array([1, 1, 1, 1, 0], bool))["rmse"] == 0


def test_predictions_that_are_no_depth_are_refused():
    with pytest.raises(ValueError, match="positive numbers"):
        depth_metrics(np.array([0.0]), np.array([1.0]))
    with pytest.raises(ValueError, match="nothing to compare"):
        depth_metrics(np.array([1.0]), np.array([0.0]))
    with pytest.raises(ValueError, match="one shape"):
        depth_metrics(np.ones((2, 2)), np.ones((2, 3)))


@pytest.mark.parametrize("step", [1, 2, 4])
def test_the_eigen_crop_covers_the_same_view_at_every_size(step):
    mask = eigen_crop_mask(np.ones((480, 640))[::step, ::step])
    full = np.zeros((480, 640), bool)
    full[45:471, 41:601] = True
    assert (mask == full[::step, ::step]).all()
