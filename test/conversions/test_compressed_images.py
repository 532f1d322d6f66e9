"""Compressed images become arrays; what is cut off or no colour picture gets one clear sentence."""

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from depth_estimation_ros.conversions import compressed_to_rgb


def compressed(suffix: str, pixels: np.ndarray) -> CompressedImage:
    """Return RGB pixels as image_transport's compressed plugin writes them."""
    _, data = cv2.imencode(suffix, pixels[..., ::-1])
    return CompressedImage(format=f"rgb8; {suffix[1:]} compressed bgr8", data=data.tobytes())


@pytest.mark.parametrize(("suffix", "off"), [(".png", 0), (".jpg", 3)])
def test_compressed_images_decode_to_their_colours(suffix, off):
    columns, rows = np.meshgrid(np.arange(64), np.arange(48))
    pixels = np.dstack([2 * columns, 3 * rows, np.full_like(rows, 90)]).astype(np.uint8)
    rgb = compressed_to_rgb(compressed(suffix, pixels))
    assert rgb.dtype == np.uint8 and rgb.shape == pixels.shape
    assert np.abs(rgb.astype(int) - pixels).mean() <= off


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_compressed_image_that_was_cut_off_is_refused(suffix, share):
    message = compressed(suffix, np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    message.data = message.data[: int(share * len(message.data))]
    with pytest.raises(ValueError, match="is cut off"):
        compressed_to_rgb(message)


@pytest.mark.parametrize(
    ("format", "data", "sentence"),
    [
        ("jpeg", b"", "format 'jpeg', 0 bytes.* cannot be decoded"),
        ("jpeg", b"no picture at all", "cannot be decoded"),
        ("jpeg", b"\xff\xd8 nothing in between \xff\xd9", "cannot be decoded"),
        ("16UC1; compressedDepth png", b"\0" * 20, "is depth, not colour"),
    ],
)
def test_compressed_data_that_is_no_colour_picture_is_refused(format, data, sentence):
    with pytest.raises(ValueError, match=sentence):
        compressed_to_rgb(CompressedImage(format=format, data=data))


MOSAIC = np.zeros((48, 64), np.uint8)
MOSAIC[0::2, 0::2], MOSAIC[1::2, 1::2] = 200, 30  # red, blue
MOSAIC[0::2, 1::2] = MOSAIC[1::2, 0::2] = 90  # green


@pytest.mark.parametrize(
    ("pixels", "suffix", "format"),
    [
        (MOSAIC, ".png", "bayer_rggb8; png compressed "),
        (MOSAIC, ".jpg", "bayer_rggb8; jpeg compressed "),
        (np.roll(MOSAIC, 1, axis=1), ".png", "bayer_grbg8; png compressed "),
        (MOSAIC.astype(np.uint16) * 257, ".png", "bayer_rggb16; png compressed "),
        (np.full((48, 64, 3), (30, 90, 200), np.uint8), ".jpg", "bayer_rggb8; jpeg compressed bgr8"),
    ],
)
def test_a_bayer_mosaic_is_demosaiced_if_image_transport_did_not(pixels, suffix, format):
    rgb = compressed_to_rgb(CompressedImage(format=format, data=cv2.imencode(suffix, pixels)[1].tobytes()))
    assert rgb[20:28, 20:28].reshape(-1, 3).mean(axis=0) == pytest.approx([200, 90, 30], abs=4)


def test_16_bits_alpha_and_grey_become_rgb_of_8_bits():
    rgb = np.array((200, 90, 30))
    for pixels, suffix in ((rgb[::-1] * 257, ".png"), ([*rgb[::-1], 7], ".png"), (rgb[::-1], ".png")):
        kind = np.uint16 if np.max(pixels) > 255 else np.uint8
        data = cv2.imencode(suffix, np.full((24, 32, len(pixels)), pixels, kind))[1].tobytes()
        assert (compressed_to_rgb(CompressedImage(format="png", data=data)) == rgb).all()
    grey = cv2.imencode(".png", np.full((24, 32), 77 * 257, np.uint16))[1].tobytes()
    assert (compressed_to_rgb(CompressedImage(format="mono16; png compressed ", data=grey)) == 77).all()
