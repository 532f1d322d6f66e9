"""Models of relative depth have figures of their own, after alignment; metric ones have those as well."""

import csv
import json

import bags
import numpy as np
import pytest
from commands import in_this_process
from painted_depth import CAMERA, painted, write_model

from depth_estimation_ros.evaluation.alignment import AlignedMetrics, aligned_metrics, drawn, sequence_metrics
from depth_estimation_ros.tools.evaluate_bag import main

U, V = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
TRUTH = (1.5 + 0.03 * U + 0.2 * np.sin(0.2 * V)).astype(np.float32)


def values(scale, shift):
    return (1.0 / TRUTH - shift) / scale


def test_an_image_is_aligned_by_least_squares_in_inverse_depth():
    truth = np.array([1.0, 2.0, 4.0])
    # Worked out by hand: 1/Z = 0.25 p + 0.25 goes through all three points.
    assert aligned_metrics(np.array([3.0, 1.0, 0.0]), truth)["abs_rel"] == pytest.approx(0.0, abs=1e-9)
    # p = 0, 1, 2 for 1/Z = 1, 0, 1/2 (nearly): the line 3/4 - p/4, which is 3/4, 1/2 and 1/4.
    found = aligned_metrics(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1e9, 2.0]))
    assert found["abs_rel"] == pytest.approx((1 / 3 + (1 - 2e-9) + 1.0) / 3, rel=1e-6)
    # Nothing is farther than the farthest truth: here the line falls below zero.
    assert aligned_metrics(np.array([0.0, 0.0, 9.0, 9.0]), np.array([5.0, 5.0, 1.0, 1.0]))["abs_rel"] < 1e-9
    # Constant values have a constant depth, the reciprocal of the mean of 1/Z: 12/7.
    assert aligned_metrics(np.full(3, 7.0), truth)["abs_rel"] == pytest.approx(10 / 21)


def test_a_sequence_is_aligned_once():
    truth = TRUTH.reshape(-1).astype(np.float64)
    same = [drawn(values(0.02, 0.05).reshape(-1), truth)] * 3
    assert sequence_metrics(lambda: [np.stack(same)])["abs_rel"] < 1e-5
    other = [*same, drawn(values(0.03, 0.05).reshape(-1), truth)]
    found = sequence_metrics(lambda: [np.stack(other[:2]), np.stack(other[2:])])
    assert 0.05 < found["abs_rel"] < 0.3
    assert sequence_metrics(lambda: []) is None and np.isnan(drawn(np.empty(0), np.empty(0))).all()
    both = AlignedMetrics()
    for scale in (0.02, 0.03):
        both.add(values(scale, 0.05), "inverse_relative", TRUTH, TRUTH > 0)
    assert both.per_image()["abs_rel"] < 1e-5 < 0.05 < both.at_once()["abs_rel"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Evaluate a metric and a relative model on the same six frames, of which two are of another scale."""
    folder = tmp_path_factory.mktemp("relative")
    with bags.BagWriter(folder / "bag", "mcap") as bag:
        for k in range(6):
            bag.image("/camera/image", 100 + k / 10, painted(values(0.02 if k < 4 else 0.03, 0.05)), "rgb8")
            bag.info("/camera/camera_info", 100 + k / 10, CAMERA)
            bag.image("/camera/depth", 100 + k / 10, TRUTH, "32FC1")
    models = [write_model(folder / "metric.onnx", name="metric", uncertain=False)]
    models.append(write_model(folder / "relative.onnx", False, "relative", kind="inverse_relative"))
    result = in_this_process(main, "--output", folder / "out", folder / "bag", "--jobs", 1, "--model", *models)
    assert result.returncode == 0, result.stderr
    alone = in_this_process(main, "--output", folder / "alone", folder / "bag", "--jobs", 1, "--model", models[1])
    assert alone.returncode == 0, alone.stderr
    return folder


def summary(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_a_relative_model_has_rows_of_its_own_and_a_metric_one_has_them_too(report):
    found = summary(report / "out")
    metric, relative = found["models"]["metric"], found["models"]["relative"]
    assert relative["frames"] == 0 and relative["abs_rel"] is None and relative["without_estimate"] == 0
    assert relative["scaled"]["abs_rel"] is None and relative["by_distance"] == [] and relative["worst"] == []
    aligned = relative["aligned"]
    assert aligned["frames"] == 6 and aligned["per_image"]["abs_rel"] < 1e-3
    assert 0.03 < aligned["per_sequence"]["abs_rel"] < 0.3
    # The metric model takes the same values for metres, and they are wrong in every way.
    assert metric["frames"] == metric["aligned"]["frames"] == 6 and metric["abs_rel"] > 1.0
    assert metric["aligned"]["per_image"]["abs_rel"] > 0.05
    assert found["paired"][0]["frames"] == 0
    rows = list(csv.DictReader((report / "out" / "frames.csv").open()))
    assert [bool(row["abs_rel"]) for row in rows] == [True, False] * 6 and all(row["aligned_abs_rel"] for row in rows)


@pytest.mark.parametrize("folder", ["out", "alone"])
def test_the_page_shows_them_apart(report, folder):
    page = (report / folder / "report.html").read_text()
    assert "After affine alignment" in page and "Every recording aligned once" in page
    assert "The depth of model relative is relative." in page
    assert ("As estimated" in page) == (folder == "out")
    assert "No frame could be compared" not in page and "gave no valid depth" not in page


def test_the_output_bag_has_no_metres_of_a_relative_model(report):
    from rosbags.highlevel import AnyReader

    for folder, wanted in (("out", True), ("alone", False)):
        (path,) = (report / folder / "bags").iterdir()
        with AnyReader([path]) as reader:
            assert any("depth/image" in c.topic for c in reader.connections) == wanted


def test_a_relative_model_is_not_played_to_a_node_without_an_anchor(report):
    result = in_this_process(
        main, "--output", report / "no", report / "bag", "--live", "--model", report / "relative.onnx"
    )
    assert result.returncode == 1
    assert "the depth of relative is relative (inverse_relative): leave --live out" in result.stderr
