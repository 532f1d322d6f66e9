"""Frames compared with their truth, and what many of them come to."""

import json
import math
import pickle
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.evaluation.metrics import METRICS, PixelErrors, depth_metrics
from depth_estimation_ros.evaluation.result.bootstrap import block_length, mean_interval
from depth_estimation_ros.evaluation.result.frame_result import DISTANCES, REGIONS, compare
from depth_estimation_ros.evaluation.result.frame_table import FrameTable, tabulate
from depth_estimation_ros.evaluation.result.summary import describe_machine, summarise

SECOND = 10**9


def sample(truth, index=0, stamp=None, delay=2_000_000):
    """Return what `compare` asks of a sample."""
    stamp = index * SECOND // 30 if stamp is None else stamp
    return SimpleNamespace(index=index, stamp=stamp, truth=truth.astype(np.float32), delay=delay, deviation=None)


def room(shape=(90, 120)):
    """Return depth from 1 m at the top to nearly 5 m at the bottom."""
    return np.repeat(np.linspace(1, 4.99, shape[0])[:, None], shape[1], axis=1).astype(np.float32)


def result(error, index=0, recording="bag", model="net"):
    """Return the result of a frame whose depth is too far by a share."""
    return compare(sample(room(), index), room() * (1 + error), recording, model, 5.0 + index)


def test_an_estimate_of_another_size_is_interpolated_to_the_truth():
    truth, small = room(), cv2.resize(room(), (40, 30)) * 1.1
    found = compare(sample(truth), small, "bag", "net", 4.0)
    assert found.raw == depth_metrics(DepthMap(small).resized(120, 90).depth, truth)
    assert (found.known, found.invalid, found.delay_ms, found.inference_ms) == (90 * 120, 0, 2.0, 4.0)


def test_pixels_without_truth_do_not_count_and_pixels_without_estimate_are_reported():
    truth, depth = room(), room() * 2
    truth[:, :60] = np.nan
    depth[:45] = np.nan
    found = compare(sample(truth), depth, "bag", "net")
    assert found.raw["pixels"] == 45 * 60 and found.known == 90 * 60
    assert found.invalid == 0.5
    assert found.raw["abs_rel"] == pytest.approx(1.0)


def test_a_frame_without_any_estimate_is_a_result_and_a_frame_without_truth_is_none():
    nothing = np.full((90, 120), np.nan, np.float32)
    found = compare(sample(room()), nothing, "bag", "net")
    assert found.invalid == 1 and found.raw == found.scaled == {} and found.scale is None
    with pytest.raises(ValueError, match="no pixel has a known true depth"):
        compare(sample(nothing), room(), "bag", "net")


def test_median_scaling_is_kept_apart_from_the_metrics():
    found = compare(sample(room()), room() / 2, "bag", "net")
    assert found.raw["abs_rel"] == pytest.approx(0.5)
    assert found.scale == pytest.approx(2) and found.scaled["abs_rel"] == pytest.approx(0, abs=1e-6)


def test_groups_add_up_to_the_whole():
    rng = np.random.default_rng(0)
    d, g = rng.uniform(1, 5, (2, 500))
    sums = PixelErrors(d, g).grouped(rng.integers(0, 7, 500), 8)
    whole = depth_metrics(d, g)
    assert sums["pixels"].sum() == 500 and sums["pixels"][7] == 0
    assert sums["abs_rel"].sum() / 500 == pytest.approx(whole["abs_rel"])
    assert math.sqrt(sums["sq"].sum() / 500) == pytest.approx(whole["rmse"])
    assert sums["delta1"].sum() / 500 == pytest.approx(whole["delta1"])


def test_errors_are_found_at_their_distance_and_in_their_part_of_the_image():
    depth = room()
    depth[80:, 100:] *= 1.5  # lower right, beyond 4.5 m
    figures = summarise([compare(sample(room()), depth, "bag", "net")])["models"]["net"]
    wrong = [(row["from"], row["to"]) for row in figures["by_distance"] if row["abs_rel"] > 1e-6]
    assert wrong == [(4, 5)]
    cells = np.array(figures["by_region"]["abs_rel"])
    assert cells.shape == REGIONS
    assert [tuple(cell) for cell in np.argwhere(cells > 1e-6)] == [(8, 10), (8, 11)]
    assert figures["by_region"]["bias"][8][11] == pytest.approx(0.5)
    assert sum(row["share"] for row in figures["by_distance"]) == pytest.approx(1)
    assert DISTANCES[0] == 0


def test_flicker_is_the_change_of_the_estimate_where_the_truth_stays():
    first, second = sample(room(), 0), sample(room(), 1)
    depth = room()
    found = compare(second, depth * 1.05, "bag", "net", previous=(first, depth)).flicker
    assert found["change"] == pytest.approx(math.log(1.05), rel=1e-4) == found["common"]
    assert found["share"] == 1 and found["truth"] == 0
    checkers = np.where((np.add(*np.mgrid[:90, :120]) % 2) == 0, 1.05, 1 / 1.05)
    found = compare(second, (depth * checkers).astype(np.float32), "bag", "net", previous=(first, depth)).flicker
    assert found["change"] == pytest.approx(math.log(1.05), rel=1e-4)
    assert found["common"] == pytest.approx(0, abs=1e-6)


def test_flicker_leaves_out_what_moved():
    truth, depth = room(), room()
    truth[:, :60] *= 0.7
    depth[:, :60] *= 0.7  # a thing that came nearer, and was seen to
    found = compare(sample(truth, 1), depth, "bag", "net", previous=(sample(room(), 0), room())).flicker
    assert found["share"] == 0.5 and found["change"] == 0
    assert compare(sample(room(), 1), room(), "bag", "net", previous=(sample(scene_cut(0.3), 0), room())).flicker


def scene_cut(kept):
    """Return another room, of which a share of the pixels happens to be as far away."""
    truth = room() * 2
    truth[: round(90 * kept)] /= 2
    return truth


@pytest.mark.parametrize(
    "before",
    [
        sample(scene_cut(0.1), 0),  # chance
        sample(room(), 0, stamp=-SECOND),  # long ago
        sample(room() * 1.1, 0),  # everything moved
        sample(room((45, 60)), 0),  # another resolution
        sample(room(), 2),  # later
    ],
)
def test_frames_that_cannot_be_compared_have_no_flicker(before):
    found = compare(sample(room(), 1), room(), "bag", "net", previous=(before, before.truth))
    assert found.flicker is None


def test_a_table_keeps_every_figure_of_its_frames_in_memory_and_in_a_file(tmp_path):
    found = compare(sample(room(), 1), room() * 1.1, "bag", "net", 3.0, 40.0, (sample(room(), 0), room()))
    blind = compare(sample(room(), 2), np.full((90, 120), np.nan, np.float32), "bag", "net")
    with open(tmp_path / "rows", "w+b") as file:
        shared, other = FrameTable(file), FrameTable(file)
        for _ in range(300):  # more than are kept back
            for table in (shared, other):
                table.add(found)
        shared.extend(pickle.loads(pickle.dumps(tabulate([blind, found])["bag"]["net"])))
        assert (len(shared), shared.estimated, len(other), other.estimated) == (302, 301, 300, 300)
        row = shared.row(300)
        for name in ("index", "stamp", "known", "delay_ms", "invalid", "scale", "inference_ms", "latency_ms"):
            assert row[name] == getattr(found, name)
        for prefix, figures in (("", found.raw), ("scaled_", found.scaled), ("flicker_", found.flicker)):
            for name in set(figures) - ({"pixels"} if prefix == "scaled_" else set()):
                assert row[prefix + name] == figures[name]
        assert shared.column("index").tolist() == [1] * 300 + [1, 2]
        assert np.isnan(shared.column("abs_rel")[-1]) and len(shared.column("abs_rel", estimated=True)) == 301
        np.testing.assert_allclose(shared.sums["by_region"]["abs_rel"], 301 * found.by_region["abs_rel"])
    # A live frame's own inference is not known.
    assert compare(sample(room()), room(), "bag", "net", math.nan).inference_ms is None


def test_the_interval_of_independent_frames_is_the_textbooks():
    values = np.random.default_rng(1).normal(0.2, 0.1, 500)
    assert block_length(values) <= 2
    interval = mean_interval([values[:, None]])[0]
    half = 1.96 * values.std() / math.sqrt(500)
    assert interval.mean == pytest.approx(values.mean())
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert interval.decided


def test_frames_that_are_alike_are_drawn_in_blocks_and_widen_the_interval():
    rng = np.random.default_rng(2)
    # A value every half second, repeated as a camera of 30 Hz sees it: as good as 40 frames, not 600.
    values = np.repeat(rng.normal(0.2, 0.1, 40), 15)
    block = block_length(values)
    assert block >= 15
    single, blocks = (mean_interval([values[:, None]], [n])[0] for n in (1, block))
    wider = (blocks.high - blocks.low) / (single.high - single.low)
    assert math.sqrt(15) * 0.7 < wider < math.sqrt(15) * 1.3


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng, held, trials = np.random.default_rng(3), 0, 150
    for _ in range(trials):
        noise = rng.normal(size=420)
        values = np.convolve(noise, np.ones(20) / 20, "valid")  # alike within 20 frames, mean 0
        held += not mean_interval([values[:, None]], [block_length(values)])[0].decided
    # 95 % of long recordings; the blocks of a short one are few. Frame by frame it would be about a third.
    assert held > 0.8 * trials


@pytest.mark.parametrize("series", [[0.1], [0.1] * 50])
def test_series_without_correlation_to_measure_need_no_blocks(series):
    assert block_length(np.array(series)) == 1


def test_figures_are_means_over_frames_whatever_their_order():
    errors = (0.1, 0.4, -0.2, 0.3)
    results = [result(error, i, "bag_b" if i % 2 else "bag_a") for i, error in enumerate(errors)]
    found = summarise(results, recordings=[{"name": "bag_a"}], machine=describe_machine())
    figures = found["models"]["net"]
    for metric in METRICS:
        assert figures[metric] == pytest.approx(np.mean([r.raw[metric] for r in results]))
        low, high = figures["intervals"][metric]
        assert low <= figures[metric] + 1e-9 and figures[metric] <= high + 1e-9
    assert figures["frames"] == 4 and figures["without_estimate"] == 0
    assert figures["by_recording"]["bag_a"]["abs_rel"] == pytest.approx(0.15)
    assert [place["index"] for place in figures["worst"]] == [1, 3, 2, 0]
    assert figures["inference_ms"]["p50"] == pytest.approx(6.5)
    assert json.dumps(summarise(results[::-1], recordings=[{"name": "bag_a"}], machine=describe_machine())) == (
        json.dumps(found, allow_nan=False)
    )


def test_frames_without_an_estimate_are_counted_and_do_not_enter_the_means():
    blind = compare(sample(room(), 1), np.full((90, 120), np.nan, np.float32), "bag", "net")
    figures = summarise([result(0.2), blind])["models"]["net"]
    assert (figures["frames"], figures["without_estimate"], figures["invalid"]) == (1, 1, 0.5)
    assert figures["abs_rel"] == pytest.approx(0.2)
    only = summarise([blind])
    assert only["models"]["net"]["frames"] == 0 and only["models"]["net"]["abs_rel"] is None
    json.dumps(only, allow_nan=False)


def test_models_are_compared_over_the_frames_that_both_have():
    errors = np.random.default_rng(4).uniform(0.1, 0.5, 20)
    first = [result(e, i) for i, e in enumerate(errors)]
    second = [result(e + 0.02, i, model="other") for i, e in enumerate(errors)][5:]
    pair = summarise(second + first, models={"net": {}, "other": {}})["paired"][0]
    assert (pair["reference"], pair["model"], pair["frames"]) == ("net", "other", 15)
    found = pair["differences"]["abs_rel"]
    # The frames differ far more from each other than the models: only pairs tell them apart.
    assert found["mean"] == pytest.approx(0.02, abs=1e-4) and found["decided"]
    assert found["high"] - found["low"] < 1e-3


def test_models_without_a_common_frame_are_not_compared():
    pair = summarise([result(0.1), result(0.1, 1, model="other")])["paired"][0]
    assert pair["frames"] == 0 and pair["differences"] == {}


def test_frames_count_the_same_at_every_resolution():
    fine = compare(sample(room((180, 240))), room((180, 240)) * 1.4, "fine", "net")
    coarse = compare(sample(room((45, 60))), room((45, 60)) * 1.2, "coarse", "net")
    figures = summarise([fine, replace(coarse, index=1)])["models"]["net"]
    for row in figures["by_distance"]:
        assert row["abs_rel"] == pytest.approx(0.3, abs=0.01)
    assert figures["bias"] == pytest.approx(0.3)


def test_the_packaged_model_scores_on_frames_what_its_metrics_say(rendered_data):
    from depth_estimation_ros import DepthEstimator, PinholeCamera
    from depth_estimation_ros.evaluation.result.summary import describe_model

    folder = rendered_data / "rgbd_samples"
    names = sorted(path.stem for path in (folder / "color").iterdir())
    camera, estimator = PinholeCamera(640, 480, 525, 525, 319.5, 239.5), DepthEstimator.load(threads=1)
    results, expected = [], []
    for i, (colour, depth) in enumerate(
        zip(*(sorted((folder / n).iterdir()) for n in ("color", "depth")), strict=True)
    ):
        rgb = cv2.cvtColor(cv2.imread(str(colour)), cv2.COLOR_BGR2RGB)
        millimetres = cv2.imread(str(depth), cv2.IMREAD_UNCHANGED)
        truth = np.where(millimetres > 0, millimetres * np.float32(1e-3), np.float32(np.nan))
        estimate = estimator.estimate(rgb, camera)
        results.append(compare(sample(truth, i), estimate.depth, "redwood", "default", 1.0))
        expected.append(depth_metrics(estimate.resized(640, 480).depth, truth)["abs_rel"])
    about = describe_model(estimator.model, estimator.backend.name)
    found = summarise(results, {"default": about})["models"]["default"]
    assert len(names) == found["frames"] == 5
    assert found["abs_rel"] == pytest.approx(np.mean(expected))
    assert 0.03 < found["abs_rel"] < 0.6
    assert len(found["about"]["sha256"]) == 64


def test_of_a_long_recording_only_columns_are_in_memory(tmp_path):
    def peak(count):
        """Return the bytes held for the results, and the most that their figures take."""
        with open(tmp_path / f"rows_{count}", "w+b") as file:
            table = FrameTable(file)
            tracemalloc.start()
            for start in range(0, count, 1000):
                rows = np.repeat(row, 1000)
                rows["index"] = rows["stamp"] = np.arange(start, start + 1000)
                rows["abs_rel"] = errors[start : start + 1000]
                table.append(rows, sums, 1000)
            held = tracemalloc.get_traced_memory()[0]
            assert summarise({"bag": {"net": table}})["models"]["net"]["frames"] == count
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return np.array([held, most])

    one, errors = tabulate([result(0.2)])["bag"]["net"], 0.3 + 0.1 * np.sin(np.arange(40_000) / 50)
    (row,) = one.chunks()
    sums = {kind: {name: 1000 * values for name, values in groups.items()} for kind, groups in one.sums.items()}
    held, most = (peak(40_000) - peak(10_000)) / 30_000
    # A frame is 280 bytes on disk, and was 10 KB in memory.
    assert held < 10 and most < 150
