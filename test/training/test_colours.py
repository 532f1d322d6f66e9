"""Sharpness and light of augmented images: figures worked out by hand, and the same on the training's device."""

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from depth_estimation_ros import PinholeCamera  # noqa: E402
from training.data.augment import Augmentation, Light, Sharpness  # noqa: E402
from training.data.colours import Colours, SunPatch  # noqa: E402
from training.data.colours_on_device import packed, recoloured  # noqa: E402

RNG = np.random.default_rng
UNCHANGED = {"gain": np.ones(3), "contrast": 1.0, "saturation": 1.0, "exponent": 1.0, "noise": 0.0}
UNCHANGED |= {"covered": (0, 0, 0, 0), "shade": np.zeros(3)}
PATCH = SunPatch(np.array([40.0, 30.0]), np.array([20.0, 0.0]), np.array([0.0, 10.0]), 4.0, 0.0, 1.0)


def change(image, **options):
    return Colours(**UNCHANGED | options).apply(image, RNG(0))


def grey(*values):
    return np.repeat(np.array(values, np.uint8)[..., None], 3, axis=-1)


@pytest.fixture
def photograph():
    """Return an image with structure of every size: the sum of noise at several resolutions."""
    parts = [
        np.kron(RNG(i).uniform(0, 64, (60 // s, 80 // s, 3)), np.ones((s, s, 1))) for i, s in enumerate((1, 2, 5, 10))
    ]
    return sum(parts).astype(np.uint8)


def test_a_blurred_dot_has_the_deviation_of_the_blur():
    dot = np.zeros((41, 41, 3), np.uint8)
    dot[15:26, 15:26] = 250  # a square of 11 pixels has the variance 10
    seen = change(dot, sharpening=-1.0, sharpening_radius=2.0)[..., 0].astype(float)
    along = seen.sum(0) / seen.sum()
    assert (along * (np.arange(41) - 20) ** 2).sum() == pytest.approx(10 + 2.0**2, rel=0.03)


def test_an_unsharp_mask_adds_the_difference_from_the_blurred_image(photograph):
    blurred = change(photograph, sharpening=-1.0, sharpening_radius=1.0).astype(float)
    seen = change(photograph, sharpening=0.5, sharpening_radius=1.0)
    expected = np.clip(photograph + 0.5 * (photograph - blurred), 0, 255)
    assert np.abs(seen - expected).max() <= 1
    assert np.std(seen) > np.std(photograph) > np.std(blurred)


def test_a_coarse_image_has_lost_what_is_smaller_than_its_pixels():
    fine = grey(*(np.indices((60, 80)).sum(0) % 2 * 200))
    assert np.abs(change(fine, coarse=2.0).astype(int) - 100).max() <= 1
    broad = grey(*np.broadcast_to(np.where(np.arange(80) < 40, 50, 200), (60, 80)))
    seen = change(broad, coarse=2.0)
    assert (seen[:, :37] == 50).all() and (seen[:, 43:] == 200).all()


def test_exposure_saturates():
    assert change(grey([0, 60, 150, 255]), exposure=2.0)[0, :, 0].tolist() == [0, 120, 255, 255]
    assert change(grey([0, 60, 150, 255]), exposure=0.5)[0, :, 0].tolist() == [0, 30, 75, 128]


def test_a_patch_of_sun_is_bright_inside_unchanged_outside_and_soft_between():
    mask = PATCH.mask(60, 80)
    assert mask[30, 40] == 1 and (mask[:, :20] == 0).all() and (mask[:, 61:] == 0).all()
    assert (mask[:20] == 0).all() and (mask[41:] == 0).all()
    # The right edge is at x = 60, and the light falls over 4 pixels inside it.
    np.testing.assert_allclose(mask[30, 56:61], [1, 0.75, 0.5, 0.25, 0], atol=1e-5)
    seen = change(np.full((60, 80, 3), 100, np.uint8), sun=PATCH)
    assert seen[30, 40].tolist() == [200, 195, 185] and seen[5, 5].tolist() == [100] * 3


def test_the_bar_of_a_window_shades_the_middle_of_the_patch():
    mask = SunPatch(PATCH.centre, PATCH.across, PATCH.along, 4.0, 3.0, 1.0).mask(60, 80)
    np.testing.assert_allclose(mask[30, 37:44], 0, atol=1e-5)
    np.testing.assert_allclose(mask[30, 43:48], [0, 0.25, 0.5, 0.75, 1], atol=1e-5)


def test_a_camera_without_colour_has_equal_channels(photograph):
    seen = change(photograph, grey=True)
    assert (seen == seen[..., :1]).all()
    assert np.abs(seen[..., 0] - photograph.mean(2)).max() <= 0.5


def test_every_change_is_drawn_as_often_as_asked():
    augmentation = Augmentation(close_up=0.3, close_up_zoom=(3, 4), sharpness=Sharpness(), light=Light())
    rng, camera, count = RNG(0), PinholeCamera(80, 60, 65.0, 65.0, 39.5, 29.5), Counter()
    for _ in range(4000):
        count["close"] += augmentation.view(camera, rng).zoom >= 3
        c = augmentation.colours(60, 80, rng)
        count["blur"] += c.sharpening == -1
        count["unsharp"] += c.sharpening > 0
        count["coarse"] += c.coarse > 1
        count["bright"] += c.exposure > 1
        count["dark"] += c.exposure < 1
        count["sun"] += c.sun is not None
        count["bar"] += c.sun is not None and c.sun.bar > 0
        count["grey"] += c.grey
        assert (c.sharpening != 0) + (c.coarse != 1) <= 1
    wanted = {"close": 0.3, "blur": 0.45, "unsharp": 0.27, "coarse": 0.1, "bright": 0.25, "dark": 0.15, "sun": 0.25}
    for name, share in (wanted | {"bar": 0.125, "grey": 0.12}).items():
        assert count[name] / 4000 == pytest.approx(share, abs=0.025), name


def test_the_defaults_change_no_sharpness_and_no_light():
    for seed in range(20):
        c = Augmentation().colours(60, 80, RNG(seed))
        assert (c.sharpening, c.coarse, c.exposure, c.sun, c.grey) == (0, 1, 1, None, False)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            (Sharpness, {"blur": 0.8}),
            r"of sharpness must be .* add up to at most 1, got blur 0\.8, unsharp 0\.27",
        ),
        ((Sharpness, {"coarse": -0.1}), "of sharpness must be between 0 and 1"),
        ((Light, {"sun": 1.5}), r"of light must be between 0 and 1, got sun 1\.5"),
        ((Light, {"grey": float("nan")}), "of light must be between 0 and 1, got grey nan"),
    ],
)
def test_impossible_probabilities_are_named(options, sentence):
    kind, values = options
    with pytest.raises(ValueError, match=sentence):
        kind(**values)


def test_a_device_changes_colours_to_the_same_grey_levels(photograph):
    augmentation = Augmentation(
        brightness=0.2, contrast=0.3, saturation=0.5, gamma=0.3, erase=0.3, sharpness=Sharpness(), light=Light(sun=0.6)
    )
    rng = RNG(1)
    colours = [augmentation.colours(60, 80, rng) for _ in range(64)]
    assert {c.sun is None for c in colours} == {c.coarse == 1 for c in colours} == {True, False}
    expected = np.stack([c.apply(photograph, rng) for c in colours])
    arrays = [{k: v if v.dtype == np.int64 else v.astype(np.float32) for k, v in packed(c).items()} for c in colours]
    image = torch.from_numpy(photograph).permute(2, 0, 1).float().expand(64, -1, -1, -1)
    found = recoloured(image, torch.utils.data.default_collate(arrays)).permute(0, 2, 3, 1).numpy()
    apart = np.abs(found - expected)
    # Whole grey levels before the gain: where rounding falls otherwise, contrast and exponent make up to two of it.
    assert apart.max() <= 3 and np.mean(apart > 1) < 1e-3
