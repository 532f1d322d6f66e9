"""
Safe reader of ``.npy`` files that hold a dict of arrays.

Such a file is a pickle, and a pickle can call any function. Here it can name only five functions and classes, and each
is replaced by one of this module. The file cannot run code of numpy or of any other package.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

# numpy's short names of the dtypes that weights have.
ELEMENT_TYPES = ("f2", "f4", "f8", "i4", "i8")


class _ElementType:
    """Replacement of ``numpy.dtype``."""

    def __init__(self, name: str, *flags: object):
        self.name, self.byte_order = name, "="

    def __setstate__(self, state: tuple) -> None:
        self.byte_order = state[1]

    def resolve(self) -> np.dtype:
        if self.name not in ELEMENT_TYPES or self.byte_order not in ("<", ">", "="):
            raise pickle.UnpicklingError(f"it holds an array of {self.name!r}, not of numbers")
        return np.dtype(self.byte_order + self.name)


class _Array:
    """Replacement of ``numpy.ndarray``; `value` is the real array, made by this module."""

    value: object = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, element_type, column_major, content = state
        if element_type.name == "O8" and shape == () and len(content) == 1:
            # numpy saves a dict as the single element of an object array.
            self.value = content[0]
            return
        if isinstance(content, str):  # bytes written by Python 2
            content = content.encode("latin1")
        flat = np.frombuffer(content, element_type.resolve())
        self.value = flat.reshape(shape, order="F" if column_major else "C")


def _empty_array(array_class: object, shape: object, element_type: object) -> _Array:
    return _Array()


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Replace ``_codecs.encode``, which Python 3 uses for bytes in the pickle protocols of Python 2."""
    return text.encode("latin1")


_ADMITTED = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _ElementType,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray._reconstruct": _empty_array,  # since numpy 2
    "_codecs.encode": _latin1,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        try:
            return _ADMITTED[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which arrays do not need") from None


def load_array_dict(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """
    Read a dict of dicts of arrays that ``numpy.save`` wrote, under Python 2 or 3.

    Parameters
    ----------
    path : pathlib.Path
        The ``.npy`` file.

    Returns
    -------
    dict
        Arrays by layer and entry, read-only.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or holds anything but numeric arrays in a dict of dicts.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, element_type = header(file)
            if shape != () or element_type != np.dtype(object):
                raise pickle.UnpicklingError("it holds an array, not a dict of arrays")
            content = _Unpickler(file, encoding="latin1").load()
        return {layer: _arrays(entries) for layer, entries in _mapping(content).items()}
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is not a whole file of weights: {reason}") from None


def _mapping(value: object) -> dict:
    value = value.value if isinstance(value, _Array) else value
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise pickle.UnpicklingError("it does not hold a dict with names as keys")
    return value


def _arrays(entries: object) -> dict[str, np.ndarray]:
    arrays = {}
    for name, entry in _mapping(entries).items():
        value = getattr(entry, "value", None)
        if not isinstance(value, np.ndarray):
            raise pickle.UnpicklingError("a layer holds something else than arrays")
        arrays[name] = value
    return arrays
