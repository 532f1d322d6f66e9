"""Depth is read as every version of image_transport compresses it: PNG and RVL, 16 and 32 bits, or a plain picture."""

import itertools
import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from bag_writer import BagWriter
from small_bags import CAMERA, depth, picture

from depth_estimation_ros.bags.compressed_depth import decode_rvl
from depth_estimation_ros.bags.messages import depth_of, is_depth
from depth_estimation_ros.evaluation.recording.recording import Recording, Topics
from depth_estimation_ros.sources import open_source

RANDOM = np.random.default_rng(0)
HEADER = struct.pack("<iff", 0, 200.0, 50.0)  # z = 200 / (value - 50)
MILLIMETRES = np.array([[0, 800, 801, 65535], [0, 0, 1200, 40000]], np.uint16)
METRES = np.array([[np.nan, 0.8, 0.801, np.nan], [np.nan, np.nan, 1.2, 40.0]], np.float32)


def rvl(pixels):
    """Encode as section 3 of Wilson's paper does, number by number."""
    numbers, previous = [], 0
    groups = [list(group) for _, group in itertools.groupby(map(int, pixels), key=bool)]
    if groups and groups[0][0]:
        groups.insert(0, [])
    for zeros, values in itertools.zip_longest(groups[::2], groups[1::2], fillvalue=[]):
        numbers += [len(zeros), len(values)]
        for value in values:
            difference, previous = value - previous, value
            numbers.append(2 * difference if difference >= 0 else -2 * difference - 1)
    nibbles = []
    for number in numbers:
        while number > 7:
            nibbles.append(8 | number & 7)
            number >>= 3
        nibbles.append(number)
    nibbles += [0] * (-len(nibbles) % 8)
    text = "".join(f"{nibble:x}" for nibble in nibbles)
    return b"".join(struct.pack("<I", int(text[k : k + 8], 16)) for k in range(0, len(text), 8))


def message(form, data):
    return SimpleNamespace(format=form, data=np.frombuffer(data, np.uint8))


def png(values, suffix=".png"):
    return cv2.imencode(suffix, values)[1].tobytes()


def with_size(values):
    return struct.pack("<II", *values.shape[::-1]) + rvl(values.ravel())


@pytest.mark.parametrize(
    "pixels",
    [
        [7],
        [0] * 50,
        [1234] * 50,
        [65535, 0, 1, 65535, 32768, 0, 0, 5],
        RANDOM.integers(0, 65536, 3000),
        np.where(RANDOM.random(3000) < 0.4, 0, RANDOM.integers(500, 900, 3000)),
    ],
)
def test_rvl_is_decoded_to_what_was_encoded_and_a_cut_one_is_refused(pixels):
    stream = rvl(pixels)
    np.testing.assert_array_equal(decode_rvl(stream, len(pixels)), pixels)
    for length in (0, 2, len(stream) // 2, len(stream) - 4):
        if any(pixels) and length < len(stream):
            with pytest.raises(ValueError, match="RVL"):
                decode_rvl(stream[:length], len(pixels))


def test_a_stream_worked_out_by_hand():
    # no zeros, 2 values: 9 (+9 is 18 = 2 + 2 * 8: nibbles 1010 0010), then 8 (-1 is 1); then 1 zero, no values
    assert decode_rvl(struct.pack("<I", 0x02A21100), 3).tolist() == [9, 8, 0]


@pytest.mark.parametrize(
    "wrong", [lambda d: bytes([b ^ 0x5A for b in d]), lambda d: d[::-1], lambda d: b"\xff" * len(d)]
)
def test_a_damaged_rvl_stream_is_refused_or_gives_as_many_pixels(wrong):
    stream = wrong(rvl(RANDOM.integers(0, 2000, 500)))
    try:
        assert decode_rvl(stream, 500).shape == (500,)
    except ValueError as error:
        assert "RVL" in str(error)


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("16UC1; compressedDepth png", bytes(12) + png(MILLIMETRES)),
        ("16UC1; compressedDepth", bytes(12) + png(MILLIMETRES)),
        ("16UC1;compressedDepth png", bytes(12) + png(MILLIMETRES)),
        ("mono16; compressedDepth png", bytes(12) + png(MILLIMETRES)),
        ("16UC1; compressedDepth rvl", bytes(12) + with_size(MILLIMETRES)),
        ("16UC1;compressedDepth rvl", bytes(12) + with_size(MILLIMETRES)),
        ("16UC1; compressedDepth png", png(MILLIMETRES)),  # who left out the header
        ("16UC1; png compressed ", png(MILLIMETRES)),
        ("16UC1; tiff compressed ", png(MILLIMETRES, ".tiff")),
        ("32FC1; tiff compressed ", png(np.nan_to_num(METRES), ".tiff")),
        ("png", png(MILLIMETRES)),
    ],
)
def test_depth_in_metres_is_read_of_every_format(form, data):
    np.testing.assert_allclose(depth_of(message(form, data)), METRES, atol=1e-6)
    assert is_depth(message(form, data), "/camera/depth/image/compressed")


@pytest.mark.parametrize("encode", [("png", png), ("rvl", with_size)])
def test_a_quantised_inverse_depth_is_read_of_either_compression(encode):
    stored = np.array([[0, 150, 250, 50]], np.uint16)
    found = depth_of(message(f"32FC1; compressedDepth {encode[0]}", HEADER + encode[1](stored)))
    np.testing.assert_allclose(found, [[np.nan, 2.0, 1.0, np.nan]])


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("16UC1; compressedDepth png", b""),
        ("16UC1; compressedDepth png", bytes(40)),
        ("16UC1; compressedDepth rvl", bytes(12)),
        ("16UC1; compressedDepth rvl", bytes(12) + struct.pack("<II", 2**31, 2**31) + bytes(8)),
        ("16UC1; compressedDepth rvl", bytes(12) + struct.pack("<II", 640, 480) + bytes(8)),
        ("32FC1; compressedDepth png", png(MILLIMETRES)),
        ("jpeg", png(MILLIMETRES.astype(np.uint8), ".jpg")),
    ],
)
def test_what_holds_no_depth_is_refused_in_a_sentence(form, data):
    with pytest.raises(ValueError, match=f"of format '{form}' [a-z]"):
        depth_of(message(form, data))


def test_colour_pictures_and_those_of_thermal_cameras_are_no_depth():
    assert not is_depth(message("rgb8; png compressed bgr8", png(picture(3))), "/depth/preview/compressed")
    assert not is_depth(message("mono16; png compressed ", png(MILLIMETRES)), "/thermal/image/compressed")


def test_depth_through_the_transport_compressed_is_found_in_a_bag(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for k in range(5):
            millimetres = (depth(1 + 0.1 * k) * 1000).astype(np.uint16)
            bag.image("/color/image_raw", 100 + k, picture(k), "rgb8")
            bag.info("/color/camera_info", 100 + k, CAMERA)
            bag.compressed("/depth/image_raw/compressed", 100 + k, png(millimetres), "16UC1; png compressed ")
            bag.compressed("/range/compressed", 100 + k, png(millimetres), "png")
    expected = pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4], abs=1e-3)
    recording = Recording(tmp_path / "run", Topics(image="/color/image_raw"))
    assert recording.topics.depth == "/depth/image_raw/compressed"
    asked = Recording(tmp_path / "run", Topics(image="/color/image_raw", depth="/range/compressed"))
    for samples in (recording.samples(), asked.samples()):
        assert [float(sample.truth[0, 0]) for sample in samples] == expected
    frames = open_source(str(tmp_path / "run"), image_topic="/color/image_raw")
    assert [float(frame.depth[0, 0]) for frame in frames] == expected
