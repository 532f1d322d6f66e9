"""Small bags of plain pictures, whose colour and depth tell which they are; what is read of them."""

from __future__ import annotations

import numpy as np
from bag_writer import BagWriter

from depth_estimation_ros.camera import PinholeCamera

CAMERA = PinholeCamera(32, 24, 30.0, 31.0, 15.5, 11.5)


def picture(value, size=(24, 32)):
    """Make a plain picture whose red channel tells which one it is."""
    return np.dstack([np.full(size, c, np.uint8) for c in (value, 100, 200)])


def depth(metres, size=(24, 32)):
    return np.full(size, metres, np.float32)


def place(path, kind):
    return path / ("run.bag" if kind == "bag" else "run")


def write(path, kind="mcap", count=20, rate=10.0, late=0.0, truth_frame="camera", **options):
    """Write images with a red of their index and depth of 1 m plus 1 cm an index; `late` is the truth's stamp's."""
    with BagWriter(path, kind, **options) as bag:
        for k in range(count):
            time = 100 + k / rate
            bag.at(time).image("/camera/image", time, picture(k), "rgb8", "camera")
            bag.info("/camera/camera_info", time, CAMERA, "camera")
            bag.at(time + 0.003).image("/camera/depth", time + late, depth(1 + 0.01 * k), "32FC1", truth_frame)
    return path


def read(recording, *slices):
    """Return (index, red, truth) of the samples."""
    return [(s.index, int(s.rgb[0, 0, 0]), round(float(np.nanmedian(s.truth)), 4)) for s in recording.samples(*slices)]


EXPECTED = [(k, k, round(1 + 0.01 * k, 4)) for k in range(20)]


def storage(path):
    """Return the file that holds the messages of a bag."""
    return path if path.is_file() else next(f for f in path.iterdir() if f.suffix in (".mcap", ".db3"))


def write_noise(path, kind, count=60, **options):
    """Write noise, which is more than a chunk of it; the first pixel of each image tells its index."""
    random = np.random.default_rng(0)
    with BagWriter(path, kind, **options) as bag:
        for k in range(count):
            rgb = random.integers(0, 255, (120, 160, 3), np.uint8)
            rgb[0, 0, 0] = k % 256
            bag.image("/image", 100 + 0.1 * k, rgb, "rgb8")
            bag.image("/depth", 100 + 0.1 * k, depth(1 + 0.01 * k, (120, 160)), "32FC1")
    return path
