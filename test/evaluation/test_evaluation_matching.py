"""Images and their truth find each other by stamps, whatever the order in which they come, and clocks may differ."""

import numpy as np
import pytest

from depth_estimation_ros.bags.pairing import PATIENCE, Matcher, Received
from depth_estimation_ros.evaluation.recording.clocks import Window, estimate_offset

MS = 1_000_000
TOLERANCE = 20 * MS


def stream(images, truths, late=5 * MS):
    """Return (received, kind, Received) of both streams in the order of receipt; the truth's messages come later."""
    rows = [(s, "image", Received(s, s, f"i{k}", k)) for k, s in enumerate(images)]
    rows += [(s + late, "truth", Received(s, s + late, f"t{k}")) for k, s in enumerate(truths)]
    return sorted(rows, key=lambda row: row[0])


def match(rows, matcher=None):
    matcher = matcher or Matcher(TOLERANCE)
    pairs = []
    for now, kind, message in rows:
        (matcher.add_image if kind == "image" else matcher.add_truth)(message)
        pairs += matcher.pairs(now)
    pairs += matcher.pairs(2**62)
    return [(image.index, truth and truth.message) for image, truth in pairs]


def every(period, count, start=1000 * MS):
    return [int(start + k * period) for k in range(count)]


def test_each_image_gets_the_nearest_truth_within_the_tolerance():
    images = every(100 * MS, 4)
    truths = [images[0] - 15 * MS, images[0] + 8 * MS, images[2] - 19 * MS, images[3] + 25 * MS]
    assert match(stream(images, truths)) == [(0, "t1"), (1, None), (2, "t2"), (3, None)]


@pytest.mark.parametrize("late", [-900 * MS, 0, 900 * MS])
def test_truth_that_is_recorded_long_before_or_after_its_image_is_found(late):
    images = every(33 * MS, 60)
    assert match(stream(images, images, late)) == [(k, f"t{k}") for k in range(60)]


def test_what_an_image_gets_does_not_depend_on_where_reading_begins():
    random = np.random.default_rng(3)
    images = every(33.3 * MS, 200)
    truths = sorted(int(s + random.normal(0, 12 * MS)) for s in every(50 * MS, 130))
    rows = stream(images, truths, 60 * MS)
    whole = dict(match(rows))
    assert 60 < sum(truth is not None for truth in whole.values()) < 200
    for start in (90, 131):
        part = [row for row in rows if row[0] >= images[start] - PATIENCE]
        assert {k: t for k, t in match(part) if k >= start} == {k: t for k, t in whole.items() if k >= start}


def test_images_wait_for_what_else_they_need_but_not_for_ever():
    known = 0
    matcher = Matcher(TOLERANCE, lambda stamp: known >= stamp)
    matcher.add_image(Received(100, 100, "image", 0))
    matcher.add_truth(Received(100, 110, "truth"))
    assert list(matcher.pairs(110)) == []
    known = 100
    assert [truth.message for _, truth in matcher.pairs(120)] == ["truth"]
    matcher.add_image(Received(500, 500, "image", 1))
    assert list(matcher.pairs(500 + PATIENCE)) == []
    assert [image.index for image, _ in matcher.pairs(501 + PATIENCE)] == [1]


def test_little_is_kept_of_a_long_recording():
    matcher, most = Matcher(TOLERANCE), 0
    for now, kind, message in stream(every(33 * MS, 3000), every(33 * MS, 1500)):  # the truth ends half way
        (matcher.add_image if kind == "image" else matcher.add_truth)(message)
        list(matcher.pairs(now))
        most = max(most, len(matcher._waiting) + len(matcher._truths))
    assert most <= PATIENCE / (33 * MS) + 10


def windows(offset=0, drift=0.0, jitter=2, latency=30, period=100, phase=4, image_period=33.3):
    """Return five parts of a recording; the truth's clock is ahead by offset (ms), more so as time goes by."""
    random, found = np.random.default_rng(1), []
    for start in (0, 60_000, 120_000, 180_000, 240_000):
        images = start + np.arange(0, 2000, image_period)
        taken = start + phase + np.arange(0, 2000, period)
        truths = taken + offset + drift * start
        rows = [
            images,
            images + 5,
            truths,
            taken + latency + random.uniform(0, jitter, len(taken)),
        ]
        found.append(Window(*((1e12 + row * MS).astype(np.int64) for row in rows)))
    return found


@pytest.mark.parametrize(
    "recording",
    [
        windows(),
        windows(phase=14),  # a lidar between two images
        windows(latency=250, jitter=60),  # a slow driver is no other clock
        windows(image_period=200),
        windows(period=33.3, phase=16),
    ],
)
def test_stamps_that_agree_are_left_alone(recording):
    assert estimate_offset(recording, TOLERANCE) == (0, "")


@pytest.mark.parametrize("offset", [-3200, 730, 86_400_000])
def test_a_constant_offset_of_the_clocks_is_found_and_told(offset):
    found, sentence = estimate_offset(windows(offset), TOLERANCE)
    # By what the drivers' latencies differ (25 ms here), and to which of two images a truth belongs, it cannot be told.
    assert found == pytest.approx(offset * MS, abs=(25 + 33.3 / 2) * MS)
    assert "clock" in sentence and "corrected" in sentence


def test_an_offset_of_synchronised_cameras_is_found_to_the_millisecond():
    found, _ = estimate_offset(windows(1500, period=33.3, phase=0, latency=12), TOLERANCE)
    assert found == pytest.approx(1500 * MS, abs=MS)


def test_clocks_that_drift_are_not_corrected_and_that_is_told():
    found, sentence = estimate_offset(windows(3200, drift=0.001), TOLERANCE)
    assert found == 0
    assert "not a constant clock offset" in sentence and "--clock-offset" in sentence


def test_two_frames_are_too_few_to_say_anything():
    one = Window(*(np.array([t * 10**9]) for t in (1, 1, 5, 1)))
    assert estimate_offset([one], TOLERANCE)[0] == 0
    assert estimate_offset([], TOLERANCE) == (0, "")
