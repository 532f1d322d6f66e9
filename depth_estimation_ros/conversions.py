"""Between ``sensor_msgs`` and numpy: the only place that touches the bytes of a message."""

from __future__ import annotations

import array
import sys

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.encodings import COLOUR_LAYOUTS, DEPTH_LAYOUTS, Layout, find_layout
from depth_estimation_ros.geometry.rectify import Lens

_BIG_ENDIAN_HOST = sys.byteorder == "big"
# How JPEG and PNG begin, and what they end with.
_PICTURES = {b"\xff\xd8": b"\xff\xd9", b"\x89PNG": b"IEND"}
_FROM_RGB = {
    "rgb8": None,
    "bgr8": cv2.COLOR_RGB2BGR,
    "rgba8": cv2.COLOR_RGB2RGBA,
    "bgra8": cv2.COLOR_RGB2BGRA,
    "mono8": cv2.COLOR_RGB2GRAY,
}


def image_to_rgb(msg: Image) -> np.ndarray:
    """
    Decode an image message to RGB.

    The result is what ``cv_bridge`` gives for ``rgb8`` where it converts the encoding: 16 bits are
    scaled to 8 by 255 / 65535 and rounded, Bayer mosaics are demosaiced bilinearly, YUV is BT.601 of
    limited range. Beyond it: ``8UC1`` and ``16UC1`` are grey, ``8UC3`` and ``8UC4`` are in OpenCV's order
    (BGR, BGRA), and ``nv12`` and ``nv21`` hold a half-height chroma plane after ``height`` rows of luma
    (``step * height * 3 / 2`` bytes of data, as in ``sensor_msgs/image_encodings.hpp``).

    Parameters
    ----------
    msg : sensor_msgs.msg.Image
        Any encoding of `encodings.COLOUR_LAYOUTS`, any row padding, either byte order.

    Returns
    -------
    numpy.ndarray
        uint8 [height, width, 3]. For ``rgb8`` a read-only view of the message's bytes, with their row
        padding as stride; else a new contiguous array.

    Raises
    ------
    ValueError
        If the encoding is not known, or size, step and data length do not agree.
    """
    layout = find_layout(msg.encoding, COLOUR_LAYOUTS)
    pixels = _pixels(msg, layout)
    if layout.code is not None:
        pixels = cv2.cvtColor(pixels, layout.code)
    return pixels if layout.dtype == "u1" else cv2.convertScaleAbs(pixels, alpha=255 / 65535)


def compressed_to_rgb(msg: CompressedImage) -> np.ndarray:
    """
    Decode a compressed image message to RGB.

    Parameters
    ----------
    msg : sensor_msgs.msg.CompressedImage
        JPEG, PNG, or what else OpenCV reads; the pixels are taken in the order in which image_transport writes them.

    Returns
    -------
    numpy.ndarray
        uint8 [height, width, 3].

    Raises
    ------
    ValueError
        If the data is cut off, is no picture, or is compressed depth.
    """
    data = np.frombuffer(msg.data, np.uint8)
    what = f"the compressed image (format '{msg.format}', {data.size} bytes)"
    if "compressedDepth" in msg.format:
        raise ValueError(f"{what} is depth, not colour; remap image to the colour camera")
    # OpenCV fills what is missing of a cut-off picture with grey and says nothing.
    start, end = data[:8].tobytes(), data[-64:].tobytes()
    ending = next((last for first, last in _PICTURES.items() if start.startswith(first)), b"")
    if ending not in end:
        raise ValueError(f"{what} is cut off; look for losses on the way from the camera")
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    if pixels is None:
        raise ValueError(f"{what} cannot be decoded; JPEG and PNG can")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def image_to_depth(msg: Image) -> np.ndarray:
    """
    Decode a depth image (REP 118).

    Parameters
    ----------
    msg : sensor_msgs.msg.Image
        ``32FC1`` in metres, or ``16UC1`` (also named ``mono16``) in millimetres with 0 as invalid.

    Returns
    -------
    numpy.ndarray
        float32 [height, width], metres; NaN where the message holds NaN, an infinity, zero or less.

    Raises
    ------
    ValueError
        If the encoding is not known, or size, step and data length do not agree.
    """
    layout = find_layout(msg.encoding, DEPTH_LAYOUTS)
    pixels = _pixels(msg, layout)
    depth = pixels if layout.dtype == "f4" else pixels / np.float32(1000.0)
    return np.where((depth > 0.0) & (depth < np.inf), depth, np.float32(np.nan))


def rgb_to_image(rgb: np.ndarray, header: Header | None = None, encoding: str = "rgb8") -> Image:
    """
    Make an image message of an RGB array.

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
        If the array is not such an image or the encoding is another.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ValueError(f"an RGB image is uint8 [height, width, 3], got {rgb.dtype} {list(rgb.shape)}")
    if encoding not in _FROM_RGB:
        raise ValueError(f"cannot write an image as '{encoding}'; choose one of {', '.join(_FROM_RGB)}")
    code = _FROM_RGB[encoding]
    return _image(rgb if code is None else cv2.cvtColor(rgb, code), header, encoding)


def depth_to_image(
    depth: np.ndarray, header: Header | None = None, encoding: str = "32FC1", out: Image | None = None
) -> Image:
    """
    Make a depth image message (REP 118).

    Parameters
    ----------
    depth : numpy.ndarray
        float32 [height, width], metres, NaN invalid.
    header : std_msgs.msg.Header, optional
        Stamp and frame id.
    encoding : str
        ``32FC1``: the metres as they are. ``16UC1``: millimetres, rounded; invalid depths and those
        beyond 65.535 m become 0.
    out : sensor_msgs.msg.Image, optional
        A message to fill and return; its memory is used again if the size is the same.

    Raises
    ------
    ValueError
        If the array is not a depth image or the encoding is another.
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


def camera_from_info(msg: CameraInfo) -> PinholeCamera:
    """
    Read the intrinsics of the image that a camera_info message accompanies, where that is rectified or needs not be.

    They are taken from ``K``, or from ``P`` where the lens has distortion and the image is therefore a rectified one;
    these describe the full sensor, and are cropped by ``roi`` and scaled by ``binning`` as the message says.

    Raises
    ------
    ValueError
        If the size is zero, or the intrinsics are zero or not finite (an uncalibrated camera).
    """
    rectified = any(msg.d) and msg.p[0] > 0
    fx, cx, fy, cy = (float(msg.p[i]) for i in (0, 2, 5, 6)) if rectified else (float(msg.k[i]) for i in (0, 2, 4, 5))
    try:
        return _windowed(PinholeCamera(int(msg.width), int(msg.height), fx, fy, cx, cy), msg)
    except ValueError as error:
        raise ValueError(f"camera_info cannot be used: {error}") from None


def lens_from_info(msg: CameraInfo) -> Lens:
    """
    Read the intrinsics and the distortion of the image that a camera_info message accompanies, as it comes.

    Raises
    ------
    ValueError
        As `camera_from_info`, and if the distortion model or its coefficients are not known.
    """
    try:
        calibration = (msg.k, msg.d, msg.distortion_model, msg.r, msg.p)
        return _windowed(Lens.from_calibration(int(msg.width), int(msg.height), *calibration), msg)
    except ValueError as error:
        raise ValueError(f"camera_info cannot be used: {error}") from None


def _windowed(whole: PinholeCamera | Lens, msg: CameraInfo):
    """Return what ``roi`` and ``binning`` of a message leave of the full sensor's camera or lens."""
    roi, bins = msg.roi, (max(msg.binning_x, 1), max(msg.binning_y, 1))
    width, height = int(msg.width), int(msg.height)
    if roi.width and roi.height:
        width, height = roi.width, roi.height
        whole = whole.cropped(roi.x_offset, roi.y_offset, width, height)
    return whole if bins == (1, 1) else whole.resized(width // bins[0], height // bins[1])


def camera_to_info(camera: PinholeCamera, header: Header | None = None) -> CameraInfo:
    """Make the camera_info message of an undistorted camera (``plumb_bob`` with zero coefficients)."""
    c = camera
    msg = CameraInfo(width=c.width, height=c.height, distortion_model="plumb_bob", d=[0.0] * 5)
    msg.header = Header() if header is None else header
    msg.k = [c.fx, 0.0, c.cx, 0.0, c.fy, c.cy, 0.0, 0.0, 1.0]
    msg.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    msg.p = [c.fx, 0.0, c.cx, 0.0, 0.0, c.fy, c.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return msg


def cloud_to_message(points: np.ndarray, header: Header | None = None) -> PointCloud2:
    """
    Make the message of an organised coloured cloud, in the layout of PCL, RViz and ``sensor_msgs_py``.

    Parameters
    ----------
    points : numpy.ndarray
        float32 [height, width, 4] as `geometry.point_cloud` makes it: x, y, z in metres (NaN invalid),
        and colour as the bits 0x00RRGGBB.
    header : std_msgs.msg.Header, optional
        Stamp and frame id.

    Raises
    ------
    ValueError
        If the array is not such a cloud.
    """
    if points.dtype != np.float32 or points.ndim != 3 or points.shape[2] != 4 or points.size == 0:
        raise ValueError(f"a cloud is float32 [height, width, 4], got {points.dtype} {list(points.shape)}")
    msg = _empty_cloud(points.shape[1], points.shape[0])
    msg.header = Header() if header is None else header
    _fill(msg, points)
    return msg


def new_cloud(width: int, height: int) -> PointCloud2:
    """Make a cloud message with room for width x height points, to be written through `points_of`."""
    msg = _empty_cloud(width, height)
    msg.data.frombytes(bytes(16 * width * height))
    return msg


def points_of(msg: PointCloud2) -> np.ndarray:
    """
    View the points of a message of `new_cloud` or `cloud_to_message`.

    Returns
    -------
    numpy.ndarray
        float32 [height, width, 4], writable: `geometry.point_cloud` can write straight into the message.
    """
    return np.frombuffer(msg.data, np.float32).reshape(msg.height, msg.width, 4)


def message_to_cloud(msg: PointCloud2) -> tuple[np.ndarray, np.ndarray]:
    """
    Read a cloud with ``x``, ``y``, ``z`` and a packed ``rgb`` (or ``rgba``) field.

    Returns
    -------
    xyz : numpy.ndarray
        float32 [height, width, 3], metres.
    rgb : numpy.ndarray
        uint8 [height, width, 3].

    Raises
    ------
    ValueError
        If a field is missing, or sizes and data length do not agree.
    """
    fields = {field.name for field in msg.fields}
    colour = "rgb" if "rgb" in fields else "rgba"
    if not {"x", "y", "z", colour} <= fields:
        raise ValueError(f"a coloured cloud has the fields x, y, z and rgb, got {', '.join(fields) or 'none'}")
    packed = _plane(msg, colour, "u4")
    rgb = np.stack([(packed >> shift).astype(np.uint8) for shift in (16, 8, 0)], axis=-1)
    return message_to_points(msg), rgb


def message_to_points(msg: PointCloud2) -> np.ndarray:
    """
    Read the places of any cloud's points.

    Returns
    -------
    numpy.ndarray
        float32 [height, width, 3], metres.

    Raises
    ------
    ValueError
        If ``x``, ``y`` or ``z`` is missing or no floating-point number, or sizes and data length do not agree.
    """
    kinds = {PointField.FLOAT32: "f4", PointField.FLOAT64: "f8"}
    found = {field.name: kinds.get(field.datatype) for field in msg.fields}
    if not all(found.get(name) for name in "xyz"):
        names = ", ".join(found) or "none"
        raise ValueError(f"a cloud has the fields x, y and z as FLOAT32 or FLOAT64, got the fields {names}")
    return np.stack([_plane(msg, name, found[name]).astype(np.float32) for name in "xyz"], axis=-1)


def _plane(msg: PointCloud2, name: str, kind: str) -> np.ndarray:
    """View one field of a cloud, [height, width]."""
    offset = next(field.offset for field in msg.fields if field.name == name)
    fits = msg.row_step >= msg.width * msg.point_step and len(msg.data) == msg.height * msg.row_step
    if not fits or offset + int(kind[1]) > msg.point_step:
        raise ValueError(
            f"cloud of {msg.width}x{msg.height} points of {msg.point_step} bytes, row_step {msg.row_step}, "
            f"does not fit its {len(msg.data)} bytes of data"
        )
    order = ">" if msg.is_bigendian else "<"
    return np.ndarray((msg.height, msg.width), order + kind, msg.data, offset, (msg.row_step, msg.point_step))


def _pixels(msg: Image, layout: Layout) -> np.ndarray:
    """View the stored rows, [rows, width] or [rows, width, channels], once the message's numbers agree."""
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
    pixels = np.ndarray(shape, stored, msg.data, 0, strides)
    pixels.flags.writeable = False
    if layout.channels == 1:
        pixels = pixels[..., 0]
    # OpenCV takes rows of any step, but wants numbers in the host's order and aligned.
    return pixels if native.itemsize == 1 else np.require(pixels, native, ["C", "A"])


def _image(pixels: np.ndarray, header: Header | None, encoding: str, out: Image | None = None) -> Image:
    msg = Image() if out is None else out
    msg.header = Header() if header is None else header
    msg.height, msg.width = pixels.shape[:2]
    msg.encoding, msg.step, msg.is_bigendian = encoding, pixels[0].nbytes, int(_BIG_ENDIAN_HOST)
    _fill(msg, pixels)
    return msg


def _empty_cloud(width: int, height: int) -> PointCloud2:
    msg = PointCloud2(height=height, width=width, point_step=16, row_step=16 * width, is_dense=False)
    msg.is_bigendian = _BIG_ENDIAN_HOST
    msg.fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(("x", "y", "z", "rgb"))
    ]
    return msg


def _fill(msg: Image | PointCloud2, pixels: np.ndarray) -> None:
    """Copy an array into a message in one memcpy; assigning to ``msg.data`` would copy element by element."""
    stored = memoryview(np.ascontiguousarray(pixels)).cast("B")
    if len(msg.data) == len(stored):
        memoryview(msg.data)[:] = stored
    else:
        msg.data = array.array("B")
        msg.data.frombytes(stored)
