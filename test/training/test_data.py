import re
from dataclasses import asdict
from itertools import pairwise

import cv2
import numpy as np
import pytest
import scipy.io
from commands import in_process, in_this_process

pytest.importorskip("torch", reason="the training package needs PyTorch")

from depth_estimation_ros import PinholeCamera
from depth_estimation_ros.imaging.resample import shrink
from training.data import benchmark
from training.data.augment import Augmentation
from training.data.folder import PreparedFolder, split_names
from training.data.frames import FrameTransform
from training.data.module import DepthData, hold_out
from training.data.virtual_camera import VirtualCamera

CAMERA = PinholeCamera(160, 120, 130.0, 130.0, 79.5, 59.5)


def plane(normal, distance, camera=CAMERA):
    """Return the depth of the plane ``normal . P = distance`` in every pixel, by intersecting rays."""
    rays = np.dstack([camera.rays(), np.ones((camera.height, camera.width), np.float32)])
    return (distance / (rays @ np.asarray(normal, np.float64))).astype(np.float32)


def depth_seen(view, depth, width=160, height=120):
    return view.sample(depth, width, height) / view.factor(width, height)


@pytest.mark.parametrize("angles", [(0, 0, 0), (0.08, 0, 0), (0, -0.1, 0), (0, 0, 0.09), (0.05, 0.06, -0.04)])
def test_a_rotated_camera_sees_a_plane_where_geometry_says(angles):
    normal, distance = np.array([0.2, -0.3, 1.0]), 3.0
    rotation = cv2.Rodrigues(np.array(angles, np.float64))[0]
    seen = depth_seen(VirtualCamera(CAMERA, angles, 1.0), plane(normal, distance))
    # A point P is R^T P for the rotated camera, so the plane's normal becomes R^T n.
    expected = plane(rotation.T @ normal, distance)
    inside = seen > 0
    assert inside.mean() > 0.7
    # Sampling takes the nearest pixel, half a pixel off at most.
    np.testing.assert_allclose(seen[inside], expected[inside], rtol=0.01)


def test_zooming_divides_depth_by_its_factor():
    depth = np.full((120, 160), 3.0, np.float32)
    seen = depth_seen(VirtualCamera(CAMERA, (0, 0, 0), 1.5), depth)
    np.testing.assert_allclose(seen, 2.0, rtol=1e-6)


def test_image_and_depth_stay_together():
    """Depth is written into the image as brightness; after augmentation the two still say the same."""
    rng = np.random.default_rng(0)
    depth = cv2.GaussianBlur(rng.uniform(1, 9, (120, 160)).astype(np.float32), (0, 0), 12)
    depth = 1 + 8 * (depth - depth.min()) / np.ptp(depth)
    image = np.repeat(np.round(25 * depth).astype(np.uint8)[..., None], 3, axis=2)
    augmentation = Augmentation(zoom=(1.3, 1.3), colour=(1, 1), pitch=4, yaw=4)
    for _ in range(5):
        view = augmentation.view(CAMERA, rng)
        seen_image, seen_depth = augmentation.recolour(view.image(image, 160, 120), rng), depth_seen(view, depth)
        # Rotation changes depth a little as well, by the cosine of small angles.
        inside = seen_depth > 0
        ratio = seen_image[..., 0][inside] / 25 / 1.3 / seen_depth[inside]
        assert abs(np.median(ratio) - 1) < 0.05
        assert np.corrcoef(seen_image[..., 0][inside], seen_depth[inside])[0, 1] > 0.98


def test_unknown_depth_stays_unknown():
    depth = np.zeros((120, 160), np.float32)
    view = Augmentation(pitch=5, yaw=5).view(CAMERA, np.random.default_rng(0))
    assert (depth_seen(view, depth) == 0).all()


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angles", [(0, 0, 0.08), (0.06, -0.05, 0.08)])
def test_a_view_at_another_size_is_the_view_resampled(angles, mirrored):
    """Pixel for pixel the same place is seen, straight to the size or by way of the stored one; of a mirror too."""
    view = VirtualCamera(CAMERA, angles, 1.2, (0.3, 0.8), mirrored)
    ramp = np.add.outer(np.arange(120), 2 * np.arange(160)).astype(np.float32)
    image = np.repeat((ramp / 2).astype(np.uint8)[..., None], 3, axis=2)
    small, whole = view.image(image, 120, 90), view.image(image, 160, 120)
    assert np.abs(small[5:-5, 5:-5] - cv2.resize(whole, (120, 90)).astype(int)[5:-5, 5:-5]).max() <= 1
    depth = depth_seen(view, 1 + ramp, 120, 90)
    expected = cv2.resize(depth_seen(view, 1 + ramp), (120, 90), interpolation=cv2.INTER_NEAREST_EXACT)
    both = (depth > 0) & (expected > 0)
    # Nearest of nearest may be a pixel off in each direction, which is 1 down and 2 across.
    assert (
        both.mean() > 0.9 and np.abs(depth - expected)[both].max() < 4 and np.abs((depth - expected)[both].mean()) < 0.2
    )
    if mirrored:
        straight = VirtualCamera(CAMERA, angles, 1.2, (0.3, 0.8))
        assert np.abs(straight.image(image, 160, 120)[:, ::-1].astype(int) - whole).max() <= 1


def test_frames_are_sampled_once_and_shrunk_without_aliasing():
    """A chessboard of single pixels is grey after halving, not black or white, whatever the augmentation."""
    board = np.indices((240, 320)).sum(0) % 2 * 255
    image = np.repeat(board.astype(np.uint8)[..., None], 3, axis=2)
    still = Augmentation(zoom=(1, 1), roll=0, flip=0, colour=(1, 1))
    transform = FrameTransform(
        camera=CAMERA.resized(320, 240), input_size=(120, 160), output_size=(60, 80), augmentation=still
    )
    item = transform(image, np.full((240, 320), 2000, np.uint16), 0.001, 0)
    assert item["image"].shape == (120, 160, 3) and item["depth"].shape == (1, 60, 80)
    assert (item["image"].int() - 128).abs().max() <= 1
    np.testing.assert_array_equal(item["depth"], 2)


def test_colour_gains_multiply_and_saturate():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    seen = Augmentation(colour=(0.8, 1.2)).recolour(image, np.random.default_rng(3))
    gain = np.random.default_rng(3).uniform(0.8, 1.2, 3)
    assert np.abs(seen - np.clip(image * gain, 0, 255)).max() <= 1


@pytest.fixture
def folder(tmp_path):
    for name in ("rgb", "depth"):
        (tmp_path / name).mkdir()
    for i in range(4):
        cv2.imwrite(str(tmp_path / "rgb" / f"{i}.png"), np.full((120, 160, 3), (10, 20, 30 + i), np.uint8))
        depth = np.full((120, 160), 1000 * (i + 1), np.uint16)
        depth[0, 0] = 20000
        cv2.imwrite(str(tmp_path / "depth" / f"{i}.png"), depth)
    (tmp_path / "split.txt").write_text("train 0\ntrain 1\ntest 2\ntrain 3\n")
    return tmp_path


def test_a_prepared_folder_gives_rgb_and_metres(folder):
    frames = PreparedFolder(folder, ["0", "3"], 0.001, input_size=(60, 80), output_size=(30, 40))
    assert len(frames) == 2
    item = frames[1]
    assert item["image"].shape == (60, 80, 3) and item["image"][0, 0].tolist() == [33, 20, 10]
    assert item["depth"].shape == (1, 30, 40) and item["depth"].max() == pytest.approx(4.0)


def test_saturated_depth_counts_as_unknown(folder):
    assert PreparedFolder(folder, ["0"], 0.001)[0]["depth"][0, 0, 0] == 0


def test_augmentation_is_the_same_in_the_same_epoch_and_another_in_the_next(folder):
    frames = PreparedFolder(folder, ["0"], 0.001, camera=CAMERA, augmentation=Augmentation(), seed=3)
    first, again = frames[0]["image"], frames[0]["image"]
    frames.transform.epoch = 1
    assert (first == again).all() and (first != frames[0]["image"]).any()


def test_the_official_split_of_nyu_is_read(rgbd_data):
    official = rgbd_data / "nyu_v2_labelled" / "splits.mat"
    train, test = split_names(official, "train"), split_names(official, "test")
    assert (len(train), len(test), len({*train, *test})) == (795, 654, 1449)


def test_splits_are_read_and_mistakes_named(folder, rendered_data):
    assert split_names(folder / "split.txt", "train") == ["0", "1", "3"]
    as_of_nyu = rendered_data / "nyu_v2_labelled" / "splits.mat"
    train, test = split_names(as_of_nyu, "train"), split_names(as_of_nyu, "test")
    assert (len(train), len(test), train[:2], test[:2]) == (795, 654, ["0101", "0102"], ["0001", "0002"])
    with pytest.raises(ValueError, match="names no frame of the split 'validation'"):
        split_names(folder / "split.txt", "validation")
    with pytest.raises(ValueError, match="does not exist"):
        split_names(folder / "none.mat", "train")
    with pytest.raises(FileNotFoundError, match=r"neither a \.jpg nor a \.png"):
        PreparedFolder(folder, ["7"], 0.001)


def test_a_damaged_image_is_named(folder):
    (folder / "rgb" / "0.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"rgb/0\.png is not an image"):
        PreparedFolder(folder, ["0"], 0.001)


def test_what_the_network_sees_is_resampled_as_on_the_robot(folder):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (120, 160, 3), np.uint8)
    item = FrameTransform(input_size=(50, 70))(image, np.zeros((120, 160), np.uint16), 0.001, 0)
    np.testing.assert_array_equal(item["image"], shrink(image, 70, 50))


def test_large_frames_are_halved_before_they_are_augmented():
    """A frame of twice the size gives what its half gives: the same random numbers, the same camera."""
    small = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    depth = np.random.default_rng(1).integers(1000, 9000, (120, 160)).astype(np.uint16)
    large, large_depth = (np.repeat(np.repeat(a, 2, 0), 2, 1) for a in (small, depth))
    options = {"input_size": (110, 150), "output_size": (30, 40), "augmentation": Augmentation()}
    one = FrameTransform(camera=CAMERA, **options)(small, depth, 0.001, 5)
    other = FrameTransform(camera=CAMERA.resized(320, 240), **options)(large, large_depth, 0.001, 5)
    # Depth is sampled straight from the large frame: half-way between two pixels it may be the other one.
    assert (one["image"] == other["image"]).all() and (one["depth"] == other["depth"]).float().mean() > 0.99


def test_a_jpeg_decoded_at_half_its_size_is_the_same_picture(tmp_path):
    for name in ("rgb", "depth"):
        (tmp_path / name).mkdir()
    image = cv2.resize(np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8), (320, 240))
    cv2.imwrite(str(tmp_path / "rgb" / "0.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    cv2.imwrite(str(tmp_path / "depth" / "0.png"), np.full((240, 320), 3000, np.uint16))
    options = {"camera": CAMERA.resized(320, 240), "input_size": (110, 150), "output_size": (30, 40)}
    frames = PreparedFolder(tmp_path, ["0"], 0.001, augmentation=Augmentation(), cache=False, **options)
    image, depth = frames.decode(0)
    assert image.shape == (120, 160, 3) and depth.shape == (240, 320)
    whole = PreparedFolder(tmp_path, ["0"], 0.001, cache=False).decode(0)[0]
    assert np.abs(image.astype(int) - shrink(whole, 160, 120)).mean() < 2
    item = frames.transform(whole, depth, 0.001, 0)
    assert (frames[0]["depth"] == item["depth"]).all()
    assert (frames[0]["image"].int() - item["image"].int()).abs().float().mean() < 2


def test_a_camera_of_another_size_than_the_frames_is_refused(folder):
    frames = PreparedFolder(folder, ["0"], 0.001, camera=CAMERA.resized(320, 240), augmentation=Augmentation())
    with pytest.raises(ValueError, match="frames are 160x120, the recipe's camera 320x240"):
        frames[0]


def test_frames_beyond_the_limit_of_memory_are_read_when_asked_for(folder, monkeypatch):
    monkeypatch.setattr("training.data.folder.CACHE_LIMIT", 2 * 120 * 160 * 5)
    kept, read = PreparedFolder(folder, ["0", "1"], 0.001), PreparedFolder(folder, ["0", "1", "3"], 0.001)
    for name in ("rgb", "depth"):
        (folder / name / "1.png").unlink()
    assert kept[1]["depth"].max() == 2
    with pytest.raises(ValueError, match=r"1\.png is not an image"):
        read[1]


def test_depth_data_reads_the_labelled_set_itself(tmp_path):
    h5py = pytest.importorskip("h5py", reason="MATLAB 7.3 files are read with h5py")
    with h5py.File(tmp_path / "labeled.mat", "w") as file:
        file["images"] = np.zeros((20, 3, 160, 120), np.uint8)
        file["depths"] = np.ones((20, 160, 120), np.float32) * np.arange(1, 21, dtype=np.float32)[:, None, None] / 4
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": np.arange(1, 17)[:, None], "testNdxs": [[17]]})
    camera = asdict(CAMERA)
    data = DepthData(
        str(tmp_path / "labeled.mat"), "splits.mat", 1.0, camera, (60, 80), (30, 40), batch_size=4, held_out=0.25
    )
    data.setup()
    seen = [float(d.max()) for batch in data.train_dataloader() for d in batch["depth"]]
    held = [float(d.max()) for batch in data.val_dataloader() for d in batch["depth"]]
    assert sorted(seen + held) == [n / 4 for n in range(1, 17)]
    assert next(iter(data.val_dataloader()))["depth"].shape[2:] == (120, 160)


def test_the_loaders_benchmark_measures_and_names_mistakes(folder):
    done = in_process(
        "training.data.benchmark", folder, "--frames", 40, "--batch", 2, "--rounds", 1, "--input", 60, 80, "--augment"
    )
    assert done.returncode == 0, done.stderr
    loading, decoding, ratio = map(
        float, re.search(r"loader (\d+) .* alone (\d+) .* ratio ([\d.]+)", done.stdout).groups()
    )
    assert loading > 0 and ratio == pytest.approx(loading / decoding, abs=0.02)
    for arguments, sentence in ((["--split-file", "none.txt"], "does not exist"), (["--frames", 10], "at least 256")):
        done = in_this_process(benchmark.main, folder, *arguments)
        assert done.returncode != 0 and sentence in done.stderr and "Traceback" not in done.stderr


def test_fewer_frames_than_a_batch_are_refused(folder):
    camera = asdict(CAMERA)
    data = DepthData(str(folder), "split.txt", 0.001, camera, (60, 80), (30, 40), batch_size=4, held_out=0)
    data.setup()
    with pytest.raises(ValueError, match="3 training frames do not make a batch of 4"):
        data.train_dataloader()


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_seed_gives_the_same_frames_whatever_the_number_of_workers(folder, workers):
    camera = asdict(CAMERA)
    augmented = {"augmentation": Augmentation(noise=5), "batch_size": 1, "held_out": 0}
    alone, helped = (
        DepthData(str(folder), "split.txt", 0.001, camera, (60, 80), (30, 40), workers=w, **augmented)
        for w in (0, workers)
    )
    alone.setup()
    helped.setup()
    batches = list(zip(alone.train_dataloader(), helped.train_dataloader(), strict=True))
    assert len(batches) == 3
    for expected, found in batches:
        assert (expected["image"] == found["image"]).all() and (expected["depth"] == found["depth"]).all()


def test_held_out_frames_are_runs_apart_from_the_training_frames():
    names = [str(i) for i in range(800)]
    train, held = hold_out(names, 0.1)
    assert len(held) == 80 and len(train) == 720 and set(train).isdisjoint(held)
    numbers = [int(n) for n in held]
    assert sum(b - a > 1 for a, b in pairwise(numbers)) == 7
    assert hold_out(names, 0.0) == (names, [])
