"""Messages become arrays and arrays messages; a malformed message gets one clear sentence."""

import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.conversions import (
    camera_from_info,
    camera_to_info,
    depth_to_image,
    image_to_depth,
    image_to_rgb,
    lens_from_info,
    rgb_to_image,
)
from depth_estimation_ros.conversions.encodings import COLOUR_LAYOUTS, DEPTH_LAYOUTS

RED, GREEN, BLUE = 200, 100, 50
# The same colour in BT.601 with limited range, worked out by hand from
# Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255 and so on.
Y, U, V = 123, 91, 176

STORED_PIXEL = {
    "rgb8": (RED, GREEN, BLUE),
    "bgr8": (BLUE, GREEN, RED),
    "rgba8": (RED, GREEN, BLUE, 7),
    "bgra8": (BLUE, GREEN, RED, 7),
    "mono8": (GREEN,),
    "rgb16": (RED * 257, GREEN * 257, BLUE * 257),
    "bgr16": (BLUE * 257, GREEN * 257, RED * 257),
    "rgba16": (RED * 257, GREEN * 257, BLUE * 257, 7),
    "bgra16": (BLUE * 257, GREEN * 257, RED * 257, 7),
    "mono16": (GREEN * 257,),
    "8UC1": (GREEN,),
    "8UC3": (BLUE, GREEN, RED),
    "8UC4": (BLUE, GREEN, RED, 7),
    "16UC1": (GREEN * 257,),
}
STORED_BLOCK = {  # the first two rows' first two pixels, as the encoding's name spells them
    "bayer_rggb8": [[RED, GREEN], [GREEN, BLUE]],
    "bayer_bggr8": [[BLUE, GREEN], [GREEN, RED]],
    "bayer_gbrg8": [[GREEN, BLUE], [RED, GREEN]],
    "bayer_grbg8": [[GREEN, RED], [BLUE, GREEN]],
    "uyvy": [[U, Y, V, Y]],
    "yuv422": [[U, Y, V, Y]],
    "yuyv": [[Y, U, Y, V]],
    "yuv422_yuy2": [[Y, U, Y, V]],
}
WIDTH, HEIGHT = 12, 8


def stored_rows(encoding):
    """Rows of an image of one colour as the encoding stores them, written out by hand."""
    if encoding in STORED_PIXEL:
        dtype = np.uint16 if "16" in encoding else np.uint8
        return np.tile(np.array(STORED_PIXEL[encoding], dtype), (HEIGHT, WIDTH))
    if encoding.startswith("bayer") and encoding.endswith("16"):
        return stored_rows(encoding[:-2] + "8").astype(np.uint16) * 257
    if encoding in STORED_BLOCK:
        block = np.array(STORED_BLOCK[encoding], np.uint8)
        return np.tile(block, (HEIGHT // block.shape[0], WIDTH // 2))
    chroma = {"nv12": [U, V], "nv21": [V, U]}[encoding]
    luma = np.full((HEIGHT, WIDTH), Y, np.uint8)
    return np.vstack([luma, np.tile(np.array(chroma, np.uint8), (HEIGHT // 2, WIDTH // 2))])


def message(rows, encoding, width, height, padding=0, big_endian=False):
    stored = rows.astype(rows.dtype.newbyteorder(">" if big_endian else "<")).view(np.uint8)
    padded = np.pad(stored, ((0, 0), (0, padding)), constant_values=255)
    msg = Image(encoding=encoding, width=width, height=height, step=padded.shape[1])
    msg.is_bigendian = int(big_endian)
    msg.data.frombytes(padded.tobytes())
    return msg


def random_rgb(height=6, width=10):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


# -- colour images in


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", list(COLOUR_LAYOUTS))
def test_every_encoding_decodes_to_the_colour_it_was_written_from(encoding, padding, big_endian):
    msg = message(stored_rows(encoding), encoding, WIDTH, HEIGHT, padding, big_endian)
    rgb = image_to_rgb(msg)
    grey = encoding in ("mono8", "mono16", "8UC1", "16UC1")
    expected = (GREEN, GREEN, GREEN) if grey else (RED, GREEN, BLUE)
    assert rgb.shape == (HEIGHT, WIDTH, 3) and rgb.dtype == np.uint8
    subsampled = encoding in ("uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21")
    assert np.abs(rgb.astype(int) - expected).max() <= (2 if subsampled else 0)


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_round_trip_keeps_every_pixel_in_its_place(encoding, padding):
    rgb = random_rgb()
    sent = rgb_to_image(rgb, encoding=encoding)
    rows = np.frombuffer(sent.data, np.uint8).reshape(6, sent.step)
    assert np.array_equal(image_to_rgb(message(rows, encoding, 10, 6, padding)), rgb)


def test_chroma_belongs_to_its_own_pair_of_pixels():
    left, right = [Y, U, Y, V], [Y, 128, Y, 128]
    rgb = image_to_rgb(message(np.array([left + right] * 2, np.uint8), "yuyv", 4, 2))
    assert rgb[0, 0, 0] > 190 and rgb[0, 3, 0] == rgb[0, 3, 1] == rgb[0, 3, 2]


def test_rgb8_is_a_read_only_view_of_the_message():
    msg = rgb_to_image(random_rgb())
    rgb = image_to_rgb(msg)
    assert np.shares_memory(rgb, np.frombuffer(msg.data, np.uint8)) and not rgb.flags.writeable


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (128, 0), (129, 1), (32768, 128), (65535, 255)])
def test_sixteen_bits_scale_to_eight_by_their_full_range_and_round(value, expected):
    msg = message(np.full((2, 2), value, np.uint16), "mono16", 2, 2)
    assert (image_to_rgb(msg) == expected).all()


def test_data_may_be_an_array_bytes_or_numpy():
    rgb = random_rgb()
    msg = rgb_to_image(rgb)
    as_bytes = msg.data.tobytes()
    for data in (array.array("B", as_bytes), as_bytes, np.frombuffer(as_bytes, np.uint8)):

        class Recorded:
            encoding, width, height, step, is_bigendian = "rgb8", 10, 6, 30, False

        Recorded.data = data
        assert np.array_equal(image_to_rgb(Recorded), rgb)


# -- depth images in and out


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("padding", [0, 3, 4])
def test_float_depth_is_metres_with_nan_for_whatever_is_no_distance(padding, big_endian):
    rows = np.array([[1.25, np.nan, np.inf], [0.0, -1.0, 9.5]], np.float32)
    depth = image_to_depth(message(rows, "32FC1", 3, 2, padding, big_endian))
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, np.array([[1.25, np.nan, np.nan], [np.nan, np.nan, 9.5]], np.float32))


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("padding", [0, 3, 4])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_integer_depth_is_millimetres_with_zero_invalid(encoding, padding, big_endian):
    rows = np.array([[1, 1234], [0, 65535]], np.uint16)
    depth = image_to_depth(message(rows, encoding, 2, 2, padding, big_endian))
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, np.array([[0.001, 1.234], [np.nan, 65.535]], np.float32))


def test_depth_is_written_as_metres_bit_for_bit():
    depth = np.array([[0.5, np.nan], [3.25, 10.0]], np.float32)
    msg = depth_to_image(depth, Header(frame_id="camera"))
    assert (msg.encoding, msg.width, msg.height, msg.step) == ("32FC1", 2, 2, 8)
    assert msg.header.frame_id == "camera" and msg.data.tobytes() == depth.tobytes()
    np.testing.assert_array_equal(image_to_depth(msg), depth)


def test_depth_in_millimetres_rounds_and_gives_zero_where_it_cannot_say():
    depth = np.array([[1.2344, 1.2346, np.nan], [65.535, 65.536, -1.0], [np.inf, 0.0, 0.0004]], np.float32)
    msg = depth_to_image(depth, encoding="16UC1")
    written = np.frombuffer(msg.data, np.uint16).reshape(3, 3)
    np.testing.assert_array_equal(written, [[1234, 1235, 0], [65535, 0, 0], [0, 0, 0]])


def test_a_window_of_a_larger_array_is_written_without_its_surroundings():
    depth = np.arange(12, dtype=np.float32).reshape(3, 4) + 1.0
    np.testing.assert_array_equal(image_to_depth(depth_to_image(depth[1:, 1:3])), depth[1:, 1:3])
    rgb = random_rgb()
    assert np.array_equal(image_to_rgb(rgb_to_image(rgb[:, ::-1])), rgb[:, ::-1])


# -- malformed images


@pytest.mark.parametrize("decode", [image_to_rgb, image_to_depth])
def test_an_unknown_encoding_is_refused_by_name_with_those_most_like_it(decode):
    msg = Image(encoding="yuv999", width=2, height=2, step=4, data=[0] * 8)
    near = r"yuyv, yuv422, .* and \d+ more" if decode is image_to_rgb else ", ".join(DEPTH_LAYOUTS)
    with pytest.raises(ValueError, match=rf"'yuv999'.*supported are {near}$"):
        decode(msg)


@pytest.mark.parametrize("decode", [image_to_rgb, image_to_depth])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": 0}, "has no pixels"),
        ({"height": 0}, "has no pixels"),
        ({"step": 3}, "has step 3, but one row needs at least 4 bytes"),
        ({"data": [0] * 7}, "holds 7 bytes of data, but 2 rows of step 4 make 8"),
        ({"data": [0] * 9}, "holds 9 bytes of data, but 2 rows of step 4 make 8"),
        ({"data": []}, "holds 0 bytes of data, but 2 rows of step 4 make 8"),
    ],
)
def test_numbers_that_do_not_agree_are_named(decode, change, sentence):
    fields = {"encoding": "mono16", "width": 2, "height": 2, "step": 4, "data": [0] * 8} | change
    with pytest.raises(ValueError, match=sentence):
        decode(Image(**fields))


@pytest.mark.parametrize(("encoding", "width", "height"), [("yuyv", 3, 2), ("nv12", 2, 3), ("nv21", 3, 2)])
def test_subsampled_chroma_needs_an_even_size(encoding, width, height):
    msg = Image(encoding=encoding, width=width, height=height, step=8, data=[0] * 8 * height)
    with pytest.raises(ValueError, match="even"):
        image_to_rgb(msg)


def test_arrays_that_are_no_image_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        rgb_to_image(np.zeros((2, 2, 3), np.float32))
    with pytest.raises(ValueError, match="'nv12'"):
        rgb_to_image(random_rgb(), encoding="nv12")
    with pytest.raises(ValueError, match=r"\[height, width\]"):
        depth_to_image(np.zeros((2, 2, 1), np.float32))
    with pytest.raises(ValueError, match="'64FC1'"):
        depth_to_image(np.zeros((2, 2), np.float32), encoding="64FC1")


# -- camera_info


CAMERA = PinholeCamera(640, 480, 525.0, 526.0, 319.5, 239.25)


def test_camera_info_carries_the_intrinsics_both_ways():
    info = camera_to_info(CAMERA, Header(frame_id="optical"))
    assert (info.width, info.height, info.distortion_model) == (640, 480, "plumb_bob")
    assert list(info.k) == [525.0, 0.0, 319.5, 0.0, 526.0, 239.25, 0.0, 0.0, 1.0]
    assert list(info.p) == [525.0, 0.0, 319.5, 0.0, 0.0, 526.0, 239.25, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert list(info.r) == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    assert list(info.d) == [0.0] * 5 and info.header.frame_id == "optical"
    assert camera_from_info(info) == CAMERA


def test_region_of_interest_and_binning_give_the_camera_of_the_image():
    info = camera_to_info(CAMERA)
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 50, 320, 240
    assert camera_from_info(info) == PinholeCamera(320, 240, 525.0, 526.0, 219.5, 189.25)
    info.binning_x = info.binning_y = 2
    # Pixel u of the binned image covers pixels 2u and 2u + 1, so its centre lies at 2u + 0.5.
    assert camera_from_info(info) == PinholeCamera(160, 120, 262.5, 263.0, 109.5, 94.375)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"k": [0.0] * 9}, "calibrated"),
        ({"k": [np.nan, 0.0, 1.0, 0.0, 500.0, 1.0, 0.0, 0.0, 1.0]}, "fx=nan"),
        ({"k": [500.0, 0.0, np.inf, 0.0, 500.0, 1.0, 0.0, 0.0, 1.0]}, "cx=inf"),
        ({"k": [500.0, 0.0, 1.0, 0.0, -500.0, 1.0, 0.0, 0.0, 1.0]}, "fy=-500"),
        ({"width": 0}, "size must be positive"),
        ({"height": 0}, "size must be positive"),
    ],
)
def test_an_unusable_camera_info_says_what_is_wrong(change, sentence):
    fields = {"width": 640, "height": 480, "k": CAMERA.k.ravel().tolist()} | change
    with pytest.raises(ValueError, match=f"camera_info cannot be used: .*{sentence}"):
        camera_from_info(CameraInfo(**fields))


def test_a_rectified_image_has_the_intrinsics_of_the_projection_matrix():
    info = camera_to_info(PinholeCamera(640, 480, 500.0, 501.0, 320.0, 240.0))
    info.p = [450.0, 0.0, 310.0, 0.0, 0.0, 451.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert camera_from_info(info).fx == 500.0
    info.d = [-0.1, 0.01, 0.0, 0.0, 0.0]
    assert camera_from_info(info) == PinholeCamera(640, 480, 450.0, 451.0, 310.0, 230.0)


# -- held against a full ROS installation's cv_bridge


@pytest.mark.parametrize("encoding", [e for e in COLOUR_LAYOUTS if e[0] not in "18nu" and e != "yuyv"])
def test_decoding_equals_cv_bridge(encoding):
    bridge = pytest.importorskip("cv_bridge", reason="cv_bridge comes with a full ROS installation").CvBridge()
    msg = message(stored_rows(encoding), encoding, WIDTH, HEIGHT, padding=4)
    msg.data = array.array("B", np.random.default_rng(1).integers(0, 256, len(msg.data), np.uint8).tobytes())
    assert np.array_equal(image_to_rgb(msg), bridge.imgmsg_to_cv2(msg, "rgb8"))


def test_images_out_equal_cv_bridge():
    bridge = pytest.importorskip("cv_bridge", reason="cv_bridge comes with a full ROS installation").CvBridge()
    rgb, depth = random_rgb(), np.random.default_rng(2).random((6, 10), np.float32)
    for ours, theirs in (
        (rgb_to_image(rgb), bridge.cv2_to_imgmsg(rgb, "rgb8")),
        (
            rgb_to_image(rgb, encoding="bgr8"),
            bridge.cv2_to_imgmsg(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), "bgr8"),
        ),
        (depth_to_image(depth), bridge.cv2_to_imgmsg(depth, "32FC1")),
    ):
        assert ours == theirs


# -- camera_info as drivers fill it

P = PinholeCamera(64, 48, 60.0, 61.0, 30.0, 22.0)
K = PinholeCamera(64, 48, 70.0, 71.0, 33.0, 25.0)


def driver_info(k=K, p=P, d=(0.0,) * 5, model="plumb_bob", **fields):
    msg = CameraInfo(width=64, height=48, d=list(d), distortion_model=model, **fields)
    msg.k = [0.0] * 9 if k is None else k.k.ravel().tolist()
    msg.p = [0.0] * 12 if p is None else np.hstack([p.k, np.zeros((3, 1))]).ravel().tolist()
    return msg


@pytest.mark.parametrize(
    ("info", "rectified", "camera"),
    [
        (driver_info(), False, K),
        (driver_info(p=None), False, K),
        (driver_info(k=None), False, P),
        (driver_info(), True, P),
        (driver_info(p=None), True, K),
        (driver_info(d=(-0.1, 0.0, 0.0, 0.0)), True, P),
        (driver_info(d=(), model=""), False, K),
        (driver_info(d=(0.0,) * 3, model="nobody's"), False, K),
        (driver_info(binning_x=2, binning_y=4), False, K.resized(32, 12)),
        (
            driver_info(roi=RegionOfInterest(x_offset=8, y_offset=4, width=32, height=24), binning_x=2, binning_y=2),
            False,
            K.cropped(8, 4, 32, 24).resized(16, 12),
        ),
    ],
)
def test_intrinsics_are_taken_from_where_the_message_has_them(info, rectified, camera):
    assert camera_from_info(info, rectified) == camera


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        (driver_info(k=None, p=None), "is the camera calibrated?"),
        (driver_info(roi=RegionOfInterest(x_offset=60, width=32, height=24)), r"its roi, 32x24 at \(60, 0\), is not"),
        (driver_info(binning_x=2**32 - 1), "camera size must be positive"),
        (CameraInfo(), "camera size must be positive"),
    ],
)
def test_a_camera_info_of_no_camera_is_refused_in_a_sentence(info, sentence):
    with pytest.raises(ValueError, match=f"camera_info cannot be used: .*{sentence}"):
        camera_from_info(info)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_coefficients_that_are_no_numbers_are_refused(value):
    with pytest.raises(ValueError, match="coefficients of the distortion must be finite"):
        lens_from_info(driver_info(d=(0.1, value, 0.0, 0.0, 0.0)))


MOST = 2**32 - 1


@pytest.mark.parametrize(
    ("fields", "size", "sentence"),
    [
        (
            {"width": MOST, "height": MOST, "step": MOST},
            0,
            "has step 4294967295, but one row needs at least 12884901885",
        ),
        ({"width": 1, "height": MOST, "step": 3}, 30, "holds 30 bytes of data, but 4294967295 rows of step 3 make"),
        ({"width": 0, "height": 4}, 0, "has no pixels"),
        ({"width": 4, "height": 4, "step": 0}, 48, "has step 0, but one row needs at least 12 bytes"),
        ({"width": 4, "height": 4, "step": 12}, 47, "holds 47 bytes of data, but 4 rows of step 12 make 48"),
        ({"width": 4, "height": 4, "step": 12}, 60, "holds 60 bytes of data"),
        ({"width": 4, "height": 4, "step": 12, "encoding": ""}, 48, "an image without an encoding cannot be read here"),
        ({"width": 4, "height": 4, "step": 16, "encoding": "32FC1"}, 64, "is depth, not colour; remap image to the"),
        ({"width": 4, "height": 4, "step": 12, "encoding": "x\n" * 999}, 48, r"'x\\nx\\n"),
    ],
)
def test_an_image_whose_numbers_do_not_agree_is_refused_in_a_sentence(fields, size, sentence):
    msg = Image(**{"encoding": "rgb8", **fields}, data=array.array("B", bytes(size)))
    with pytest.raises(ValueError, match=sentence) as found:
        image_to_rgb(msg)
    assert "\n" not in str(found.value)
