"""What is left of a bag that is cut off, damaged or was never closed is read, and what is missing is told."""

import re
import shutil
import sqlite3

import pytest
from bag_writer import KINDS
from small_bags import EXPECTED, place, read, storage, write, write_noise

from depth_estimation_ros.evaluation.recording.recording import Recording, Topics, find_recordings


@pytest.mark.parametrize("kind", KINDS)
def test_a_bag_that_is_cut_off_gives_what_is_left_and_says_so(tmp_path, kind):
    path = write_noise(place(tmp_path, kind), kind)
    whole = read(Recording(path))
    file = storage(path)
    with open(file, "r+b") as damaged:
        damaged.truncate(int(0.6 * file.stat().st_size))
    for damaged in {path, file}:
        recording = Recording(damaged)
        found = read(recording)
        assert 0.3 * len(whole) < len(found) < 0.7 * len(whole)
        assert found == whole[: len(found)]
        assert any("is damaged" in note and "cannot be read" in note for note in recording.damage)
        assert len(found) + sum(recording.problems.values()) == recording.images


@pytest.mark.parametrize("compress", ["", "message"])
@pytest.mark.parametrize("kind", ["mcap", "sqlite3"])
def test_a_bag_that_was_never_closed_is_read(tmp_path, kind, compress):
    path = write(tmp_path / "run", kind, compress=compress)
    assert read(Recording(path)) == EXPECTED
    for content, sentence in (("", "it is damaged"), (None, "the recording was not closed")):
        (path / "metadata.yaml").unlink() if content is None else (path / "metadata.yaml").write_text(content)
        recording = Recording(path)
        assert read(recording) == EXPECTED
        assert re.search(f"is read without a metadata.yaml: .*({sentence})", " ".join(recording.damage))


def test_a_split_of_a_bag_that_is_missing_is_told(tmp_path):
    path = write(tmp_path / "run", "mcap")
    shutil.copy(storage(path), path / "run_1.mcap")
    shutil.copy(storage(write_noise(tmp_path / "more", "mcap", count=3)), path / "run_2.mcap")
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace("- run.mcap", "- run.mcap\n    - run_3.mcap"))
    (path / "run_1.mcap").write_bytes(b"")
    recording = Recording(path, Topics("/camera/image", "/camera/depth"))
    assert read(recording) == EXPECTED
    assert any("run_3.mcap" in note for note in recording.damage)
    assert any("'run_1.mcap' is left out" in note for note in recording.damage)


def test_a_ros1_bag_that_was_being_written_is_read(tmp_path):
    path = write_noise(tmp_path / "run.bag", "bag")
    whole, content = read(Recording(path)), path.read_bytes()
    # The recorder fills in where the index is when it closes the bag.
    at = content.index(b"index_pos=") + 10
    active = tmp_path / "run.bag.active"
    active.write_bytes(content[:at] + bytes(8) + content[at + 8 :])
    assert find_recordings([str(active)]) == [active]
    assert read(Recording(active)) == whole


def test_a_damaged_chunk_in_the_middle_is_left_out(tmp_path):
    path = write_noise(tmp_path / "run", "mcap", compress="storage")
    whole, file = read(Recording(path)), storage(path)
    with open(file, "r+b") as damaged:
        damaged.seek(file.stat().st_size // 2)
        damaged.write(b"\xa5" * 3000)
    recording = Recording(path, clock_offset=0.0)
    found = read(recording)
    assert set(found) < set(whole) and len(found) >= len(whole) // 2
    assert found[-1] == whole[-1]
    assert recording.problems["the recording is damaged at this image"] >= 1
    assert any("damaged chunks cannot be read" in note for note in recording.damage)
    assert read(recording, 50) == [row for row in found if row[0] >= 50]


def test_what_a_write_ahead_log_says_counts(tmp_path):
    path = write(tmp_path / "run", "sqlite3")
    file = storage(path)
    live = tmp_path / "live.db3"
    shutil.copy(file, live)
    database = sqlite3.connect(live)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    database.execute("DELETE FROM messages WHERE timestamp > 101450000000")
    database.commit()
    crashed = tmp_path / "crashed.db3"  # the files as they are, while the database is open
    shutil.copy(live, crashed)
    shutil.copy(f"{live}-wal", f"{crashed}-wal")
    database.close()
    assert read(Recording(crashed)) == EXPECTED[:15]


@pytest.mark.parametrize("name", ["run.mcap", "run.bag", "run.db3"])
@pytest.mark.parametrize("content", [b"", b"no bag" * 1000])
def test_what_is_no_bag_is_refused_in_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="is not a readable bag"):
        Recording(tmp_path / name)
