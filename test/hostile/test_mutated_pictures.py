"""Pictures and videos with damaged bytes are read, or refused in one line."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge import survive
from strategies import encoded, mutated_bytes

from depth_estimation_ros.sources import open_source
from depth_estimation_ros.sources.files import IMAGE_SUFFIXES, read_depth

SUFFIXES = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix not in (".jpeg", ".tif"))
READING_MS = 1000.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures")


def frames(path) -> list:
    return [frame.rgb for frame in open_source(str(path))]


@given(st.data())
def test_a_damaged_picture_is_read_or_refused(folder, data):
    suffix = data.draw(st.sampled_from(SUFFIXES))
    size = data.draw(st.sampled_from([(32, 24), (640, 480)]))
    content = data.draw(mutated_bytes(encoded(suffix, *size, "grey" if suffix == ".pgm" else "rgb")))
    (folder / f"picture{suffix}").write_bytes(content)
    found = survive(frames, folder / f"picture{suffix}", weight=len(content), largest_ms=READING_MS)
    assert found is None or all(rgb.dtype == np.uint8 and rgb.ndim == 3 for rgb in found)


@given(st.data())
def test_a_damaged_depth_picture_is_read_or_refused(folder, data):
    content = data.draw(mutated_bytes(encoded(".png", 64, 48, "depth")))
    (folder / "depth.png").write_bytes(content)
    depth = survive(read_depth, folder / "depth.png", 0.001, weight=len(content))
    assert depth is None or (depth.dtype == np.float32 and depth.ndim == 2)


@pytest.fixture(scope="module")
def video(folder):
    path = folder / "whole.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30.0, (64, 48))
    for k in range(5):
        writer.write(np.full((48, 64, 3), 40 * k, np.uint8))
    writer.release()
    return path.read_bytes()


@given(st.data())
def test_a_damaged_video_gives_what_is_left_or_is_refused(folder, video, data):
    path = folder / "video.avi"
    path.write_bytes(data.draw(mutated_bytes(video)))
    survive(frames, path, weight=len(video), largest_ms=READING_MS)
