"""Bags with damaged bytes give what can be read of them, or are refused in one line."""

import shutil

import pytest
from bag_writer import KINDS
from hypothesis import given
from hypothesis import strategies as st
from judge import survive
from small_bags import place, storage, write
from strategies import mutated_bytes

from depth_estimation_ros.evaluation.recording.recording import Recording
from depth_estimation_ros.sources import open_source

READING_MS = 5000.0


@pytest.fixture(scope="module", params=KINDS)
def bag(request, tmp_path_factory):
    """Give a small bag, the bytes of its file, and where damaged ones go."""
    folder = tmp_path_factory.mktemp(request.param)
    path = write(place(folder, request.param), request.param, count=6)
    return path, storage(path).read_bytes(), folder / "damaged"


@pytest.fixture(scope="module")
def metadata(bag):
    path, _, _ = bag
    if path.is_file():
        pytest.skip("ROS 1 bags have no metadata.yaml")
    return (path / "metadata.yaml").read_bytes()


def replayed(path) -> int:
    return sum(1 for _ in open_source(str(path)))


def evaluated(path) -> int:
    return sum(1 for _ in Recording(path).samples())


def damaged(bag, content: bytes):
    """Return a bag like this one, whose file holds other bytes."""
    path, _, folder = bag
    shutil.rmtree(folder, ignore_errors=True)
    if path.is_file():
        folder.mkdir()
        made = folder / path.name
        made.write_bytes(content)
        return made
    shutil.copytree(path, folder)
    storage(folder).write_bytes(content)
    return folder


@given(st.data())
def test_a_damaged_bag_is_replayed_or_refused(bag, data):
    path = damaged(bag, data.draw(mutated_bytes(bag[1], edits=5)))
    survive(replayed, path, weight=len(bag[1]), largest_ms=READING_MS)


@given(st.data())
def test_a_damaged_bag_is_evaluated_or_refused(bag, data):
    path = damaged(bag, data.draw(mutated_bytes(bag[1], edits=5)))
    survive(evaluated, path, weight=len(bag[1]), largest_ms=READING_MS)


@given(st.data())
def test_a_bag_with_damaged_metadata_is_replayed_or_refused(bag, metadata, data):
    path = damaged(bag, bag[1])
    (path / "metadata.yaml").write_bytes(data.draw(mutated_bytes(metadata)))
    survive(replayed, path, weight=len(bag[1]), largest_ms=READING_MS)
