"""
Hostile input as hypothesis strategies: good messages, pictures, models and settings, and what can become of them.

A mutated message is a good one of which some fields were changed, whatever its type: the fields' ROS types say what
they may hold. Mutated bytes are real ones of a file, cut, overwritten, doubled.
"""

from __future__ import annotations

import array
import json
import math
import reprlib
from dataclasses import asdict
from functools import lru_cache

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2, PointField, Range
from std_msgs.msg import Header

from depth_estimation_ros.conversions.encodings import COLOUR_LAYOUTS, DEPTH_LAYOUTS
from depth_estimation_ros.geometry.lens import MODELS
from depth_estimation_ros.model import ModelInfo
from depth_estimation_ros.parameters.declaration import Effect
from depth_estimation_ros.settings import Settings

CAMERA_SIZES = ((640, 480), (1280, 720), (1920, 1080))
FRAMES = ("camera_optical_frame", "base_link", "lidar", "", "/base_link")
LAYOUTS = {**COLOUR_LAYOUTS, **DEPTH_LAYOUTS}

sizes = st.tuples(st.integers(1, 70), st.integers(1, 70)) | st.sampled_from(CAMERA_SIZES)
"""(width, height) of an image: odd and small ones, and those of cameras."""

small_sizes = st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.sampled_from([(64, 48), (96, 72)])


def _print_short(message, printer, _cycle) -> None:
    """Print a message of a failing example without its thousands of bytes; its seed makes it again."""
    parts = [f"{name}={reprlib.repr(getattr(message, name))}" for name in message.get_fields_and_field_types()]
    printer.text(f"{type(message).__name__}({', '.join(parts)})")


for _type in (Image, CompressedImage, CameraInfo, LaserScan, PointCloud2, Range):
    _type._repr_pretty_ = _print_short


# Values of fields


def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    edges = {low, low + 1, -1, 0, 1, 2, 3, 100, 65535, high // 2, high // 2 + 1, high - 1, high}
    return st.sampled_from(sorted(e for e in edges if low <= e <= high)) | st.integers(low, high)


def _floats(width: int) -> st.SearchStrategy[float]:
    # Not the very largest of 32 bits, which rclpy's own checks of a message that is made here refuse.
    largest = 3.4e38 if width == 32 else float(np.finfo("f8").max)
    edges = [0.0, -0.0, 1.0, -1.0, 1e-6, 1e6, 1e-30, 1e30, largest, -largest, math.nan, math.inf, -math.inf]
    edges = [float(np.array(edge, f"f{width // 8}")) for edge in edges]
    return st.sampled_from(edges) | st.floats(min(edges[8:10]), max(edges[8:10]), width=width)


NUMBERS = {f"uint{bits}": _integers(0, 2**bits - 1) for bits in (8, 16, 32, 64)}
NUMBERS |= {f"int{bits}": _integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)}
NUMBERS |= {"float": _floats(32), "double": _floats(64), "boolean": st.booleans()}

_KNOWN = {
    "encoding": [*LAYOUTS, "RGB8", "rgb565", "8UC2", "32FC3", "64FC1", "h264"],
    "distortion_model": [*MODELS, "", "none", "fisheye", "kannala_brandt", "brown_conrady"],
    "format": ["jpeg", "png", "rgb8; jpeg compressed bgr8", "16UC1; compressedDepth png", "32FC1; compressedDepth rvl"],
    "frame_id": list(FRAMES),
    "child_frame_id": list(FRAMES),
    "name": ["x", "y", "z", "rgb", "rgba", "intensity"],
}
_ODD = ["", " ", "\n", "two\nlines", "\r", "\x00", "\x1b[2J", "\u2028", "{}", "%s", "ä\U0001f600", "/", "~", "a" * 5000]


def texts(name: str = "") -> st.SearchStrategy[str]:
    """Return texts for a field of a name."""
    return st.sampled_from(_KNOWN.get(name, FRAMES)) | st.sampled_from(_ODD) | st.text(max_size=30)


@st.composite
def data_of(draw, size: int) -> array.array:
    """Make so many bytes: all the same, or noise."""
    noise = np.random.default_rng(draw(st.integers(0, 99)))
    content = draw(st.sampled_from([b"\0", b"\xff", b"\x7f", noise.bytes(257)]))
    return array.array("B", (content * (size // len(content) + 1))[:size])


# What becomes of good input


@st.composite
def mutated_bytes(draw, original: bytes, edits: int = 3) -> bytes:
    """Overwrite, cut, remove, insert or double parts of real bytes; the ends of a file are met as often as the rest."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, edits))):
        if not data:
            break
        last = len(data) - 1
        at = draw(st.integers(0, last) | st.integers(0, min(last, 200)) | st.integers(max(0, last - 200), last))
        what = draw(st.sampled_from(["overwrite", "overwrite", "bit", "number", "cut", "remove", "insert", "double"]))
        if what == "overwrite":
            content = draw(st.binary(min_size=1, max_size=16))
            data[at : at + len(content)] = content
        elif what == "bit":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif what == "number":
            bits = draw(st.sampled_from([8, 16, 32, 64]))
            content = draw(NUMBERS[f"uint{bits}"]).to_bytes(bits // 8, draw(st.sampled_from(["little", "big"])))
            data[at : at + len(content)] = content
        elif what == "cut":
            del data[at:]
        elif what == "remove":
            del data[at : at + draw(st.integers(1, 300))]
        elif what == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=16)) * draw(st.sampled_from([1, 1, 50]))
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 300))]
    return bytes(data)


@st.composite
def mutated(draw, good: st.SearchStrategy, most: int = 3):
    """Make a good message of which up to so many fields are changed."""
    message = draw(good)
    for _ in range(draw(st.integers(0, most))):
        _change(draw, message)
    return message


def _change(draw, message) -> None:
    kinds = message.get_fields_and_field_types()
    name = draw(st.sampled_from(sorted(kinds)))
    setattr(message, name, _changed(draw, name, kinds[name], getattr(message, name)))


def _changed(draw, name: str, kind: str, value):
    if kind in NUMBERS:
        if not kind.startswith("uint"):
            return draw(NUMBERS[kind])
        most = 2 ** int(kind.removeprefix("uint")) - 1
        return draw(st.sampled_from([max(0, value - 1), min(value + 1, most), min(2 * value, most)]) | NUMBERS[kind])
    if kind == "string":
        return draw(texts(name))
    if kind.startswith("sequence<"):
        return _sequence(draw, name, kind[len("sequence<") : -1], value)
    if kind.endswith("]"):
        numbers, changed = NUMBERS[kind[: kind.index("[")]], value.copy()
        if draw(st.booleans()):
            changed[draw(st.integers(0, len(changed) - 1))] = draw(numbers)
        else:
            changed[:] = draw(numbers)
        return changed
    _change(draw, value)  # a message in the message
    return value


def _sequence(draw, name: str, kind: str, value):
    """Change an item, or how many there are; of bytes, where in them."""
    what = draw(st.sampled_from(["item", "cut", "longer", "none"]))
    at = draw(st.integers(0, max(0, len(value) - 1)))
    if what == "none" or (what != "longer" and not len(value)):
        return value[:0]
    if what == "cut":
        return value[:at]
    if what == "longer":
        return value + value[at:]
    value[at] = _changed(draw, name, kind, value[at])
    return value


# Good messages


@st.composite
def headers(draw, frame: str | None = None) -> Header:
    """Make a header of a frame and of a time within a second."""
    frame_id = draw(st.sampled_from(FRAMES[:2])) if frame is None else frame
    return Header(stamp=Time(sec=100, nanosec=draw(st.integers(0, 999_999_999))), frame_id=frame_id)


@st.composite
def images(draw, size=sizes, layouts=LAYOUTS) -> Image:
    """Make an image of any encoding, row padding and byte order."""
    encoding = draw(st.sampled_from(sorted(layouts)))
    layout, (width, height) = layouts[encoding], draw(size)
    width, height = (side + side % even for side, even in zip((width, height), layout.even, strict=True))
    step = width * layout.channels * np.dtype(layout.dtype).itemsize + draw(st.sampled_from([0, 0, 1, 7]))
    image = Image(header=draw(headers()), width=width, height=height, encoding=encoding, step=step)
    image.is_bigendian = draw(st.integers(0, 1))
    image.data = draw(data_of(step * (height * layout.rows_per_two // 2)))
    return image


@lru_cache(maxsize=64)
def encoded(suffix: str, width: int, height: int, kind: str = "rgb") -> bytes:
    """Return a picture as a file of a format: of colours, grey, or 16-bit depth."""
    ramp = np.add.outer(np.arange(height), np.arange(width))
    pixels = {
        "rgb": np.dstack([ramp % 251, ramp % 97, ramp % 31]).astype(np.uint8),
        "grey": (ramp % 251).astype(np.uint8),
        "depth": (500 + ramp % 4000).astype(np.uint16),
    }
    return cv2.imencode(suffix, pixels[kind])[1].tobytes()


@st.composite
def compressed_images(draw, size=sizes) -> CompressedImage:
    """Make a JPEG or PNG, or depth as compressed_depth_image_transport sends it, sometimes with changed bytes."""
    suffix, kind, form = draw(
        st.sampled_from(
            [
                (".jpg", "rgb", "jpeg"),
                (".png", "rgb", "rgb8; png compressed bgr8"),
                (".jpg", "grey", "mono8; jpeg compressed "),
                (".png", "depth", "16UC1; compressedDepth png"),
                (".png", "depth", "32FC1; compressedDepth png"),
            ]
        )
    )
    data = encoded(suffix, *draw(size), kind)
    if kind == "depth":
        data = np.array([0], np.int32).tobytes() + np.array([10100.0, -1009.0], np.float32).tobytes() + data
    if draw(st.integers(0, 2)) == 0:
        data = draw(mutated_bytes(data))
    return CompressedImage(header=draw(headers()), format=form, data=array.array("B", data))


@st.composite
def camera_infos(draw, size=sizes) -> CameraInfo:
    """Make the camera_info of a lens of any model, with or without P, region and binning."""
    width, height = draw(size)
    focal = draw(st.floats(0.3, 3.0)) * max(width, height)
    c = (0.5 * (width - 1), 0.5 * (height - 1))
    info = CameraInfo(header=draw(headers()), width=width, height=height)
    info.distortion_model = draw(st.sampled_from(sorted(MODELS)))
    count = draw(st.sampled_from([0, *MODELS[info.distortion_model]]))
    info.d = draw(
        st.lists(st.sampled_from([0.0, -0.3, 0.1, 0.001, 1.0]) | st.floats(-1, 1), min_size=count, max_size=count)
    )
    info.k = [focal, 0.0, c[0], 0.0, focal, c[1], 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    if draw(st.booleans()):
        info.p = [focal, 0.0, c[0], 0.0, 0.0, focal, c[1], 0.0, 0.0, 0.0, 1.0, 0.0]
    info.binning_x, info.binning_y = draw(st.sampled_from([(0, 0), (0, 0), (1, 1), (2, 2)]))
    if draw(st.integers(0, 5)) == 0:
        info.roi.x_offset, info.roi.width = width // 4, max(1, width // 2)
        info.roi.y_offset, info.roi.height = height // 4, max(1, height // 2)
    return info


@st.composite
def scans(draw) -> LaserScan:
    """Make a scan of a lidar."""
    count = draw(st.integers(0, 80) | st.sampled_from([720, 2000]))
    scan = LaserScan(header=draw(headers()), angle_min=-1.57, angle_max=1.57, angle_increment=3.14 / max(1, count - 1))
    scan.range_min, scan.range_max, scan.scan_time = 0.05, 30.0, 0.1
    if draw(st.booleans()):
        scan.ranges = array.array("f", [draw(st.floats(0.0, 40.0, width=32))] * count)
    else:
        scan.ranges = array.array("f", draw(st.lists(NUMBERS["float"], max_size=30)))
    return scan


@st.composite
def clouds(draw, size=sizes) -> PointCloud2:
    """Make a cloud with x, y, z and colour, packed or with room between, of either precision and byte order."""
    kind, code = draw(st.sampled_from([("f4", PointField.FLOAT32), ("f8", PointField.FLOAT64)]))
    width, height = draw(size)
    bytes_each = int(kind[1])
    names, gap = ("x", "y", "z", "rgb"), draw(st.sampled_from([0, 0, 4]))
    cloud = PointCloud2(header=draw(headers()), width=width, height=height, is_dense=draw(st.booleans()))
    cloud.fields = [
        PointField(name=name, offset=gap + k * bytes_each, datatype=code, count=1) for k, name in enumerate(names)
    ]
    cloud.point_step = gap + 4 * bytes_each
    cloud.row_step = width * cloud.point_step + draw(st.sampled_from([0, 0, 8]))
    cloud.is_bigendian = draw(st.booleans())
    cloud.data = draw(data_of(cloud.row_step * height))
    return cloud


@st.composite
def ranges(draw) -> Range:
    """Make a reading of a range sensor."""
    reading = Range(header=draw(headers()), field_of_view=0.4, min_range=0.02, max_range=4.0)
    reading.radiation_type = draw(st.integers(0, 1))
    reading.range = draw(st.floats(0.0625, 4.0, width=32))
    return reading


@st.composite
def transforms(draw, frame: str = "base_link") -> TransformStamped:
    """Make a transform that says where the camera is on the robot."""
    at = Vector3(x=draw(st.floats(-1, 1)), y=draw(st.floats(-1, 1)), z=draw(st.floats(0.1, 2.0)))
    turn = Quaternion(x=-0.5, y=0.5, z=-0.5, w=0.5)
    return TransformStamped(
        header=draw(headers(frame)),
        child_frame_id=FRAMES[0],
        transform=Transform(translation=at, rotation=turn),
    )


references = {"scan": scans(), "points": clouds(small_sizes), "range": ranges()}
"""Messages of true distances, by the value of the parameter ``anchor``."""


# Models and settings

INFO = ModelInfo("tiny", 8, 6, 7.5, 0.5, 10.0, "none", "Apache-2.0", "0" * 64)

_json = st.recursive(
    st.none() | st.booleans() | NUMBERS["int64"] | NUMBERS["double"] | texts() | st.just(10**400) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def metadata(draw) -> str:
    """Make the metadata entry of a model: other values, others missing or added, other text."""
    values = json.loads(INFO.to_json())
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from([*asdict(INFO), "schema_version", "more"]))
        if draw(st.booleans()):
            values[name] = draw(_json)
        else:
            values.pop(name, None)
    text = json.dumps(values)
    what = draw(st.integers(0, 5))
    if what == 0:
        return draw(mutated_bytes(text.encode("utf-8", "replace"))).decode("utf-8", "replace")
    if what == 1:
        return draw(st.sampled_from(["", "null", "[" * 100_000, '{"schema_version":' * 5000, "NaN", "1" * 5000]))
    return text


def setting(name: str) -> st.SearchStrategy:
    """Return values of a parameter's type, allowed or not."""
    declaration = Settings.declarations()[name]
    default = declaration.default
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, str):
        return st.sampled_from([default, *map(str, declaration.choices)]) | texts()
    low, high = declaration.limits if declaration.bounded else (-400, 400)
    if isinstance(default, int):
        return st.sampled_from([default, *declaration.choices]) | st.integers(int(low), int(high)) | NUMBERS["int64"]
    tiny = [low, high, low + 1e-9, 1e-9, 1e-3, 5e-324, high - 1e-9]
    return st.sampled_from([default, *tiny]) | st.floats(low, high) | NUMBERS["double"]


def values_of_settings(effects=tuple(Effect), most: int = 4) -> st.SearchStrategy[dict]:
    """Return new values of some parameters that take effect at some times."""
    names = [name for name, declaration in Settings.declarations().items() if declaration.effect in effects]
    chosen = st.lists(st.sampled_from(names), max_size=most, unique=True)
    return chosen.flatmap(lambda them: st.fixed_dictionaries({name: setting(name) for name in them}))
