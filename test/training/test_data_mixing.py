"""Sets of several cameras in one training, and frames that are augmented on the training's device."""

import csv

import cv2
import lightning
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from depth_estimation_ros import PinholeCamera  # noqa: E402
from training.data.augment import Augmentation, Light, Sharpness  # noqa: E402
from training.data.folder import PreparedFolder  # noqa: E402
from training.data.mixing import drawn  # noqa: E402
from training.data.module import DepthData  # noqa: E402
from training.data.on_device import DeviceFrames, Draws  # noqa: E402
from training.loop import DepthTask  # noqa: E402

CAMERA = {"width": 160, "height": 120, "fx": 130.0, "fy": 130.0, "cx": 79.5, "cy": 59.5}
STILL = Augmentation(zoom=(1, 1), roll=0, flip=0, colour=(1, 1))
STRONG = Augmentation(
    pitch=5, yaw=5, brightness=0.2, contrast=0.3, saturation=0.5, gamma=0.3, erase=0.5, close_up=0.3,
    sharpness=Sharpness(unsharp=0, coarse=0.5), light=Light(sun=0.5)
)  # fmt: skip


def write_set(root, cameras, metres, split=True):
    """Write a frame of smooth colours and depths about a distance for each camera."""
    for name in ("rgb", "depth"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(len(cameras))
    with open(root / "index.csv", "w", newline="") as stream:
        index = csv.writer(stream)
        index.writerow(("name", "scene", "fx", "fy", "cx", "cy"))
        for i, c in enumerate(cameras):
            index.writerow((str(i), "", c.fx, c.fy, c.cx, c.cy))
            coarse = rng.uniform(0, 255, (6, 8, 3)).astype(np.float32)
            image = cv2.resize(coarse, (c.width, c.height), interpolation=cv2.INTER_CUBIC).clip(0, 255)
            cv2.imwrite(str(root / "rgb" / f"{i}.png"), image.astype(np.uint8))
            depth = np.full((c.height, c.width), metres * 1000) + np.arange(c.width)
            cv2.imwrite(str(root / "depth" / f"{i}.png"), depth.astype(np.uint16))
    if split:
        (root / "split.txt").write_text("".join(f"train {i}\n" for i in range(len(cameras))))
    return str(root)


def module(root, extra, augmentation=STILL, **options):
    options = {"batch_size": 4, "workers": 0, "held_out": 0, **options}
    data = DepthData(root, "split.txt", 0.001, CAMERA, (60, 80), (30, 40), 10.0, augmentation, extra, **options)
    data.setup()
    return data


@pytest.fixture
def first(tmp_path):
    return write_set(tmp_path / "first", [PinholeCamera(**CAMERA)] * 20, 2.0)


def test_sets_are_mixed_by_their_shares(first, tmp_path):
    own = PinholeCamera(**CAMERA)
    few, many = write_set(tmp_path / "few", [own] * 3, 4.0), write_set(tmp_path / "many", [own] * 30, 6.0)
    extra = [{"root": few, "depth_scale": 0.001, "share": 0.4}, {"root": many, "depth_scale": 0.001, "share": 0.2}]
    batches = list(module(first, extra).train_dataloader())
    distances = torch.cat([batch["depth"].mean((1, 2, 3)) for batch in batches]).round().tolist()
    # Three frames make eight by being drawn twice or three times each.
    assert [distances.count(d) for d in (2, 4, 6)] == [20, 8, 4]


def test_every_frame_of_a_set_is_drawn_as_often_as_any_other_or_once_more():
    counts = np.bincount(drawn(8, 3, torch.Generator().manual_seed(0)))
    assert sorted(counts) == [2, 3, 3]
    assert len(set(drawn(3, 8, torch.Generator().manual_seed(0)))) == 3


def test_another_camera_is_cropped_to_the_firsts_aspect_and_its_depths_brought_to_its_focal_length(first, tmp_path):
    # Twice the focal length at the same height: what is 4 m away looks as if it were 2 m away.
    wide = PinholeCamera(300, 120, 260.0, 260.0, 149.5, 59.5)
    large = PinholeCamera(320, 240, 130.0, 130.0, 159.5, 119.5)  # half the focal length, at the first's size
    root = write_set(tmp_path / "other", [wide, large], 4.0, split=False)
    data = module(first, {"root": root, "depth_scale": 0.001, "share": 1.0})
    (of_wide, of_large) = (part[0] for part in data.extra_frames[0].datasets)
    for item, factor, crop in ((of_wide, 0.5, slice(70, 230)), (of_large, 2.0, slice(0, 320))):
        assert item["image"].shape == (60, 80, 3) and item["depth"].shape == (1, 30, 40)
        expected = (4000 + np.arange(320)[crop]).mean() / 1000 * factor
        assert item["depth"].mean().item() == pytest.approx(expected, rel=2e-3)
    image = cv2.cvtColor(cv2.imread(str(tmp_path / "other" / "rgb" / "0.png")), cv2.COLOR_BGR2RGB)
    whole = cv2.resize(image[:, 70:230], (80, 60), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(of_wide["image"].numpy() - whole).max() <= 1


@pytest.mark.parametrize("size", [(160, 120), (320, 240)])  # large frames are halved first
def test_frames_augmented_on_a_device_are_those_of_the_loader(size, tmp_path):
    camera = PinholeCamera(**CAMERA).resized(*size)
    root = write_set(tmp_path / "frames", [camera] * 12, 2.0)
    options = {"camera": camera, "input_size": (60, 80), "output_size": (30, 40), "augmentation": STRONG, "seed": 1}
    frames = PreparedFolder(root, [str(i) for i in range(12)], 0.001, **options)
    draws = Draws(frames, 0)
    batch = torch.utils.data.default_collate([draws[i] for i in range(12)])
    found = DeviceFrames([frames], torch.device("cpu"))(batch)
    for i in range(12):
        expected = frames[i]
        apart = (found["image"][i].int() - expected["image"].int()).abs()
        # OpenCV places pixels to 1/32; an edge of the covered part is half covered by halving.
        assert apart.float().mean() < 1 and apart.float().quantile(0.99) <= 3
        known = (found["depth"][i] > 0) & (expected["depth"] > 0)
        assert ((found["depth"][i] > 0) == (expected["depth"] > 0)).float().mean() > 0.98
        # The nearest pixel may be the next one, a millimetre off; half precision keeps 0.05 %.
        torch.testing.assert_close(found["depth"][i][known], expected["depth"][known], rtol=2e-3, atol=2e-3)


def test_noise_on_a_device_has_the_strength_that_was_drawn(tmp_path):
    camera = PinholeCamera(**CAMERA)
    root = write_set(tmp_path / "frames", [camera], 2.0)
    options = {"camera": camera, "input_size": (120, 160), "output_size": (30, 40), "seed": 1}
    grey = np.full((120, 160, 3), 128, np.uint8)
    cv2.imwrite(root + "/rgb/0.png", grey)
    noisy = Augmentation(colour=(1, 1), noise=20)
    frames = PreparedFolder(root, ["0"], 0.001, augmentation=noisy, **options)
    batch = torch.utils.data.default_collate([Draws(frames, 0)[0]])
    found = DeviceFrames([frames], torch.device("cpu"))(batch)["image"].float().std().item()
    assert found == pytest.approx(frames[0]["image"].float().std().item(), rel=0.03)
    assert found == pytest.approx(batch["tone"][0, 3].item(), rel=0.05)


def test_a_training_sees_the_same_frames_wherever_they_are_augmented(first, tmp_path):
    other = write_set(tmp_path / "other", [PinholeCamera(320, 240, 130.0, 130.0, 159.5, 119.5)] * 3, 4.0)
    extra = [{"root": other, "depth_scale": 0.001, "share": 0.4}]
    seen = {}
    for device in ("cpu", "gpu"):
        task = DepthTask({"name": "plain", "channels": [4] * 7}, {"l1": 1.0}, schedule="constant")
        seen[device] = []
        task.on_train_batch_start = lambda batch, _, to=seen[device]: to.append(batch)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **quiet)
        trainer.fit(task, module(first, extra, STRONG, device=device))
    assert len(seen["cpu"]) == len(seen["gpu"]) == 7
    for a, b in zip(seen["cpu"], seen["gpu"], strict=True):
        assert (a["image"].int() - b["image"].int()).abs().float().mean() < 1
        assert (a["depth"] - b["depth"]).abs().median() < 2e-3


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"depth_scale": 0.001}, "lacks share"),
        ({"depth_scale": 0.001, "share": 0}, "share must be positive, got 0"),
        ({"depth_scale": 0.001, "share": 1, "weight": 2}, r"unknown options \['weight'\]"),
    ],
)
def test_mistakes_in_an_extra_set_are_named(first, extra, sentence):
    with pytest.raises(ValueError, match=sentence):
        module(first, {"root": first, **extra})


def test_where_frames_are_augmented_is_named_rightly(first):
    with pytest.raises(ValueError, match="must be cpu or gpu, got 'tpu'"):
        module(first, None, device="tpu")
    with pytest.raises(ValueError, match=r"give data\.augmentation, or device cpu"):
        module(first, None, None, device="gpu")
