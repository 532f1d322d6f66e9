"""A recording of a site makes a model better there; if it does not, nothing is written."""

import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
import scipy.io

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from bag_writer import BagWriter  # noqa: E402
from bags import registered, synthetic_room  # noqa: E402
from commands import in_this_process  # noqa: E402

from depth_estimation_ros import DepthEstimator, PinholeCamera  # noqa: E402
from depth_estimation_ros.evaluation.recording.recording import Recording  # noqa: E402
from depth_estimation_ros.geometry.pose import camera_pose  # noqa: E402
from depth_estimation_ros.model import ModelInfo, load_model  # noqa: E402
from training.adapt.__main__ import main  # noqa: E402
from training.adapt.frames import FrameMaker, on_grid  # noqa: E402
from training.adapt.site import Split, read_site  # noqa: E402
from training.adapt.tune import abs_rel  # noqa: E402
from training.checkpoint import Checkpoint  # noqa: E402
from training.export import export  # noqa: E402
from training.files import write_image  # noqa: E402
from training.models import build_network  # noqa: E402

INFO = ModelInfo("tiny", 96, 64, 78.3, 0.5, 10.0, "nothing", "Apache-2.0", "0" * 64)
CAMERA = PinholeCamera.from_fov(96, 64, 2 * np.arctan(48 / 78.3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make a small untrained model, and a walk through a room."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("site")
    synthetic_room(root / "walk", count=40, size=(192, 128))
    network = build_network("plain", channels=[16] * 7, transpose=True)
    torch.nn.init.normal_(network.predict.weight, std=0.3)
    images = [sample.rgb[::2, ::2] for sample in Recording(root / "walk").samples(0, 40, 5)]
    for _ in range(40):
        network(torch.from_numpy(np.stack(images)))  # gives batch normalisation its statistics
    export(Checkpoint(network.eval(), {}, "0" * 64), INFO, root / "tiny.onnx", False, np.stack(images[:2]))
    write_nyu(root / "nyu", Recording(root / "walk").samples(0, 40, 8))
    return root


def write_nyu(folder, samples):
    """Write frames in the layout of NYU Depth v2: the first three to train on, the others to test."""
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    for number, sample in enumerate(samples, 1):
        write_image(folder / "rgb" / f"{number:04d}.png", cv2.resize(sample.rgb, (320, 240)))
        depth = cv2.resize(sample.truth * 25.5, (320, 240)).astype(np.uint8)  # 255 is 10 m
        cv2.imwrite(str(folder / "depth" / f"{number:04d}.png"), depth)
    scipy.io.savemat(folder / "splits.mat", {"trainNdxs": [[1], [2], [3]], "testNdxs": [[4], [5]]})


@pytest.fixture
def quick(monkeypatch):
    """Render one room instead of many, and train an untrained network at a higher rate than a trained one."""
    for place in ("replay.ROOMS", "command.ROOMS"):
        monkeypatch.setattr(f"training.adapt.{place}", 1)
    monkeypatch.setattr("training.adapt.tune.RATE", 5e-3)


def adapt(bag, output, model, *options, minutes=0.08):
    arguments = [bag, "--output", output, "--model", model, "--minutes", minutes, "--threads", 1, *options]
    return in_this_process(main, *arguments)


def test_a_recording_makes_the_model_better_on_its_held_out_end(folder, quick, tmp_path):
    found = adapt(folder / "walk", tmp_path / "site.onnx", folder / "tiny.onnx", "--nyu", folder / "nyu")
    assert found.returncode == 0, found.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"site.onnx", "site.md", "site.png"}
    models = [DepthEstimator.load(path, "cpu", threads=1) for path in (folder / "tiny.onnx", tmp_path / "site.onnx")]
    errors = np.zeros(2)
    for sample in Recording(folder / "walk").samples(28, 40):  # 30 % of 40
        for i, model in enumerate(models):
            depth = model.estimate(sample.rgb, sample.camera).resized(192, 128).depth
            errors[i] += np.mean(np.abs(depth / sample.truth - 1)) / 12
    assert errors[1] < 0.85 * errors[0]
    card = (tmp_path / "site.md").read_text()
    for when, error in zip(("before", "after"), errors, strict=True):
        (row,) = [line for line in card.splitlines() if f"part of the site, {when}" in line]
        assert "| 12 images" in row and float(row.split("|")[2]) == pytest.approx(error, abs=2e-3)
    assert "| 2 images of the test frames of NYU Depth v2, after" in card and "3 training frames of NYU" in card
    info = models[1].model.info
    assert info.name == "site" and info.source_sha256 == models[0].model.sha256
    assert "adapted to 24 frames of walk" in info.training_data and info.focal_length == INFO.focal_length


def test_a_model_that_becomes_no_better_is_not_written(folder, quick, tmp_path):
    model, room = DepthEstimator.load(folder / "tiny.onnx", "cpu", threads=1), Recording(folder / "walk")
    # Its own estimates as ground truth: nothing is left to learn.
    pairs = ((s.rgb, model.estimate(s.rgb, CAMERA.resized(192, 128)).resized(192, 128).depth) for s in room.samples())
    registered(tmp_path / "perfect", pairs, CAMERA.resized(192, 128))
    found = adapt(tmp_path / "perfect", tmp_path / "site.onnx", folder / "tiny.onnx", minutes=0.02)
    assert found.returncode == 1
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith("adapt: AbsRel on the held-out part") and "site.onnx was not written" in last
    assert {path.name for path in tmp_path.iterdir()} == {"perfect"}


def test_ctrl_c_leaves_the_best_model_so_far(folder, quick, tmp_path, monkeypatch):
    looks = []

    def look(*arguments):
        looks.append(abs_rel(*arguments))
        if len(looks) == 6:
            signal.raise_signal(signal.SIGINT)
        return looks[-1]

    monkeypatch.setattr("training.adapt.tune.abs_rel", look)
    found = adapt(folder / "walk", tmp_path / "site.onnx", folder / "tiny.onnx", minutes=0.2)
    assert found.returncode == 130 and len(looks) == 6, found.stderr
    assert "stopping: the best model so far" in found.stderr and "it was interrupted" in found.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"site.onnx", "site.md", "site.png"}
    assert load_model(tmp_path / "site.onnx").info.name == "site"


def test_ctrl_c_before_the_training_writes_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("training.adapt.command.rooms", lambda *_: signal.raise_signal(signal.SIGINT))
    found = adapt(folder / "walk", tmp_path / "site.onnx", folder / "tiny.onnx")
    assert found.returncode == 130 and found.stderr.endswith("adapt: interrupted, nothing was written\n")
    assert not list(tmp_path.iterdir())


def test_a_mistake_is_one_sentence_and_writes_nothing(folder, tmp_path):
    with BagWriter(tmp_path / "blind", "mcap") as bag:
        for k in range(20):
            bag.image("/camera/image_raw", 100 + k / 10, np.zeros((64, 96, 3), np.uint8), "rgb8")
    synthetic_room(tmp_path / "short", count=8, size=(96, 64))
    (tmp_path / "broken.onnx").write_text("not a model")
    (tmp_path / "notes.md").write_text("mine")
    walk, tiny, out = folder / "walk", folder / "tiny.onnx", tmp_path / "site.onnx"
    cases = [
        ((tmp_path / "blind", out, tiny), "has no depth images, point clouds, laser scans or poses"),
        ((tmp_path / "short", out, tiny), "of 8 images, 5 with ground truth are to train on, and at least 6 are"),
        ((tmp_path / "none", out, tiny), "does not exist"),
        ((walk, out, tmp_path / "broken.onnx"), "is not a complete ONNX file"),
        ((walk, out, "unknown"), "model 'unknown' not found"),
        ((walk, tmp_path / "nowhere" / "site.onnx", tiny), "nowhere does not exist"),
        ((walk, tmp_path / "notes.onnx", tiny), "is not the card of a model"),
        ((walk, out, tiny, "--nyu", tmp_path / "nyu"), "splits.mat does not exist"),
        ((walk, tmp_path / "site.pt", tiny), "must be a file name that ends in .onnx"),
        ((walk, out, tiny, "--held-out", "0.9"), "must lie between 0.1 and 0.7"),
        ((walk, out, tiny, "--minutes", "0"), "must be a positive number"),
    ]
    before = sorted(path.name for path in tmp_path.iterdir())
    for arguments, sentence in cases:
        found = adapt(*arguments)
        assert found.returncode in (1, 2) and sentence in found.stderr.strip().splitlines()[-1], found.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_without_pytorch_the_command_says_what_to_install(folder, tmp_path):
    code = "import sys; sys.modules['torch'] = None; from training.adapt.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, folder / "walk", "--output", tmp_path / "site.onnx"]
    found = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert found.returncode == 1 and found.stderr.startswith("adapt: the Python package torch is missing: pip install")
    assert found.stderr.count("\n") == 1


def test_a_gap_lies_between_the_frames_to_train_on_and_those_held_out(folder):
    recording = Recording(folder / "walk")
    split = Split.of(recording, 0.3)
    assert list(split.indices(False, 100)) == list(range(24)) and list(split.indices(True, 100)) == list(range(28, 40))
    assert list(split.indices(False, 8)) == list(range(0, 24, 3))
    for most in (3, 5, 7):
        assert len(split.indices(True, most)) <= most and set(split.indices(True, most)) <= set(range(28, 40))


def test_the_truth_of_another_camera_is_brought_to_the_focal_length_of_the_training(folder):
    maker = FrameMaker(DepthEstimator.load(folder / "tiny.onnx", "cpu", threads=1))
    rgb, truth = np.zeros((128, 192, 3), np.uint8), np.full((128, 192), 3.0, np.float32)
    tele = PinholeCamera(192, 128, 2 * 156.6, 2 * 156.6, 95.5, 63.5)
    frame = maker.of_truth(rgb, tele, truth, remember=False)
    assert frame.truth == pytest.approx(1.5, rel=1e-3)  # with twice the focal length, 3 m look like 1.5 m
    assert maker.of_truth(rgb, None, truth, remember=False).truth == pytest.approx(3.0)


def test_sparse_points_survive_the_reduction_to_the_size_of_the_network():
    rng, truth = np.random.default_rng(0), np.full((480, 640), np.nan, np.float32)
    rows, columns = rng.integers(0, 480, 100), rng.integers(0, 640, 100)
    truth[rows, columns] = rng.uniform(1, 5, 100)
    grid = on_grid(truth, (120, 160))
    cells = {(r // 4, c // 4) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)}
    assert set(zip(*(axis.tolist() for axis in np.nonzero(grid)), strict=True)) == cells
    assert np.isin(grid[grid > 0], truth).all()


def test_points_of_a_lidar_are_ground_truth_to_train_on(folder, tmp_path, room):
    camera = PinholeCamera.from_fov(96, 64, np.radians(63))
    with BagWriter(tmp_path / "lidar", "mcap") as bag:
        bag.transform("/tf_static", 99.0, "lidar", "camera", camera_pose(0.0))
        for k in range(20):
            rgb, depth = room.render(camera, room.trajectory(k / 10))
            points = np.dstack([camera.rays(), np.ones_like(depth)]) * depth[..., None]  # right, down, forward
            xyz = points.reshape(-1, 3)[::61] @ camera_pose(0.0)[:3, :3].T + camera_pose(0.0)[:3, 3]
            bag.image("/camera/image_raw", 100 + k / 10, rgb, "rgb8", "camera")
            bag.info("/camera/camera_info", 100 + k / 10, camera, "camera")
            bag.cloud("/points", 100 + k / 10, xyz, "lidar")
    split = Split.of(Recording(tmp_path / "lidar"), 0.3)
    site = read_site([split], FrameMaker(DepthEstimator.load(folder / "tiny.onnx", "cpu", threads=1)))
    assert len(site.trained) == 12 and len(site.held_out) == 6
    assert site.coverage == pytest.approx(101 / (16 * 24), abs=0.01)
