"""Accuracy by both protocols, on frames whose errors are known because the model and the frames are made here."""

import csv
import json
import math
import shutil
from functools import partial

import cv2
import numpy as np
import pytest
from commands import in_process, in_this_process

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")
h5py = pytest.importorskip("h5py", reason="MATLAB 7.3 files are written with h5py")

import onnx  # noqa: E402
import scipy.io  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from depth_estimation_ros import DepthEstimator, PinholeCamera  # noqa: E402
from depth_estimation_ros.estimator import DepthMap  # noqa: E402
from depth_estimation_ros.model import METADATA_KEY, ModelInfo  # noqa: E402
from training import evaluate as command  # noqa: E402
from training.breakdown import LEVELS, Calibration, ErrorByDistance, RiskCoverage  # noqa: E402
from training.evaluate import NYU_FULL, NYU_HALF, Evaluation  # noqa: E402
from training.predictor import MedianPredictor, Predictor  # noqa: E402
from training.protocols import PROTOCOLS  # noqa: E402

FACTOR = 1.1


def write_model(path, width=320, height=240, log_variance=None, ramp=False, focal_length=NYU_HALF.focal_length):
    """
    Write a model whose depth is FACTOR times brightness, 255 for 10 m.

    With a ramp, depth grows by the factor 1 to 2 from left to right; the log variance is the same everywhere.
    """
    scale = np.full((1, 1, height, width), FACTOR / 25.5, np.float32)
    if ramp:
        scale *= np.linspace(1, 2, width, dtype=np.float32)
    constants = {"scale": scale}
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("ReduceMean", ["first"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["grey", "scale"], ["depth"]),
    ]
    names = ["depth"]
    if log_variance is not None:
        constants.update(zero=np.zeros(1, np.float32), s=np.float32([log_variance]))
        nodes += [
            helper.make_node("Mul", ["depth", "zero"], ["zeros"]),
            helper.make_node("Add", ["zeros", "s"], ["log_variance"]),
        ]
        names.append("log_variance")
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", height, width, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1, height, width]) for name in names],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    info = ModelInfo("brightness", width, height, focal_length, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)
    model.metadata_props.add(key=METADATA_KEY, value=info.to_json())
    onnx.save(model, path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Make three frames of two depths each, left and right half; in the third the right one is saturated."""
    for name in ("rgb", "depth"):
        (tmp_path / name).mkdir()
    for i, (left, right) in enumerate([(51, 102), (51, 51), (51, 255)], 1):
        depth = np.full((240, 320), left, np.uint8)
        depth[:, 160:] = right
        # The second frame's image says twice its depth.
        image = np.repeat((2 * depth if i == 2 else depth)[..., None], 3, axis=2)
        cv2.imwrite(str(tmp_path / "rgb" / f"{i:04d}.png"), image)
        cv2.imwrite(str(tmp_path / "depth" / f"{i:04d}.png"), depth)
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": [[4]], "testNdxs": [[1], [2], [3]]})
    return tmp_path


run = partial(in_this_process, command.main)


def test_the_protocols_differ_in_crop_clamp_and_saturation():
    truth = np.full((480, 640), 4.0, np.float32)
    truth[:, 300:] = 10.0
    depth = np.full((480, 640), 12.0, np.float32)
    depth[0], depth[240, 100] = np.nan, np.inf
    prediction, mask = PROTOCOLS["eigen"].compared(depth, truth)
    assert mask.sum() == (471 - 45) * (300 - 41)
    assert prediction[240, 0] == 10 and prediction[240, 100] == 10 and prediction[0, 0] == np.float32(1e-3)
    prediction, mask = PROTOCOLS["fcrn"].compared(depth, truth)
    assert mask.all() and prediction[240, 0] == 12
    # A ReLU gives zeros, which have no logarithm.
    assert PROTOCOLS["fcrn"].compared(np.zeros((480, 640), np.float32), truth)[0].min() == np.float32(1e-3)


def test_one_protocol_averages_images_and_the_other_pixels():
    found = {name: Evaluation(protocol) for name, protocol in PROTOCOLS.items()}
    full, sparse = np.ones((480, 640), np.float32), np.zeros((480, 640), np.float32)
    sparse[100:110, 100:110] = 1
    for evaluation in found.values():
        evaluation.add("full", DepthMap(1.1 * full), full)
        evaluation.add("sparse", DepthMap(1.5 * full), sparse)
    figures = {name: PROTOCOLS[name].figures(found[name].metrics)["abs_rel"] for name in PROTOCOLS}
    assert figures["eigen"] == pytest.approx((0.1 + 0.5) / 2, rel=1e-5)
    assert figures["fcrn"] == pytest.approx((0.1 * 307200 + 0.5 * 100) / 307300, rel=1e-5)


def test_error_by_distance_worked_out_by_hand():
    table = ErrorByDistance()
    truth, depth = np.array([[0.5, 1.0, 1.9, 12.0]]), np.array([[1.0, 1.5, 1.9, 6.0]])
    table.add(depth, truth, np.array([[True, True, True, True]]))
    table.add(depth, truth, np.array([[False, False, True, False]]))
    rows = table.table()
    assert [(row["from"], row["to"], row["pixels"]) for row in rows] == [(0, 1, 1), (1, 2, 3), (10, math.inf, 1)]
    assert [row["abs_rel"] for row in rows] == pytest.approx([1.0, 0.5 / 3, 0.5])
    assert [row["share"] for row in rows] == pytest.approx([0.2, 0.6, 0.2])


@pytest.mark.parametrize(("claimed", "off"), [(1.0, 0.0), (0.25, 0.1), (4.0, 0.1)])
def test_a_model_is_calibrated_if_it_claims_the_variance_of_its_errors(claimed, off):
    """Laplace errors of b = 0.5, variance 0.5; the claim is that times a factor."""
    rng = np.random.default_rng(0)
    truth = np.full((300, 300), 5.0)
    calibration = Calibration()
    depth = truth + rng.laplace(0, 0.5, truth.shape)
    calibration.add(depth, truth, np.full(truth.shape, math.sqrt(0.5 * claimed)), np.ones(truth.shape, bool))
    for row in calibration.curve():
        # With b claimed r times as large, 1 - (1 - p)^r of the errors lie inside.
        assert row["observed"] == pytest.approx(1 - (1 - row["expected"]) ** math.sqrt(claimed), abs=0.01)
    assert [row["expected"] for row in calibration.curve()] == LEVELS.tolist()
    summary = calibration.summary()
    assert summary["deviation"] == pytest.approx(math.sqrt(0.5 * claimed))
    assert summary["calibration_error"] < 0.01 if off == 0 else summary["calibration_error"] > off


def test_the_worst_and_the_best_frames_are_found():
    found = Evaluation(PROTOCOLS["fcrn"])
    for name, factor in (("a", 1.2), ("b", 1.0), ("c", 1.5)):
        found.add(name, DepthMap(np.full((4, 4), factor)), np.ones((4, 4)))
    chosen = {kind: [found.names[i] for i in frames] for kind, frames in found.extremes(2).items()}
    assert chosen == {"worst": ["c", "a"], "best": ["b", "a"]}


def test_pixels_are_left_out_by_their_relative_deviation_the_least_sure_first():
    depth = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
    error = np.linspace(0.0, 0.5, 100).reshape(10, 10)
    risk = RiskCoverage()
    # The deviation is right about which pixels are worse, and the order of the pixels does not count.
    risk.add(depth, depth / (1 + error), depth * error, np.ones((10, 10), bool))
    rows = {round(row["coverage"], 1): row for row in risk.curve()}
    for coverage in (1.0, 0.5, 0.1):
        assert rows[coverage]["abs_rel"] == pytest.approx(error.ravel()[: round(100 * coverage)].mean(), abs=1e-6)
        assert rows[coverage]["limit"] == pytest.approx(error.ravel()[round(100 * coverage) - 1], rel=0.01)
    unrelated = RiskCoverage()
    unrelated.add(depth, depth / 1.2, depth * error, np.ones((10, 10), bool))
    assert {round(row["abs_rel"], 4) for row in unrelated.curve()} == {0.2}


def test_flip_averaging_averages_with_the_mirrored_image(tmp_path):
    estimator = DepthEstimator.load(write_model(tmp_path / "ramp.onnx", ramp=True, log_variance=-1.0))
    grey = np.full((240, 320, 3), 51, np.uint8)
    once, both = Predictor(estimator)(grey, NYU_HALF).depth, Predictor(estimator, flip=True)(grey, NYU_HALF)
    assert once[0, -1] == pytest.approx(2 * once[0, 0], rel=1e-5)
    np.testing.assert_allclose(both.depth, 1.5 * once[0, 0], rtol=1e-4)
    np.testing.assert_allclose(both.deviation, math.exp(-0.5), rtol=1e-5)


def test_the_deviation_goes_with_the_focal_length_as_depth_does(tmp_path):
    estimator = DepthEstimator.load(write_model(tmp_path / "sure.onnx", log_variance=-1.0))
    grey = np.full((240, 320, 3), 51, np.uint8)
    tele = PinholeCamera(320, 240, 2 * NYU_HALF.fx, 2 * NYU_HALF.fy, NYU_HALF.cx, NYU_HALF.cy)
    found = Predictor(estimator)(grey, tele)
    np.testing.assert_allclose(found.depth, 2 * FACTOR * 2.0, rtol=1e-4)
    np.testing.assert_allclose(found.deviation, 2 * math.exp(-0.5), rtol=1e-4)


def test_the_command_writes_figures_frames_and_pictures(folder, tmp_path):
    model = write_model(tmp_path / "model.onnx", log_variance=-2.0)
    result = in_process(
        *("training.evaluate", model, "--data", folder),
        *("--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv", "--pictures", tmp_path / "pictures"),
    )
    assert result.returncode == 0, result.stderr
    # Errors of 0.1, of 1.2 where the image says twice the depth, and of 0.1 where the saturated half is left out.
    figures = json.loads((tmp_path / "a.json").read_text())
    assert (figures["protocol"], figures["frames"]) == ("eigen", 3)
    assert figures["per_image_mean"]["abs_rel"] == pytest.approx((0.1 + 1.2 + 0.1) / 3, rel=1e-4)
    assert figures["per_image_mean"]["delta1"] == pytest.approx(2 / 3)
    assert [row["from"] for row in figures["by_distance"]] == [2.0, 4.0]
    assert len(figures["calibration"]["curve"]) == len(LEVELS)
    assert figures["risk_coverage"][0]["coverage"] == 1.0
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [row["name"] for row in rows] == ["0001", "0002", "0003"]
    assert [float(row["abs_rel"]) for row in rows] == pytest.approx([0.1, 1.2, 0.1], rel=1e-4)
    assert int(rows[2]["pixels"]) < int(rows[0]["pixels"])
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures[-3:-2] == ["worst_1_0002.png"] and "calibration.png" in pictures
    assert cv2.imread(str(tmp_path / "pictures" / "worst_1_0002.png")).shape[1] > 3 * 320
    assert "2-3 m" in result.stdout and "calibration" in result.stdout


def test_the_fcrn_protocol_counts_saturated_truth_and_every_pixel(folder, tmp_path):
    model = write_model(tmp_path / "model.onnx")
    result = run(model, "--data", folder, "--protocol", "fcrn", "--json", tmp_path / "a.json")
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "a.json").read_text())
    assert figures["pooled"]["pixels"] == 3 * 320 * 240
    assert figures["pooled"]["abs_rel"] == pytest.approx((0.1 + 1.2 + 0.1) / 3, rel=1e-4)
    assert figures["by_distance"][-1]["from"] == 10.0 and figures["by_distance"][-1]["to"] is None
    assert "calibration" not in figures


def test_each_protocol_takes_its_truth_from_the_labelled_set(tmp_path):
    """Depth as measured has a hole that the in-painted one fills with a depth twice as large as the image says."""
    images = np.full((2, 3, 640, 480), 51, np.uint8)
    measured = np.full((2, 640, 480), 2.0, np.float32)
    measured[:, 100:200, 100:200] = 0
    filled = np.where(measured > 0, measured, 4.4).astype(np.float32)
    with h5py.File(tmp_path / "labeled.mat", "w", userblock_size=512) as file:
        file["images"], file["depths"], file["rawDepths"] = images, filled, measured
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": [[2]], "testNdxs": [[1]]})
    model = write_model(tmp_path / "model.onnx", 640, 480, focal_length=NYU_FULL.focal_length)
    expected = {"eigen": 0.1, "fcrn": (0.1 * (640 * 480 - 10000) + 0.5 * 10000) / (640 * 480)}
    for protocol, error in expected.items():
        result = run(
            *(model, "--data", tmp_path / "labeled.mat", "--protocol", protocol, "--json", tmp_path / "a.json"),
        )
        assert result.returncode == 0, result.stderr
        found = json.loads((tmp_path / "a.json").read_text())
        assert found["pooled"]["abs_rel"] == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--data", "/nowhere"), "split file /nowhere/splits.mat does not exist"),
        (("--data", "/nowhere", "--csv", "/nowhere/a.csv"), "folder /nowhere does not exist"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, tmp_path):
    result = run(write_model(tmp_path / "model.onnx"), *arguments)
    assert result.returncode == 1
    assert result.stderr.startswith(f"evaluate: {sentence}") and "Traceback" not in result.stderr


def test_frames_of_another_camera_are_refused(folder, tmp_path):
    for name in ("rgb", "depth"):
        for path in (folder / name).glob("*.png"):
            cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:200])
    result = run(write_model(tmp_path / "model.onnx"), "--data", folder)
    assert result.returncode == 1
    assert "evaluate: frames must be 640x480 or 320x240 as NYU Depth v2, not 320x200" in result.stderr


def test_the_median_of_the_training_depths_is_blind_to_the_image(folder):
    for part in ("rgb", "depth"):
        shutil.copy(folder / part / "0001.png", folder / part / "0004.png")
    result = run("median", "--data", folder)
    assert result.returncode == 0, result.stderr
    assert "median of the training depths on 3 test frames" in result.stdout
    frames = [{"depth": torch.tensor([[[1.0, 0.0, 5.0]]])}, {"depth": torch.tensor([[[3.0, 2.0, 5.0]]])}]
    found = MedianPredictor(frames)(np.zeros((1, 3, 3), np.uint8), NYU_HALF.resized(3, 1))
    assert found.depth.tolist() == [[2.0, 2.0, 5.0]] and found.deviation is None


def test_relative_depth_has_figures_after_alignment_only_and_metric_depth_has_them_too():
    truth = np.tile(np.linspace(1.0, 8.0, 320, dtype=np.float32), (240, 1))
    relative, metric = Evaluation(PROTOCOLS["eigen"]), Evaluation(PROTOCOLS["eigen"])
    for scale in (0.5, 0.7):
        relative.add("one", DepthMap((1 / truth - 0.2) / scale, NYU_HALF, kind="inverse_relative"), truth)
        metric.add("one", DepthMap(truth * np.float32(1 + scale), NYU_HALF), truth)
    assert relative.is_relative and not metric.is_relative
    assert relative.to_dict().keys() == {"protocol", "frames", "aligned"}
    for found in (relative, metric):
        aligned = found.to_dict()["aligned"]
        assert aligned["per_image_mean"]["abs_rel"] < 1e-4 < 0.05 < aligned["at_once"]["abs_rel"]
    assert metric.mean()["abs_rel"] > 0.4
