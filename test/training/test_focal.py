"""Frames are presented as other cameras would have taken them, and the comparison says what became of the metres."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training package needs PyTorch")

from depth_estimation_ros import DepthEstimator, PinholeCamera
from training.focal import MODES, PRESENTATIONS, VIEWS, Comparison, compare_frames, compare_rooms, main, present

CAMERA = PinholeCamera(320, 240, 259.4290, 259.7348, 162.0412, 126.1181)


@pytest.mark.parametrize("how", PRESENTATIONS.values(), ids=PRESENTATIONS.keys())
def test_a_presented_frame_has_the_camera_that_would_have_taken_it(how):
    u, v = np.meshgrid(np.arange(320) // 2, np.arange(240))
    rgb = np.stack([u, v, v], axis=-1).astype(np.uint8)  # an image that says which pixel it shows
    seen, camera, _ = present(rgb, CAMERA, how)
    assert seen.shape[:2] == (camera.height, camera.width)
    row, column = camera.height // 2, camera.width // 3
    x, y = camera.rays()[row, column]
    assert 2 * int(seen[row, column, 0]) == pytest.approx(x * CAMERA.fx + CAMERA.cx, abs=2.5)
    assert int(seen[row, column, 1]) == pytest.approx(y * CAMERA.fy + CAMERA.cy, abs=1.5)


def test_figures_are_medians_over_frames_of_medians_over_pixels():
    found, one = Comparison(), np.ones((4, 4), np.float32)
    for factor in (0.9, 1.0, 1.2):
        depth = factor * one
        depth[0, 0] = np.nan
        found.add("row", "scale", depth, one, np.where(np.isnan(depth), 0, 2 * one))
    figures = found.figures("row", "scale")
    assert figures["ratio"] == pytest.approx(1.0)
    assert figures["off"] == pytest.approx(0.1)
    assert figures["abs_rel"] == pytest.approx(np.mean([0.55, 0.5, 0.4]))
    assert figures["covered"] == pytest.approx(15 / 16)


def test_the_same_frame_in_another_size_has_the_same_depth_and_rooms_are_compared_with_their_truth():
    estimator = DepthEstimator.load("nyu_resnet18_small", threads=1)
    rgb = np.kron(np.random.default_rng(0).integers(0, 256, (12, 16, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    found = compare_frames(estimator, iter([(rgb, np.full((240, 320), 3.0), CAMERA)]))
    for mode in MODES:
        assert found.figures("half the size", mode)["off"] < 0.02
    rooms = compare_rooms(estimator, seeds=(0,), moments=1)
    wide = next(name for name in VIEWS if name.startswith("120"))
    assert rooms.figures(wide, "crop")["covered"] < 0.5 < rooms.figures(wide, "scale")["covered"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["none.onnx"], "not found"), (["--frames", "0"], "at least 1"), (["--data", "nowhere"], "nowhere")],
)
def test_mistakes_end_with_one_sentence(arguments, sentence, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
