"""What an engine is compared with its model on, and when it is refused."""

import cv2
import numpy as np
import pytest

from depth_estimation_ros.backends.tensorrt.parity import TOLERANCES, ParityError, calibration_frames, check, reference
from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.model import load_model

FRAMES = np.zeros((2, 4, 4, 3), np.uint8)
WANTED = np.linspace(1, 9, 2 * 1000, dtype=np.float32).reshape(2, 1, 20, 50)


class Engine:
    """Gives the depths it was made with, one image after the other."""

    name = "tensorrt/test"

    def __init__(self, depth: np.ndarray):
        self._depths = iter(depth.astype(np.float32)[:, None])

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {"depth": next(self._depths)}


def test_rendered_rooms_are_of_the_models_size_and_always_the_same():
    info = load_model("nyu_resnet18_small").info
    frames = calibration_frames(info, count=2)
    assert frames.shape == (2, info.input_height, info.input_width, 3) and frames.dtype == np.uint8
    assert frames[0].std() > 10 and not np.array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(frames, calibration_frames(info, count=2))
    assert len({frame.tobytes() for frame in calibration_frames(info, count=20)}) == 20


def test_images_of_the_robot_are_resampled_and_taken_from_the_start(tmp_path):
    info = load_model("nyu_resnet18_small").info
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((480, 640, 3), 10 * i, np.uint8))
    frames = calibration_frames(info, str(tmp_path), count=3)
    assert frames.shape == (3, info.input_height, info.input_width, 3)
    assert frames.mean(axis=(1, 2, 3)).tolist() == [0, 10, 20]
    assert len(calibration_frames(info, str(tmp_path), count=9)) == 4
    with pytest.raises(ValueError, match="does not exist"):
        calibration_frames(info, str(tmp_path / "none"))


def test_the_reference_is_what_the_cpu_computes():
    model, frames = (
        load_model("nyu_resnet18_small"),
        np.random.default_rng(0).integers(0, 256, (2, 120, 160, 3), np.uint8),
    )
    wanted = DepthEstimator.load("nyu_resnet18_small", "cpu").backend.infer(frames)["depth"]
    np.testing.assert_allclose(reference(model, frames), wanted, rtol=1e-5)


@pytest.mark.parametrize("precision", TOLERANCES)
def test_an_engine_is_refused_once_its_mean_or_its_worst_pixels_are_over_the_tolerance(precision):
    allowed = TOLERANCES[precision]
    parity = check(Engine(WANTED * (1 + 0.9 * allowed.mean)), FRAMES, WANTED, precision)
    assert parity.mean == pytest.approx(0.9 * allowed.mean, rel=0.01) and parity.frames == 2
    with pytest.raises(ParityError, match="in the mean"):
        check(Engine(WANTED * (1 + 1.1 * allowed.mean)), FRAMES, WANTED, precision)
    wrong = WANTED.copy()
    wrong[..., ::75] *= 1 + 1.2 * allowed.percentile99  # one column of fifty, 2 % of the pixels
    assert np.abs(wrong / WANTED - 1).mean() < allowed.mean
    with pytest.raises(ParityError, match="99th percentile"):
        check(Engine(wrong), FRAMES, WANTED, precision)


def test_a_depth_of_zero_in_the_model_does_not_refuse_a_good_engine():
    wanted = WANTED.copy()
    wanted[0, 0, 0, 0] = 0.0
    assert check(Engine(wanted + np.float32(1e-5)), FRAMES, wanted, "fp32").mean < 1e-4


def test_another_shape_or_a_depth_that_is_not_finite_is_refused():
    with pytest.raises(ParityError, match=r"its depth is \[2, 1, 10, 50\], the model's \[2, 1, 20, 50\]"):
        check(Engine(WANTED[:, :, :10]), FRAMES, WANTED, "fp16")
    wrong = WANTED.copy()
    wrong[0, 0, 0, 0] = np.inf
    with pytest.raises(ParityError, match="not finite; choose the precision fp32"):
        check(Engine(wrong), FRAMES, WANTED, "fp16")
