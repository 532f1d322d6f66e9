"""Conversions between ``sensor_msgs/Image`` and ``CompressedImage`` and numpy, for colour and depth."""

from __future__ import annotations

import sys

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from depth_estimation_ros.conversions.encodings import COLOUR_LAYOUTS, DEPTH_LAYOUTS, Layout, find_layout
from depth_estimation_ros.conversions.memory import fill
from depth_estimation_ros.imaging import decode
from depth_estimation_ros.support.sentences import choices

_BIG_ENDIAN_HOST = sys.byteorder == "big"
_FROM_RGB = {
    "rgb8": None,
    "bgr8": cv2.COLOR_RGB2BGR,
    "rgba8": cv2.COLOR_RGB2RGBA,
    "bgra8": cv2.COLOR_RGB2BGRA,
    "mono8": cv2.COLOR_RGB2GRAY,
}


def image_to_rgb(msg: Image) -> np.ndarray:
    """
    Convert an image message to RGB.

    For encodings that ``cv_bridge`` converts to ``rgb8``, the result is the same: 16 bits are scaled to 8 by 255 /
    65535 and rounded, Bayer mosaics are demosaiced bilinearly, YUV is limited-range BT.601. In addition, ``8UC1`` and
    ``16UC1`` are read as grey, ``8UC3`` and ``8UC4`` in OpenCV's order (BGR, BGRA), and ``nv12`` and ``nv21`` with a
    half-height chroma plane after ``height`` rows of luma
    (``step * height * 3 / 2`` bytes of data, as in ``sensor_msgs/image_encodings.hpp``).

    Parameters
    ----------
    msg : sensor_msgs.msg.Image
        Any encoding of `encodings.COLOUR_LAYOUTS`, any row padding, either byte order.

    Returns
    -------
    numpy.ndarray
        uint8 [height, width, 3]. For ``rgb8``, a read-only view of the message's data, with ``step`` as the row stride;
        otherwise a new contiguous array.

    Raises
    ------
    ValueError
        If the encoding is not supported, or size, step and data length do not match.
    """
    layout = find_layout(msg.encoding, COLOUR_LAYOUTS)
    return _to_rgb(_pixels(msg, layout), layout)


def compressed_to_rgb(msg: CompressedImage) -> np.ndarray:
    """
    Convert a compressed image message to RGB.

    Parameters
    ----------
    msg : sensor_msgs.msg.CompressedImage
        JPEG, PNG, TIFF, WebP, BMP or PNM, see `imaging.decode`. As in cv_bridge, the EXIF orientation is ignored. A
        compressed Bayer mosaic (``bayer_rggb8; png compressed``) is demosaiced.

    Returns
    -------
    numpy.ndarray
        uint8 [height, width, 3].

    Raises
    ------
    ValueError
        If the data is truncated, is not an image, has an impossible size in its header, or is compressed depth.
    """
    data = bytes(msg.data)
    what = f"the compressed image (format {msg.format[:60]!r}, {len(data)} bytes)"
    if "compressedDepth" in msg.format:
        raise ValueError(f"{what} is depth, not colour; remap image to the colour camera")
    encoding = msg.format.partition(";")[0].strip()
    mosaic = encoding.startswith("bayer_")
    try:
        pixels = decode(data, cv2.IMREAD_UNCHANGED if mosaic else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except ValueError as error:
        advice = "; look for losses on the way from the camera" if "cut off" in str(error) else ""
        raise ValueError(f"{what} {error}{advice}") from None
    if not mosaic or pixels.ndim == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    layout = find_layout(f"{encoding.rstrip('0123456789')}{8 * pixels.itemsize}", COLOUR_LAYOUTS)
    return _to_rgb(pixels, layout)


def image_to_depth(msg: Image) -> np.ndarray:
    """
    Convert a depth image message (REP 118) to metres.

    Parameters
    ----------
    msg : sensor_msgs.msg.Image
        ``32FC1`` in metres, or ``16UC1`` (also as ``mono16``) in millimetres with 0 for invalid.

    Returns
    -------
    numpy.ndarray
        float32 [height, width], metres; NaN where the message has NaN, an infinity, zero or a negative value.

    Raises
    ------
    ValueError
        If the encoding is not supported, or size, step and data length do not match.
    """
    layout = find_layout(msg.encoding, DEPTH_LAYOUTS)
    pixels = _pixels(msg, layout)
    depth = pixels if layout.dtype == "f4" else pixels / np.float32(1000.0)
    return np.where((depth > 0.0) & (depth < np.inf), depth, np.float32(np.nan))


def rgb_to_image(rgb: np.ndarray, header: Header | None = None, encoding: str = "rgb8") -> Image:
    """
    Convert an RGB array to an image message.

    Parameters
    ----------
    rgb : numpy.ndarray
        uint8 [height, width, 3].
    header : std_msgs.msg.Header, optional
        Stamp and frame id.
    encoding : str
        ``rgb8``, ``bgr8``, ``rgba8``, ``bgra8`` or ``mono8``.

    Raises
    ------
    ValueError
        If the array has another dtype or shape, or the encoding is not supported.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ValueError(f"an RGB image is uint8 [height, width, 3], got {rgb.dtype} {list(rgb.shape)}")
    if encoding not in _FROM_RGB:
        raise ValueError(f"cannot write an image as '{encoding}'; choose one of {choices(_FROM_RGB, encoding)}")
    code = _FROM_RGB[encoding]
    return _image(rgb if code is None else cv2.cvtColor(rgb, code), header, encoding)


def depth_to_image(
    depth: np.ndarray, header: Header | None = None, encoding: str = "32FC1", out: Image | None = None
) -> Image:
    """
    Convert depth to a depth image message (REP 118).

    Parameters
    ----------
    depth : numpy.ndarray
        float32 [height, width], metres, NaN invalid.
    header : std_msgs.msg.Header, optional
        Stamp and frame id.
    encoding : str
        ``32FC1``: metres, unchanged. ``16UC1``: millimetres, rounded; invalid depth and depth above 65.535 m become 0.
    out : sensor_msgs.msg.Image, optional
        Message to fill and return; its memory is reused if the size is the same.

    Raises
    ------
    ValueError
        If the array is not [height, width], or the encoding is not supported.
    """
    if depth.ndim != 2 or depth.size == 0:
        raise ValueError(f"a depth image is [height, width], got {list(depth.shape)}")
    if encoding == "32FC1":
        return _image(np.asarray(depth, np.float32), header, encoding, out)
    if encoding == "16UC1":
        millimetres = np.rint(depth * np.float32(1000.0))
        fits = (millimetres > 0.0) & (millimetres <= 65535.0)
        return _image(np.where(fits, millimetres, 0.0).astype(np.uint16), header, encoding, out)
    raise ValueError(f"cannot write depth as '{encoding}'; choose 32FC1 (metres) or 16UC1 (millimetres)")


def _to_rgb(pixels: np.ndarray, layout: Layout) -> np.ndarray:
    """Convert stored pixels to 8-bit RGB."""
    if layout.code is not None:
        pixels = cv2.cvtColor(pixels, layout.code)
    return pixels if layout.dtype == "u1" else cv2.convertScaleAbs(pixels, alpha=255 / 65535)


def _pixels(msg: Image, layout: Layout) -> np.ndarray:
    """Check sizes and return a view of the stored rows, [rows, width] or [rows, width, channels]."""
    width, height, step, size = int(msg.width), int(msg.height), int(msg.step), len(msg.data)
    name = f"image message ({msg.encoding}, {width}x{height})"
    if width <= 0 or height <= 0:
        raise ValueError(f"{name} has no pixels; width and height must be positive")
    if width % layout.even[0] or height % layout.even[1]:
        raise ValueError(f"{name} must have an even {'width' if layout.even[1] == 1 else 'width and height'}")
    native = np.dtype(layout.dtype)
    pixel = layout.channels * native.itemsize
    if step < width * pixel:
        raise ValueError(f"{name} has step {step}, but one row needs at least {width * pixel} bytes")
    rows = height * layout.rows_per_two // 2
    if size != rows * step:
        raise ValueError(f"{name} holds {size} bytes of data, but {rows} rows of step {step} make {rows * step}")
    shape = (rows, width, layout.channels)
    strides = (step, pixel, native.itemsize)
    stored = native.newbyteorder(">" if msg.is_bigendian else "<")
    pixels: np.ndarray = np.ndarray(shape, stored, msg.data, 0, strides)
    pixels.flags.writeable = False
    if layout.channels == 1:
        pixels = pixels[..., 0]
    # OpenCV accepts rows of any step, but needs values aligned and in the host's byte order.
    return pixels if native.itemsize == 1 else np.require(pixels, native, ["C", "A"])


def _image(pixels: np.ndarray, header: Header | None, encoding: str, out: Image | None = None) -> Image:
    msg = Image() if out is None else out
    msg.header = Header() if header is None else header
    msg.height, msg.width = pixels.shape[:2]
    msg.encoding, msg.step, msg.is_bigendian = encoding, pixels[0].nbytes, int(_BIG_ENDIAN_HOST)
    fill(msg, pixels)
    return msg
