import os
import pickle
import struct
import subprocess
from typing import ClassVar

import numpy as np
import pytest

from depth_estimation_ros.fetching.restricted_pickle import load_array_dict

WEIGHTS = {
    "conv1": {"weights": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "biases": np.array([0.5, -1.0], ">f8")},
    "norm": {"mean": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))},
}


class Python2Pickler(pickle._Pickler):
    """Writes as Python 2 did: text and bytes alike as byte strings, numpy's modules under their names of that time."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        content = value.encode("latin1") if isinstance(value, str) else bytes(value)
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string

    def save_global(self, value, name=None):
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{value.__qualname__}\n".encode())
        self.memoize(value)

    dispatch[type(np.array)] = dispatch[type] = save_global


def write(path, content: bytes):
    """Write a ``.npy`` file of objects with any pickle in it."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        file.write(content)
    return path


def as_array(value) -> np.ndarray:
    array = np.empty((), object)
    array[()] = value
    return array


def assert_equal(loaded, expected=WEIGHTS):
    assert {layer: set(entries) for layer, entries in loaded.items()} == {k: set(v) for k, v in expected.items()}
    for layer, entries in expected.items():
        for entry, array in entries.items():
            assert loaded[layer][entry].dtype == array.dtype
            np.testing.assert_array_equal(loaded[layer][entry], array)


def test_what_numpy_saves_is_read(tmp_path):
    np.save(tmp_path / "weights.npy", WEIGHTS)
    assert_equal(load_array_dict(tmp_path / "weights.npy"))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_every_protocol_and_both_names_of_numpys_core_are_read(tmp_path, protocol, core):
    content = pickle.dumps(as_array(WEIGHTS), protocol)
    here = b"numpy._core" if b"numpy._core" in content else b"numpy.core"
    if protocol == 4:  # names carry their length there
        prefix = struct.pack("B", len(core + b".multiarray"))
        content = content.replace(struct.pack("B", len(here + b".multiarray")) + here, prefix + core)
        content = unframed(content)
    else:
        content = content.replace(here, core)
    assert core + b".multiarray" in content
    assert_equal(load_array_dict(write(tmp_path / "weights.npy", content)))


def unframed(content: bytes) -> bytes:
    """Leave out the frames of protocol 4, whose lengths a changed name would falsify."""
    start = content.index(pickle.FRAME)
    return content[:start] + content[start + 9 :]


def test_a_file_of_python_2_is_read(tmp_path):
    with (tmp_path / "pickle").open("wb") as file:
        Python2Pickler(file, protocol=2).dump(as_array(WEIGHTS))
    content = (tmp_path / "pickle").read_bytes()
    assert b"_codecs" not in content and pickle.BINUNICODE not in content.split(b"conv1")[0]
    assert_equal(load_array_dict(write(tmp_path / "weights.npy", content)))
    # It is such a file: numpy reads it when told of the encoding, and only then.
    assert np.load(tmp_path / "weights.npy", allow_pickle=True, encoding="latin1").item()["conv1"]["biases"][1] == -1
    with pytest.raises(UnicodeError):
        np.load(tmp_path / "weights.npy", allow_pickle=True)


class Call:
    """Pickles to a call of a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("function", [os.system, eval, subprocess.call, getattr, np.load, np.fromfile])
def test_a_file_that_calls_a_function_is_refused_and_nothing_is_called(tmp_path, monkeypatch, function):
    monkeypatch.chdir(tmp_path)
    command = "open('executed', 'w')" if function is eval else "touch executed"
    poisoned = {**WEIGHTS, "conv2": {"weights": Call(function, command)}}
    path = write(tmp_path / "weights.npy", pickle.dumps(as_array(poisoned)))
    with pytest.raises(ValueError, match=r"it asks for [\w.]+, which arrays do not need") as refusal:
        load_array_dict(path)
    assert function.__name__ in str(refusal.value)
    assert not (tmp_path / "executed").exists()


def test_the_poisoned_file_would_have_been_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "weights.npy", pickle.dumps(as_array(Call(os.system, "touch executed"))))
    np.load(path, allow_pickle=True)
    assert (tmp_path / "executed").exists()


class Object:
    pass


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"conv1": {"weights": Object()}}, "Object, which arrays do not need"),
        ({"conv1": {"weights": np.float32(1)}}, "numpy._core.multiarray.scalar|numpy.core.multiarray.scalar"),
        ({"conv1": {"weights": np.array(["a"])}}, "array of 'U1', not of numbers"),
        ({"conv1": {"weights": as_array({"deeper": 1})}}, "something else than arrays"),
        ({"conv1": {"weights": [1.0, 2.0]}}, "something else than arrays"),
        ({"conv1": [1.0]}, "does not hold a dict"),
        ({1: {}}, "names as keys"),
        ([1.0], "does not hold a dict"),
    ],
)
def test_anything_but_numbers_in_a_dict_of_dicts_is_refused(tmp_path, content, reason):
    path = write(tmp_path / "weights.npy", pickle.dumps(as_array(content)))
    with pytest.raises(ValueError, match=reason):
        load_array_dict(path)


def test_a_damaged_file_gives_one_sentence(tmp_path):
    np.save(tmp_path / "whole.npy", WEIGHTS)
    whole = (tmp_path / "whole.npy").read_bytes()
    path = tmp_path / "damaged.npy"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"damaged\.npy is not a whole file of weights: .") as refusal:
            load_array_dict(path)
        assert "\n" not in str(refusal.value)
    path.write_bytes(b"<html>404 Not Found</html>")
    with pytest.raises(ValueError, match="is not a whole file of weights"):
        load_array_dict(path)
    np.save(path, np.zeros(3))
    with pytest.raises(ValueError, match="holds an array, not a dict"):
        load_array_dict(path)
    with pytest.raises(ValueError, match="there is no file"):
        load_array_dict(tmp_path / "missing.npy")


def test_a_claimed_shape_needs_its_bytes(tmp_path):
    class Claim(np.ndarray):
        def __reduce__(self):
            function, arguments, state = np.zeros(4, np.float32).__reduce__()
            return function, arguments, (state[0], (1 << 40,), *state[2:])

    path = write(tmp_path / "weights.npy", pickle.dumps(as_array({"conv1": {"weights": np.zeros(4).view(Claim)}})))
    with pytest.raises(ValueError, match="cannot reshape array of size 4"):
        load_array_dict(path)
