"""Files and folders are there as a whole or not at all, and what cannot be written is an error."""

import resource

import numpy as np
import pytest

from depth_estimation_ros.support.files import write_json
from training.files import new_folder, write_image


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path):
    file, limits = tmp_path / "figures.json", resource.getrlimit(resource.RLIMIT_FSIZE)
    write_json(file, {"frames": 1})
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # bytes of a file, as on a full disk
    try:
        with pytest.raises(OSError, match="File too large"):
            write_json(file, {"frames": 1000 * [1]})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_text() == '{\n  "frames": 1\n}\n' and list(tmp_path.iterdir()) == [file]


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with new_folder(tmp_path / "a" / "set") as folder:
        (folder / "split.txt").write_text("train 0\n")
        assert not (tmp_path / "a" / "set").exists()
    assert (tmp_path / "a" / "set" / "split.txt").read_text() == "train 0\n"
    with pytest.raises(ValueError, match="set exists already"), new_folder(tmp_path / "a" / "set"):
        pass


def test_of_a_folder_that_was_broken_off_nothing_is_left(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "set") as folder:
        (folder / "split.txt").write_text("train 0\n")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_an_image_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OSError, match="cannot be written"):
        write_image(tmp_path / "nowhere" / "0.png", np.zeros((2, 2, 3), np.uint8))
