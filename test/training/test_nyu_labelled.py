"""The labelled set's own file, held against a small one of the same layout, written here with h5py."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training package needs PyTorch")
h5py = pytest.importorskip("h5py", reason="MATLAB 7.3 files are read with h5py")

import cv2  # noqa: E402
import scipy.io  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from training.data.batches import workers_of  # noqa: E402
from training.data.folder import split_names  # noqa: E402
from training.data.module import DepthData  # noqa: E402
from training.data.nyu_labelled import NyuLabelled  # noqa: E402
from training.export import training_frames  # noqa: E402

SCENES = ["kitchen_0004", "office_0001b", "kitchen_0004"]


def write_mat(path, images, depths, raw_depths, scenes):
    """Write [H, W, 3, N] and [H, W, N] as MATLAB does: axes reversed, cells as references to UTF-16 columns."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = images.transpose(3, 2, 1, 0)
        file["depths"] = depths.transpose(2, 1, 0)
        file["rawDepths"] = raw_depths.transpose(2, 1, 0)
        cells = file.create_dataset("scenes", (1, len(scenes)), dtype=h5py.ref_dtype)
        for i, scene in enumerate(scenes):
            cells[0, i] = file.create_dataset(
                f"#refs#/{i}", data=np.array([list(scene.encode("utf-16-le")[::2])]).T
            ).ref


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (48, 64, 3, 3), np.uint8)
    depths = rng.uniform(1, 9, (48, 64, 3)).astype(np.float32)
    raw = depths.copy()
    raw[10:20, 5:9] = 0
    return images, depths, raw


@pytest.fixture
def mat(tmp_path, arrays):
    write_mat(tmp_path / "labeled.mat", *arrays, SCENES)
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": [[1], [3]], "testNdxs": [[2]]})
    return tmp_path / "labeled.mat"


def test_frames_are_upright_and_in_metres(mat, arrays):
    images, depths, raw = arrays
    frames = NyuLabelled(mat, split_names(mat.parent / "splits.mat", "test"))
    assert len(frames) == 1
    np.testing.assert_array_equal(frames[0]["image"], images[..., 1])
    np.testing.assert_array_equal(frames[0]["depth"][0], depths[..., 1])
    measured = NyuLabelled(mat, ["0003"], depth="rawDepths")[0]["depth"][0].numpy()
    np.testing.assert_array_equal(measured, raw[..., 2])


def test_frames_come_back_as_they_were_written(tmp_path, rendered_data):
    folder = rendered_data / "nyu_v2_labelled"
    images = [cv2.imread(str(folder / "rgb" / f"{n}.jpg"))[..., ::-1] for n in ("0001", "0110")]
    depths = [cv2.imread(str(folder / "depth" / f"{n}.png"), -1) * np.float32(10 / 255) for n in ("0001", "0110")]
    write_mat(tmp_path / "m.mat", np.stack(images, -1), np.stack(depths, -1), np.stack(depths, -1), SCENES[:2])
    frames = NyuLabelled(tmp_path / "m.mat", depth_limit=11)
    for i in range(2):
        np.testing.assert_array_equal(frames[i]["image"], images[i])
        np.testing.assert_array_equal(frames[i]["depth"][0], depths[i])


def test_scenes_are_those_of_the_frames_asked_for(mat):
    assert NyuLabelled(mat).scenes() == SCENES
    assert NyuLabelled(mat, ["0002"]).scenes() == ["office_0001b"]
    command = [
        sys.executable,
        "-m",
        "training.data.nyu_labelled",
        str(mat),
        "--split-file",
        str(mat.parent / "splits.mat"),
    ]
    assert subprocess.run(command, capture_output=True, text=True).stdout.split() == ["kitchen_0004"]


def test_workers_read_it_after_this_process_has(mat, arrays):
    frames = NyuLabelled(mat)
    frames[0]
    batch = next(iter(DataLoader(frames, 3, **workers_of(2))))
    np.testing.assert_array_equal(batch["image"].numpy(), arrays[0].transpose(3, 0, 1, 2))


def test_mistakes_are_named(mat, tmp_path):
    with pytest.raises(ValueError, match="frames 1 to 3, not '0795'"):
        NyuLabelled(mat, ["0795"])
    with pytest.raises(ValueError, match="does not exist"):
        NyuLabelled(tmp_path / "none.mat")
    (tmp_path / "half.mat").write_bytes(mat.read_bytes()[:600])
    with pytest.raises(ValueError, match="not a readable MATLAB"):
        NyuLabelled(tmp_path / "half.mat")
    with h5py.File(tmp_path / "other.mat", "w") as file:
        file["images"] = np.zeros((1, 3, 4, 5), np.uint8)
    with pytest.raises(ValueError, match="has no depths"):
        NyuLabelled(tmp_path / "other.mat")


def test_an_export_finds_the_training_frames_in_the_file(mat, arrays, tmp_path):
    camera = {"width": 64, "height": 48, "fx": 52.0, "fy": 52.0, "cx": 31.5, "cy": 23.5}
    data = DepthData("/where/it/was", "splits.mat", 1.0, camera, (24, 32), (12, 16), extra={"root": "/gone"})
    frames = training_frames(dict(data.hparams), mat)
    assert frames.shape == (2, 24, 32, 3)
    np.testing.assert_array_equal(frames[1], cv2.resize(arrays[0][..., 2], (32, 24), interpolation=cv2.INTER_AREA))
