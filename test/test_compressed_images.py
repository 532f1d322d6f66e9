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
