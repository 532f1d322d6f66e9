"""What the viewer shows: images, depth, clouds, transforms and curves, logged to Rerun."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import rerun as rr
import rerun.blueprint as rrb

from depth_estimation_ros.imaging.preview import scale_bar

APPLICATION = "depth_estimation_ros"
TIMELINE, FRAME = "time", "frame"

LEGEND, IMAGE, DEPTH, TRUTH, TEXT = "legend", "image", "depth", "truth", "text"
WORLD, LATENCY, SCALE = "world", "latency", "anchor_scale"
"""Entities: the views of `layout` show them."""

NEAR = 0.0
"""Near end of the colour scale in metres. The far end is the node's ``max_depth``."""

NO_DEPTH = 65535
"""Invalid depth in a file, whose depth is in millimetres."""

_COLOUR_MAP = "turbo"  # that of depth/preview by default
_LIVE_WIDTH, _FILE_WIDTH, _DEPTH_WIDTH = 320, 480, 160  # pixels
_JPEG_QUALITY = 70
_UNITS = 1000.0  # of depth in a file, per metre
_ROUNDING = 256  # per metre; coordinates with few bits compress well
_MOST_POINTS = 10_000
_AXIS_LENGTH = 0.25  # metres
_CURVE_COLOURS = ((217, 95, 2), (27, 158, 119), (117, 112, 179), (102, 166, 30))


def depth_of(model: str) -> str:
    """Return the entity of a model's depth in an evaluation."""
    return f"{DEPTH}/{_part(model)}"


def error_of(model: str) -> str:
    """Return the entity of a model's error in an evaluation."""
    return f"error/{_part(model)}"


def _part(name: str) -> str:
    return re.sub(r"\W+", "_", name)


class Scene:
    """
    Everything one view shows. It is sent to a viewer, to a file, or both.

    Memory and transmission are kept small. A browser gets images of at most 320 pixels in YUV 4:2:0, because one
    without a GPU does not keep up with decoding JPEG, and depth of at most 160 pixels in float16 (4 mm below 8 m). A
    file has JPEG and PNG. A cloud has at most 10,000 points, rounded to 4 mm.

    Parameters
    ----------
    far : float
        Far end of the colour scale, metres.
    depth_width : int
        Maximum width of depth images, pixels.
    """

    def __init__(self, far: float, depth_width: int = _DEPTH_WIDTH):
        self._far, self._depth_width = far, depth_width
        self._recording_id = np.random.default_rng().bytes(8).hex()
        self._live: rr.RecordingStream | None = None
        self._file: rr.RecordingStream | None = None
        self._layout: rrb.Blueprint | None = None
        self._series: dict[str, tuple[str, ...]] = {}
        self._frames: dict[str, str] = {}

    def connect(self, url: str) -> None:
        """Send to a server from now on, in place of an earlier one. What does not change is sent again."""
        stream = self._new_stream()
        stream.connect_grpc(url)
        self._live = stream
        self._begin(stream)

    def save(self, path: Path) -> None:
        """
        Write a recording (.rrd) from now on.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        with open(path, "wb"):
            pass  # Rerun itself reports a bad path only in its log
        self._file = self._new_stream()
        self._file.save(path)
        self._begin(self._file)

    def close(self, patience: float = 5.0) -> None:
        """Complete the file, and give the viewer `patience` seconds to take what is under way."""
        if self._file is not None:
            self._file.flush()
            self._file.disconnect()
        self.flush(patience)
        self._live = self._file = None

    def flush(self, patience: float) -> bool:
        """Return whether the server has taken everything within `patience` seconds."""
        try:
            if self._live is not None:
                self._live.flush(timeout_sec=patience)
        except Exception:  # rerun raises plain RuntimeErrors, other ones in other versions
            return False
        return True

    def show(self, layout: rrb.Blueprint) -> None:
        """Arrange the views. The viewer drops what its user had arranged."""
        self._layout = layout
        for stream in self._streams:
            stream.send_blueprint(layout)

    def at(self, nanoseconds: int) -> None:
        """Set the time of what the calling thread logs next."""
        for stream in self._streams:
            stream.set_time(TIMELINE, timestamp=np.datetime64(nanoseconds, "ns"))

    def at_frame(self, number: int) -> None:
        """Set the number of the frame that the calling thread logs next, where there is no time."""
        for stream in self._streams:
            stream.set_time(FRAME, sequence=number)

    def image(self, entity: str, rgb: np.ndarray) -> None:
        """Log an RGB image, uint8 [h, w, 3]."""
        if self._file is not None:
            bgr = cv2.cvtColor(_shrunk(rgb, _FILE_WIDTH, cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
            jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
            self._file.log(entity, rr.EncodedImage(contents=jpeg, media_type="image/jpeg"))
        if self._live is not None:
            small = _shrunk(rgb, _LIVE_WIDTH, cv2.INTER_AREA)
            small = small[: small.shape[0] // 2 * 2, : small.shape[1] // 2 * 2]
            height, width = small.shape[:2]
            if not small.size:
                return
            planes = cv2.cvtColor(np.ascontiguousarray(small), cv2.COLOR_RGB2YUV_I420)
            yuv = rr.PixelFormat.Y_U_V12_LimitedRange
            self._live.log(entity, rr.Image(width=width, height=height, pixel_format=yuv, bytes=planes.tobytes()))

    def depth(self, entity: str, depth: np.ndarray) -> None:
        """
        Log depth, float32 [h, w] metres with NaN for invalid. The viewer shows the number under the pointer.

        A range from far to near gives near the warm colours, as in depth/preview. Invalid depth has the colour beyond
        the far end: it is infinite in the browser and 65535 in the file. What NaN looks like depends on the GPU.
        """
        if self._file is not None:
            metres = _shrunk(depth, self._depth_width, cv2.INTER_NEAREST)
            known = metres < NO_DEPTH / _UNITS
            stored = np.where(known, np.rint(np.where(known, metres, 0.0) * _UNITS), NO_DEPTH).astype(np.uint16)
            png = cv2.imencode(".png", stored)[1].tobytes()
            scale = {"meter": _UNITS, "colormap": _COLOUR_MAP, "depth_range": (self._far * _UNITS, NEAR)}
            self._file.log(entity, rr.EncodedDepthImage(png, media_type="image/png", **scale))
        if self._live is not None:
            metres = _shrunk(depth, self._depth_width, cv2.INTER_NEAREST)
            metres = np.where(np.isfinite(metres), metres, np.inf).astype(np.float16)
            self._live.log(
                entity, rr.DepthImage(metres, meter=1.0, colormap=_COLOUR_MAP, depth_range=(self._far, NEAR))
            )

    def points(
        self, name: str, xyz: np.ndarray, frame: str, rgb: np.ndarray | Sequence[int], radius: float = 0.015
    ) -> None:
        """
        Log points, of which those with NaN are left out.

        Parameters
        ----------
        name : str
            Name below the entity `WORLD`.
        xyz : numpy.ndarray
            float32 [..., 3], metres.
        frame : str
            TF frame of the points.
        rgb : numpy.ndarray or (int, int, int)
            uint8 [..., 3], or one colour.
        radius : float
            Radius in metres.
        """
        xyz = xyz.reshape(-1, 3)
        known = np.isfinite(xyz).all(axis=1)
        step = -(-np.count_nonzero(known) // _MOST_POINTS) or 1
        colours = rgb.reshape(-1, 3)[known][::step] if isinstance(rgb, np.ndarray) else rgb
        self._place(f"{WORLD}/{name}", frame)
        self._log(
            f"{WORLD}/{name}",
            rr.Points3D(np.rint(xyz[known][::step] * _ROUNDING) / _ROUNDING, colors=colours, radii=radius),
        )

    def transform(self, parent: str, child: str, pose: np.ndarray) -> None:
        """Log the pose of a TF frame in its parent, float [4, 4], with its axes."""
        entity = f"{WORLD}/tf/{child}"
        self._place(entity, child)
        self._log(
            entity,
            rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3], parent_frame=parent, child_frame=child),
            rr.TransformAxes3D(_AXIS_LENGTH),
        )

    def curves(self, entity: str, values: dict[str, float]) -> None:
        """Log one value of each curve of a plot."""
        names = tuple(values)
        if self._series.get(entity) != names:
            self._series[entity] = names
            self._log(entity, _series(names), static=True)
        self._log(entity, rr.Scalars(list(values.values())))

    def text(self, markdown: str) -> None:
        """Log a text."""
        self._log(TEXT, rr.TextDocument(markdown, media_type="text/markdown"))

    @property
    def _streams(self) -> list[rr.RecordingStream]:
        # The file first: a viewer that takes nothing must not hold it up.
        return [stream for stream in (self._file, self._live) if stream is not None]

    def _new_stream(self) -> rr.RecordingStream:
        return rr.RecordingStream(APPLICATION, recording_id=self._recording_id)

    def _begin(self, stream: rr.RecordingStream) -> None:
        """Log to a new stream what does not change."""
        bar = scale_bar(480, _COLOUR_MAP, NEAR, self._far)
        stream.log(LEGEND, rr.Image(bar), static=True)
        for entity, names in self._series.items():
            stream.log(entity, _series(names), static=True)
        for entity, frame in self._frames.items():
            stream.log(entity, rr.CoordinateFrame(frame), static=True)
        if self._layout is not None:
            stream.send_blueprint(self._layout)

    def _place(self, entity: str, frame: str) -> None:
        """Set the TF frame of an entity."""
        if self._frames.get(entity) != frame:
            self._frames[entity] = frame
            self._log(entity, rr.CoordinateFrame(frame), static=True)

    def _log(self, entity: str, *what: rr.AsComponents, static: bool = False) -> None:
        for stream in self._streams:
            stream.log(entity, *what, static=static)


def _series(names: Sequence[str]) -> rr.SeriesLines:
    return rr.SeriesLines(names=names, colors=[_CURVE_COLOURS[i % len(_CURVE_COLOURS)] for i in range(len(names))])


def _shrunk(picture: np.ndarray, width: int, interpolation: int) -> np.ndarray:
    """Return a picture that is at most `width` pixels wide."""
    if picture.shape[1] <= width:
        return picture
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=interpolation)
